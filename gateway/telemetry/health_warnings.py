"""Problems that an operator should know although flags are served: checked every few seconds, reported on a change.

upstream, webhooks, export, reload ──► HealthWarnings ──► status, log, systemd
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.deferreds import Repeating
from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

_log = component_logger("diag")

CHECK_SECONDS: Final = 5.0  # between two checks


class HealthWarnings:
    """Calls ``find`` for current problems, and ``report`` with all of them whenever they have changed.

    None of the functions may raise: that would end the checks.
    A problem is a sentence that stays the same while it lasts; its begin and its end are logged, unless it comes from
    ``find_logged``, whose problems are logged where they occur.
    """

    def __init__(
        self,
        clock: IReactorTime,
        find: Callable[[], Sequence[str]],
        report: Callable[[tuple[str, ...]], None],
        find_logged: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.current: tuple[str, ...] = ()
        self._found: tuple[str, ...] = ()
        self._find = find
        self._find_logged = find_logged
        self._report = report
        self._loop = Repeating(clock, self.check, _log, "the check of the gateway's health failed")

    def start(self) -> None:
        """Start the checks."""
        self._loop.start(CHECK_SECONDS)

    def stop(self) -> None:
        """Stop the checks."""
        self._loop.stop()

    def check(self) -> None:
        """Check once."""
        before, self._found = self._found, tuple(self._find())
        for problem in self._found:
            if problem not in before:
                _log.warn("degraded: {problem}", problem=problem)
        for problem in before:
            if problem not in self._found:
                _log.info("resolved: {problem}", problem=problem)
        shown, self.current = self.current, (*self._find_logged(), *self._found)
        if shown != self.current:
            self._report(self.current)
