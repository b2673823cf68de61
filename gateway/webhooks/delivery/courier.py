"""Keeps one queue per endpoint of the settings: created, changed and stopped as the settings change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import call_each, settle_all
from gateway.http_client import MakeSender, TrustError, make_sender
from gateway.logger import component_logger
from gateway.webhooks.delivery.endpoint_queue import EndpointQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gateway.http_client import Reactor
    from gateway.webhooks.delivery.endpoint_policy import EndpointPolicy
    from gateway.webhooks.metrics import WebhookMetrics
    from gateway.webhooks.store.outbox import Outbox

_log = component_logger("gateway")

GRACE: Final = 5.0  # seconds that a stop waits for attempts in flight; those that are cut are repeated


class Courier:
    """Delivers the messages of every endpoint; all methods belong to the reactor thread."""

    def __init__(
        self, reactor: Reactor, wall: Callable[[], float], outbox: Outbox, metrics: WebhookMetrics,
        sender: MakeSender = make_sender, may_send: Callable[[str], bool] = lambda _endpoint: True,
    ) -> None:  # fmt: skip
        self._reactor = reactor
        self._wall = wall
        self._outbox = outbox
        self._metrics = metrics
        self._make_sender = sender
        self._may_send = may_send
        self._policies: Sequence[EndpointPolicy] = ()
        self._assigned: Collection[str] | None = None  # endpoints of this node; None: all
        self._queues: dict[str, EndpointQueue] = {}
        self.unusable: dict[str, str] = {}  # endpoints that cannot be called with their settings, and why

    def configure(self, policies: Sequence[EndpointPolicy]) -> None:
        """Deliver to these endpoints and to no others; messages for one with unusable settings wait.

        Attempts in flight end under the old settings, also those to endpoints that are gone.  An endpoint whose route
        is unchanged keeps its connections.
        """
        self._policies = policies
        self._configure()

    def assign(self, names: Collection[str]) -> Deferred[None]:
        """Deliver only to these of the endpoints from now on, for others another node does.

        Fires when nothing is in flight to those that were given up, after ``GRACE`` seconds at the latest.
        """
        if self._assigned is not None and set(names) == set(self._assigned):
            return succeed(None)
        self._assigned = frozenset(names)
        return self._configure()

    def _configure(self) -> Deferred[None]:
        policies = [each for each in self._policies if self._assigned is None or each.endpoint.name in self._assigned]
        before, self._queues, self.unusable = self._queues, {}, {}
        for policy in policies:
            name = policy.endpoint.name
            try:
                self._queues[name] = self._configured(before.get(name), policy)
            except (TrustError, ValueError) as error:
                self.unusable[name] = str(error)
                _log.error("endpoint {endpoint} cannot be called: {reason}", endpoint=name, reason=str(error))
        return settle_all([queue.stop(GRACE) for name, queue in before.items() if name not in self._queues])

    def _configured(self, queue: EndpointQueue | None, policy: EndpointPolicy) -> EndpointQueue:
        if queue is not None:
            same = queue.policy.route == policy.route
            queue.replace(policy, None if same else self._make_sender(self._reactor, policy.route))
            return queue
        sender = self._make_sender(self._reactor, policy.route)
        queue = EndpointQueue(
            self._reactor, self._wall, self._outbox, policy, sender, self._metrics, self.wake, self._may_send
        )
        queue.wake()
        return queue

    def wake(self, names: Collection[str]) -> None:
        """Send what is due at these endpoints; unknown names are ignored."""
        queues = [self._queues[name] for name in names if name in self._queues]
        call_each([queue.wake for queue in queues], _log, "looking for what is due at an endpoint")

    def wake_all(self) -> None:
        """Send what is due at every endpoint."""
        self.wake(tuple(self._queues))

    def restore_failing(self, failing: Mapping[str, float]) -> None:
        """Take over from the database since when endpoints fail, unless this process has seen a failure itself."""
        for name, since in failing.items():
            if name in self._queues and self._queues[name].health.failing_since is None:
                self._queues[name].health.failing_since = since

    @property
    def database_error(self) -> str:
        """Why the outbox cannot be read or written; empty while it can."""
        return next((each.health.database_error for each in self._queues.values() if each.health.database_error), "")

    def failing(self) -> dict[str, float]:
        """Return the endpoints that fail, and since when (Unix seconds)."""
        since = {name: queue.health.failing_since for name, queue in self._queues.items()}
        return {name: at for name, at in since.items() if at is not None}

    def clock_was_set(self, seconds: float) -> None:
        """Keep how long each endpoint has failed, after the system clock was set by ``seconds``."""
        for queue in self._queues.values():
            queue.health.clock_was_set(seconds)

    def stop(self) -> Deferred[None]:
        """Fire when nothing is in flight any more, after ``GRACE`` seconds at the latest."""
        stopped = [queue.stop(GRACE) for queue in self._queues.values()]
        self._queues = {}
        return settle_all(stopped)
