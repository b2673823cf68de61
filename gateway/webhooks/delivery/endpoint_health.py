"""The health of an endpoint as its queue sees it: counted, logged when it changes, and shown on the status page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field
from twisted.logger import LogLevel

from gateway.logger import component_logger

if TYPE_CHECKING:
    from gateway.http_client import Attempt
    from gateway.webhooks.metrics import WebhookMetrics
    from gateway.webhooks.store.message_table import QueuedMessage

_log = component_logger("gateway")

TOO_LARGE: Final = 413  # RFC 9110, 15.5.14
FAILING_LONG: Final = 600.0  # seconds after which an endpoint that fails degrades the status


@define
class EndpointHealth:
    """The health of the endpoint ``name``; its queue reports every result."""

    name: str
    _metrics: WebhookMetrics
    failing_since: float | None = field(default=None, init=False)  # Unix seconds: first failure after the last success
    failed_at: float | None = field(default=None, init=False)  # Unix seconds: last failure of this process
    database_error: str = field(default="", init=False)  # why the outbox cannot be read or written; empty while it can

    @property
    def outage(self) -> float:
        """Seconds from the first to the last failure after the last success."""
        return 0.0 if self.failing_since is None else max((self.failed_at or 0.0) - self.failing_since, 0.0)

    def clock_was_set(self, seconds: float) -> None:
        """Move the times of the outage by ``seconds``, so that it stays as long as it was."""
        if self.failing_since is not None:
            self.failing_since += seconds
        if self.failed_at is not None:
            self.failed_at += seconds

    def delivered(self, queued: QueuedMessage, attempt: Attempt) -> None:
        """Count and log a success."""
        failing, self.failing_since = self.failing_since is not None, None
        self._metrics.attempted(self.name, attempt.label, attempt.duration)
        if failing:
            _log.info("endpoint {endpoint} accepts messages again", endpoint=self.name)
        _log.debug(
            "endpoint {endpoint}: message {message_id} delivered", endpoint=self.name, message_id=queued.message.id
        )

    def failed(self, at: float, queued: QueuedMessage, attempt: Attempt, due: float | None) -> None:
        """Count and log the failure of an attempt that began at ``at``; without ``due`` it was the last one.

        The first failure of an outage and each last attempt are warnings.  A message that is too large for the
        receiver is no outage.
        """
        first = self.failing_since is None
        if attempt.status != TOO_LARGE:
            self.failing_since = at if self.failing_since is None else self.failing_since
            self.failed_at = at
        self._metrics.attempted(self.name, attempt.label, attempt.duration)
        if due is None:
            self._metrics.given_up(self.name)
            text = "endpoint {endpoint}: message {message_id} given up after attempt {number}: {reason}"
        else:
            text = "endpoint {endpoint}: message {message_id} waits for {pause:.0f} s after attempt {number}: {reason}"
        _log.emit(
            LogLevel.warn if first or due is None else LogLevel.debug,
            text,
            endpoint=self.name,
            message_id=queued.message.id,
            pause=0.0 if due is None else round(due - at, 3),
            number=queued.tries + 1,
            reason=attempt.text,
        )

    def database_result(self, error: Exception | None) -> None:
        """Take note of a transaction that failed, or that succeeded; logged when that changes."""
        before, self.database_error = self.database_error, "" if error is None else str(error) or "unknown"
        if self.database_error and not before:
            text = "endpoint {endpoint}: the outbox cannot be read or written: {reason}"
            _log.warn(text, endpoint=self.name, reason=self.database_error)
        elif before and not self.database_error:
            _log.warn("endpoint {endpoint}: the outbox can be read and written again", endpoint=self.name)
