"""Looks each second at what no request shows: how late the reactor is, and whether files are left for connections.

Whatever delays a timer delays every request and every push as well; without a file each new connection is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.deferreds import Timer
from gateway.logger import component_logger
from gateway.telemetry.rlimits import files_left

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

_log = component_logger("diag")

INTERVAL = 1.0  # seconds between two measurements
WARNING = 1.0  # seconds of lag that users notice
QUIET = 60.0  # seconds between two warnings


class LagMonitor:
    """Reports, once per second, how many seconds too late its own timer fired.

    It goes by the reactor's clock, which follows the wall clock: setting the clock forward shows as one large lag.
    ``left`` tells whether one more file can be opened.
    """

    def __init__(
        self, clock: IReactorTime, report: Callable[[float], None], left: Callable[[], bool] = files_left
    ) -> None:
        self._clock = clock
        self._report = report
        self._left = left
        self._refusing: float | None = None
        self._timer = Timer(clock)
        self._due = 0.0
        self._warned: float | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._due = self._clock.seconds() + INTERVAL
        self._timer.start(INTERVAL, self._measure)

    def stop(self) -> None:
        """Stop measuring; safe to call twice."""
        self._timer.cancel()

    def _measure(self) -> None:
        now = self._clock.seconds()
        lag = max(0.0, now - self._due)
        self._report(lag)
        if lag >= WARNING and (self._warned is None or now - self._warned >= QUIET):
            self._warned = now
            _log.warn("the gateway stood still for {lag:.1f} s: it is short of CPU, or paged out", lag=lag)
        if not self._left() and (self._refusing is None or now - self._refusing >= QUIET):
            self._refusing = now
            _log.warn("no more files may be open, new connections are cut: raise LimitNOFILE of the service")
        self.start()
