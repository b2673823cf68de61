"""Moves evaluations from the collector to the process that writes them to disk, a few times a second.

Collector ──► Forwarder ──► ExportPipeline, in this process or over the pipe in the leader
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from gateway.deferreds import Repeating, supervise
from gateway.export.parcel import Parcel
from gateway.logger import component_logger

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.export.collector import Collector

WriteParcel = Callable[[Parcel], Deferred[None]]
"""Fires once the events of the parcel are on disk or counted as dropped; never fails."""

_log = component_logger("gateway")

TICK_SECONDS: Final = 0.2  # with 0.2 s until the commit, half of the promised second is left for a slow disk
WINDOW_BYTES: Final = 8 * 1024 * 1024  # forwarded but not yet on disk; more waits, bounded, in the collector


class Forwarder:
    """Passes the collector's parcels to ``write``, as many at a time as the window allows."""

    def __init__(self, clock: IReactorTime, collector: Collector, write: WriteParcel) -> None:
        self._collector = collector
        self._write = write
        self._unwritten = 0  # bytes passed on and not yet on disk
        self._ticks = Repeating(clock, self._forward, _log, "the forwarding of evaluations failed")

    def start(self) -> None:
        """Start forwarding."""
        self._ticks.start(TICK_SECONDS)

    def stop(self) -> None:
        """Stop forwarding; parcels already passed on are not affected."""
        self._ticks.stop()

    def flush(self) -> None:
        """Forward everything at once, regardless of the window, since no evaluation follows; does not wait for it."""
        while (parcel := self._collector.take()) is not None:
            self._forward_one(parcel)

    def _forward(self) -> None:
        while self._unwritten < WINDOW_BYTES and (parcel := self._collector.take()) is not None:
            self._forward_one(parcel)

    def _forward_one(self, parcel: Parcel) -> None:
        size = parcel.size
        self._unwritten += size
        written = supervise(self._write(parcel), _log, "evaluations could not be forwarded and are lost")
        written.addCallback(self._written, size)

    def _written(self, _: object, size: int) -> None:
        self._unwritten -= size
