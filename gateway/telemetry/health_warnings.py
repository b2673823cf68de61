"""What an operator should look at although flags are served: asked for every few seconds, told when it changes.

outbound's problems ──► Concerns ──► status, log, systemd
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.task import LoopingCall

from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_log = component_logger("diag")

CONCERN_SECONDS: Final = 5.0  # between two looks; nothing here is a matter of seconds


class Concerns:
    """Asks ``find`` for sentences, and calls ``tell`` with all of them whenever they are not those of before.

    Neither may raise: that would end the asking.
    A sentence stays the same for as long as its matter does; its beginning and its end are a line in the log each.
    """

    def __init__(self, clock: Any, find: Callable[[], Sequence[str]], tell: Callable[[tuple[str, ...]], None]) -> None:
        self._find = find
        self._tell = tell
        self._now: tuple[str, ...] = ()
        self._loop = LoopingCall(self.look)
        self._loop.clock = clock

    @property
    def now(self) -> tuple[str, ...]:
        """What is of concern."""
        return self._now

    def start(self) -> None:
        """Begin to ask."""
        self._loop.start(CONCERN_SECONDS, now=False)

    def stop(self) -> None:
        """Ask no more."""
        if self._loop.running:
            self._loop.stop()

    def look(self) -> None:
        """Ask once."""
        before, self._now = self._now, tuple(self._find())
        if before == self._now:
            return
        for problem in self._now:
            if problem not in before:
                _log.warn("degraded: {problem}", problem=problem)
        for problem in before:
            if problem not in self._now:
                _log.info("over: {problem}", problem=problem)
        self._tell(self._now)
