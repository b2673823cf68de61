"""Problems that an operator should know although flags are served: checked every few seconds, reported on a change.

webhooks, export ──► HealthWarnings ──► status, log, systemd
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.task import LoopingCall

from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

_log = component_logger("diag")

CHECK_SECONDS: Final = 5.0  # between two checks


class HealthWarnings:
    """Calls ``find`` for all current problems, and ``report`` with them whenever they have changed.

    Neither may raise: that would end the checks.
    A problem is a sentence that stays the same while it lasts; its begin and its end are logged.
    """

    def __init__(
        self,
        clock: IReactorTime,
        find: Callable[[], Sequence[str]],
        report: Callable[[tuple[str, ...]], None],
    ) -> None:
        self.current: tuple[str, ...] = ()
        self._find = find
        self._report = report
        self._loop = LoopingCall(self.check)
        self._loop.clock = clock

    def start(self) -> None:
        """Start the checks."""
        self._loop.start(CHECK_SECONDS, now=False)

    def stop(self) -> None:
        """Stop the checks."""
        if self._loop.running:
            self._loop.stop()

    def check(self) -> None:
        """Check once."""
        before, self.current = self.current, tuple(self._find())
        if before == self.current:
            return
        for problem in self.current:
            if problem not in before:
                _log.warn("degraded: {problem}", problem=problem)
        for problem in before:
            if problem not in self.current:
                _log.info("resolved: {problem}", problem=problem)
        self._report(self.current)
