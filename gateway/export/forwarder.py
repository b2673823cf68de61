"""Carries evaluations away from where they were answered, a few times a second, and no more at once than is taken.

Collector ──► Haul ──► whoever keeps them: the outbox in this process, or the leader's over the pipe
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.task import LoopingCall

from gateway.deferreds import supervise
from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from gateway.export import Collector, Parcel

    Deliver = Callable[[Parcel], Deferred[None]]

_log = component_logger("gateway")

TICK_SECONDS: Final = 0.2  # with 0.2 s until the commit that leaves half of the promised second to a slow disk
WINDOW_BYTES: Final = 8 * 1024 * 1024  # delivered, but not on disk yet; what is more waits, bounded, in the collector


class Haul:
    """``deliver`` is given one parcel after the other; its Deferred fires when a parcel is kept, or never; no error."""

    def __init__(self, clock: Any, collector: Collector, deliver: Deliver) -> None:
        self._collector = collector
        self._deliver = deliver
        self._flying = 0
        self._ticks = LoopingCall(self._carry)
        self._ticks.clock = clock

    def start(self) -> None:
        """Begin to carry."""
        self._ticks.start(TICK_SECONDS, now=False)

    def stop(self) -> None:
        """Carry no more; what was handed over goes on."""
        if self._ticks.running:
            self._ticks.stop()

    def empty(self) -> None:
        """Carry everything at once, whatever is under way: nothing more is coming.  Returns before it is kept."""
        while (parcel := self._collector.take()) is not None:
            self._hand_over(parcel)

    def _carry(self) -> None:
        while self._flying < WINDOW_BYTES and (parcel := self._collector.take()) is not None:
            self._hand_over(parcel)

    def _hand_over(self, parcel: Parcel) -> None:
        size = parcel.size
        self._flying += size
        kept = supervise(self._deliver(parcel), _log, "evaluations could not be handed over")
        kept.addCallback(self._kept, size)

    def _kept(self, _: object, size: int) -> None:
        self._flying -= size
