"""What is done again and again while an outbox is open: grant the command line's wishes, tidy up, measure."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from gateway.deferreds import supervise
from gateway.logger import component_logger
from gateway.webhooks.store.queue_stats import METER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gateway.webhooks.delivery.courier import Courier
    from gateway.webhooks.delivery.endpoint_policy import Voice
    from gateway.webhooks.metrics import WebhookMetrics
    from gateway.webhooks.store.outbox import Outbox, Wish

_log = component_logger("gateway")

LOOK_SECONDS: Final = 1.0  # between two looks at what the command line wants
TIDY_SECONDS: Final = 60.0  # between two purges of what is older than ``outbox.keep``


@define
class Upkeep:
    """Goes by the settings of ``voice``; a database that is busy is asked again the next time."""

    clock: Any
    wall: Callable[[], float]
    rng: Random
    outbox: Outbox
    courier: Courier
    voice: Voice
    metrics: WebhookMetrics
    recording: Callable[[], bool]
    _loops: list[LoopingCall] = field(factory=list, init=False)

    def start(self) -> None:
        """Begin; the first time is after the first pause."""
        for seconds, act in ((LOOK_SECONDS, self.look), (TIDY_SECONDS, self.tidy), (METER_SECONDS, self.measure)):
            loop = LoopingCall(_patiently, act)
            loop.clock = self.clock
            loop.start(seconds, now=False)
            self._loops.append(loop)

    def stop(self) -> None:
        """Begin nothing more; what was begun ends."""
        for loop in self._loops:
            if loop.running:
                loop.stop()

    async def look(self) -> None:
        """Do what the command line asked for."""
        wishes = await self.outbox.wishes()
        for wish in wishes:
            await self._grant(wish)
        if wishes:
            # What was made due for an endpoint that there is not would wait for ever.
            await self.outbox.skip_orphans(self._names())

    async def tidy(self) -> None:
        """Delete what is older than ``outbox.keep``."""
        while await self.outbox.purge(self.voice.settings.outbox.keep):
            pass

    async def measure(self) -> None:
        """Tell the metrics page what waits and what was dropped."""
        self.metrics.recording(self.recording())
        (await self.outbox.reading()).tell(self.metrics, self._names(), self.wall())

    def _names(self) -> list[str]:
        return [endpoint.name for endpoint in self.voice.settings.webhooks]

    async def _grant(self, wish: Wish) -> None:
        if wish.act == "test":
            message = self.voice.test(wish.argument, self.wall(), self.rng)
            if message is None:
                _log.warn("a test was asked for of an endpoint that there is not: {endpoint}", endpoint=wish.argument)
            else:
                await self.outbox.add([message])
        self.courier.wake_all()


def _patiently(act: Callable[[], Any]) -> Deferred[None]:
    # A LoopingCall ends for good at the first error, and waits for a Deferred: no two rounds of one act at a time.
    done: Deferred[None] = Deferred.fromCoroutine(act())
    return supervise(done.addErrback(_busy), _log, "the outbox could not be looked after")


def _busy(failure: Any) -> Any:
    if not failure.check(sqlite3.Error):
        return failure
    _log.debug("the outbox is busy: {reason}", reason=failure.getErrorMessage())
    return None
