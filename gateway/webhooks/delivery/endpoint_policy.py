"""How one endpoint is called, as its settings decide: route, headers, retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from gateway.http_client import Route, extra_headers, headers_for
from gateway.webhooks.delivery.endpoint_health import TOO_LARGE
from gateway.webhooks.delivery.retry import Retry, next_retry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from gateway.http_client import Attempt
    from gateway.settings import Endpoint
    from gateway.webhooks.composer import Composer
    from gateway.webhooks.formats import Message
    from gateway.webhooks.store.message_table import QueuedMessage


@frozen
class EndpointPolicy:
    """The settings of one endpoint; a reload makes a new one, so that an attempt is signed with one set of secrets."""

    endpoint: Endpoint
    _composer: Composer
    _rng: Random
    route: Route = field(init=False)
    _secrets: tuple[str, ...] = field(init=False)
    _extra: Sequence[tuple[str, str]] = field(init=False)

    @route.default
    def _make_route(self) -> Route:
        it = self.endpoint
        return Route(it.url, it.ca_file, it.concurrency, it.timeout, self._composer.settings.delivery)

    @_secrets.default
    def _read_secrets(self) -> tuple[str, ...]:
        return self.endpoint.signing_secrets

    @_extra.default
    def _read_extra(self) -> Sequence[tuple[str, str]]:
        return extra_headers(self.endpoint.headers)

    @property
    def in_order(self) -> bool:
        """Whether a message waits until the one before it is delivered or given up."""
        return self.endpoint.concurrency == 1

    def headers(self, queued: QueuedMessage, now: float) -> list[tuple[str, str]]:
        """Return the headers of one attempt, signed at ``now`` (Unix seconds)."""
        message, secrets = queued.message, self._secrets
        ours = headers_for(message.id, message.format, message.body, secrets, int(now), queued.sequence)
        return [*ours, *self._extra]

    def retry(self, queued: QueuedMessage, attempt: Attempt, began: float, now: float) -> Retry | None:
        """Return when to retry after a failed attempt from ``began`` to ``now``; None to give the message up.

        A message that is too large for its receiver is given up at once.
        """
        if attempt.status == TOO_LARGE:
            return None
        first = queued.first_try if queued.first_try is not None else began
        number = queued.tries - queued.earlier + 1
        return next_retry(attempt, first, now, number, self.endpoint.retry_for, self._rng.random())

    def failure_notices(self, queued: QueuedMessage, attempt: Attempt, now: float) -> list[Message]:
        """Return the messages to other endpoints that this one was given up at ``now``."""
        return self._composer.failure_notices(queued.message, attempt.text, now)
