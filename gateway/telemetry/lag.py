"""Measures each second how late the event loop is, and whether a connection could still open a file.

What delays a timer also delays every request and push; without a free file each new connection is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.deferreds import Timer
from gateway.logger import component_logger
from gateway.open_files import CONNECTION_RESERVE, files_left

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

_log = component_logger("diag")

INTERVAL = 1.0  # seconds between two measurements
WARNING = 1.0  # seconds of lag from which it is logged
QUIET = 60.0  # seconds between two warnings


class LagMonitor:
    """Calls ``report`` each second with the seconds by which its own timer was late.

    ``room`` returns whether another connection may be accepted.
    """

    def __init__(
        self,
        clock: IReactorTime,
        report: Callable[[float], None],
        room: Callable[[], bool] = lambda: files_left(CONNECTION_RESERVE) > 0,
    ) -> None:
        self._clock = clock
        self._report = report
        self._room = room
        self._files_warned: float | None = None
        self._timer = Timer(clock)
        self._due = 0.0
        self._lag_warned: float | None = None

    def start(self) -> None:
        """Start measuring."""
        self._due = self._clock.seconds() + INTERVAL
        self._timer.start(INTERVAL, self._measure)

    def stop(self) -> None:
        """Stop measuring; a second call has no effect."""
        self._timer.cancel()

    def _measure(self) -> None:
        now = self._clock.seconds()
        lag = max(0.0, now - self._due)
        self._report(lag)
        if lag >= WARNING and (self._lag_warned is None or now - self._lag_warned >= QUIET):
            self._lag_warned = now
            _log.warn("event loop blocked for {lag:.1f} s: the gateway lacks CPU time, or was swapped out", lag=lag)
        if not self._room() and (self._files_warned is None or now - self._files_warned >= QUIET):
            self._files_warned = now
            _log.warn("limit of open files reached, new connections are closed: raise LimitNOFILE of the service")
        self.start()
