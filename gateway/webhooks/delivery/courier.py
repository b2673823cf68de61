"""One lane per endpoint of the settings: made, changed and ended as the settings change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, gatherResults

from gateway.http_client import MakeSender, Route, TrustError, make_sender
from gateway.logger import component_logger
from gateway.webhooks.delivery.endpoint_queue import Lane, Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gateway.settings import Delivery, Endpoint
    from gateway.webhooks.metrics import WebhookMetrics
    from gateway.webhooks.store.outbox import Outbox

_log = component_logger("gateway")

GRACE: Final = 5.0  # seconds that a stop waits for attempts in flight; those that are cut are repeated


class Courier:
    """Delivers what is due at every endpoint; all methods belong to the reactor thread."""

    def __init__(
        self, reactor: Any, wall: Callable[[], float], outbox: Outbox, metrics: WebhookMetrics,
        sender: MakeSender = make_sender,
    ) -> None:  # fmt: skip
        self._reactor = reactor
        self._wall = wall
        self._outbox = outbox
        self._metrics = metrics
        self._make_sender = sender
        self._lanes: dict[str, tuple[Route, Lane]] = {}
        self.unusable: dict[str, str] = {}  # endpoints that cannot be called as they are set, and why

    def configure(self, endpoints: Sequence[tuple[Endpoint, Rules]], delivery: Delivery) -> None:
        """Deliver to these endpoints and to no others; one that cannot be used is said so, and its messages wait.

        Attempts in flight end under the old settings, also those to endpoints that are gone.
        """
        before, self._lanes, self.unusable = self._lanes, {}, {}
        for endpoint, rules in endpoints:
            route = Route(endpoint.url, endpoint.ca_file, endpoint.concurrency, endpoint.timeout, delivery)
            try:
                self._lanes[endpoint.name] = self._adapted(before.get(endpoint.name), route, rules)
            except (TrustError, ValueError) as error:
                self.unusable[endpoint.name] = str(error)
                _log.error("endpoint {endpoint} cannot be called: {reason}", endpoint=endpoint.name, reason=str(error))
        ended = [lane for name, (_, lane) in before.items() if name not in self._lanes]
        for lane in ended:
            lane.stop(GRACE)

    def _adapted(self, old: tuple[Route, Lane] | None, route: Route, rules: Rules) -> tuple[Route, Lane]:
        if old is not None:
            was, lane = old
            lane.replace(rules, None if was == route else self._make_sender(self._reactor, route))
            return route, lane
        sender = self._make_sender(self._reactor, route)
        lane = Lane(self._reactor, self._wall, self._outbox, rules, sender, self._metrics, self.wake)
        lane.wake()
        return route, lane

    def wake(self, names: Collection[str]) -> None:
        """Look for what is due at these endpoints; unknown ones are no error."""
        for name in names:
            if name in self._lanes:
                self._lanes[name][1].wake()

    def wake_all(self) -> None:
        """Look for what is due at every endpoint."""
        self.wake(tuple(self._lanes))

    def remember(self, failing: Mapping[str, float]) -> None:
        """Take over what an earlier run knew of endpoints that fail."""
        for name, since in failing.items():
            if name in self._lanes and self._lanes[name][1].standing.failing_since is None:
                self._lanes[name][1].standing.failing_since = since

    @property
    def trouble(self) -> str:
        """Why the outbox cannot be read or written; empty while it can."""
        return next((lane.standing.trouble for _, lane in self._lanes.values() if lane.standing.trouble), "")

    def failing(self) -> dict[str, float]:
        """Return the endpoints that fail, and since when (seconds since 1970)."""
        lanes = {name: lane.standing.failing_since for name, (_, lane) in self._lanes.items()}
        return {name: since for name, since in lanes.items() if since is not None}

    def stop(self) -> Deferred[None]:
        """Fire when nothing is in flight any more, ``GRACE`` seconds later at the latest."""
        stopped = [lane.stop(GRACE) for _, lane in self._lanes.values()]
        self._lanes = {}
        return gatherResults(stopped, consumeErrors=True).addCallback(lambda _: None)
