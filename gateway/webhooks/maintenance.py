"""Periodic work while an outbox is open: requests of the command line, purging, metrics."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred

from gateway.deferreds import Repeating
from gateway.logger import component_logger
from gateway.storage import STORE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine
    from random import Random

    from twisted.internet.interfaces import IReactorTime

    from gateway.webhooks.cluster import Cluster
    from gateway.webhooks.composer import Composer
    from gateway.webhooks.delivery.courier import Courier
    from gateway.webhooks.metrics import WebhookMetrics
    from gateway.webhooks.store.outbox import Outbox

_log = component_logger("gateway")

REQUEST_SECONDS: Final = 1.0  # between two reads of the command line's requests
PURGE_SECONDS: Final = 60.0  # between two purges of what is older than ``outbox.keep``
CLOCK_SECONDS: Final = 1.0  # between two looks at the system clock: how long a retry may wait once it was set back
CLOCK_JUMP: Final = 2.0  # seconds; a smaller change only moves retries by as much
MEASURE_SECONDS: Final = 10.0  # between two reads of the queues; scrapers come every 15 s or more


@define
class Maintenance:
    """Works by the settings of ``composer``; what a busy database refuses is tried again the next time."""

    clock: IReactorTime
    wall: Callable[[], float]
    rng: Random
    outbox: Outbox
    courier: Courier
    composer: Composer
    metrics: WebhookMetrics
    cluster: Cluster | None = None  # the nodes that share the outbox, of which one does what is done for all
    _ahead: float = field(init=False)  # of the wall clock before the monotonic one, at the last look
    _loops: list[Repeating] = field(factory=list, init=False)

    def start(self) -> None:
        """Start; each task runs for the first time after its pause."""
        self._ahead = self.wall() - self.clock.seconds()
        tasks = (
            *([(CLOCK_SECONDS, self.follow_clock)] if self.cluster is None else []),  # else it is the database's clock
            (REQUEST_SECONDS, self.handle_requests),
            (PURGE_SECONDS, self.purge),
            (MEASURE_SECONDS, self.measure),
        )
        for seconds, task in tasks:
            loop = Repeating(self.clock, partial(_run, task), _log, "maintenance of the outbox failed")
            loop.start(seconds)
            self._loops.append(loop)

    def stop(self) -> None:
        """Start no task; one that runs is finished."""
        for loop in self._loops:
            loop.stop()

    async def handle_requests(self) -> None:
        """Send requested tests, and wake the endpoints if there was any request."""
        if not self._upkeep:
            return
        requests = await self.outbox.take_requests()
        for request in requests:
            if request.action == "test":
                await self._add_test(request.argument)
            self.courier.wake_all()
        if requests and (self.cluster is None or self.cluster.agreed):
            # A retry request may have made messages for an endpoint due that the settings no longer have.
            await self.outbox.skip_orphans(self._names())

    async def follow_clock(self) -> None:
        """Move what waits with a wall clock that was set: its pauses stay as long as they were."""
        ahead = self.wall() - self.clock.seconds()
        jump = ahead - self._ahead
        if abs(jump) >= CLOCK_JUMP:
            _log.warn("the system clock was set by {seconds:.0f} s; messages that wait keep their pauses", seconds=jump)
            await self.outbox.shift(jump)  # if the database is busy, the next look finds the same jump
            self.courier.clock_was_set(jump)
            self.courier.wake_all()
        self._ahead = ahead

    async def purge(self) -> None:
        """Delete what is older than ``outbox.keep``."""
        while self._upkeep and await self.outbox.purge(self.composer.settings.outbox.keep):
            pass

    async def measure(self) -> None:
        """Update the metrics of what waits and what was dropped."""
        stats, now = await self.outbox.stats(), self.wall()
        for name in self._names():
            depth = stats.depths.get(name)
            self.metrics.waiting(name, depth.pending if depth else 0, max(now - depth.oldest, 0.0) if depth else 0.0)
        for (name, reason), total in stats.drops.items():
            self.metrics.dropped(name, reason, total)

    @property
    def _upkeep(self) -> bool:
        return self.cluster is None or self.cluster.upkeep

    def _names(self) -> Collection[str]:
        return [endpoint.name for endpoint in self.composer.settings.webhooks]

    async def _add_test(self, endpoint: str) -> None:
        message = self.composer.test(endpoint, self.wall(), self.rng)
        if message is None:
            _log.warn("test requested for unknown endpoint {endpoint}", endpoint=endpoint)
        else:
            await self.outbox.add([message])


def _run(task: Callable[[], Coroutine[Deferred[Any], Any, None]]) -> Deferred[None]:
    # ``Repeating`` waits for the Deferred, so that no task runs twice at a time.
    done: Deferred[None] = Deferred.fromCoroutine(task())
    return done.addErrback(_busy)


def _busy(failure: Any) -> Any:
    if not failure.check(*STORE_ERRORS):
        return failure
    _log.debug("the outbox is busy: {reason}", reason=failure.getErrorMessage())
    return None
