"""Who gets which fetch: one runs, one may wait, and nobody is answered by a fetch older than the question.

ask ──► idle: begin now ─────────────► answers everybody who waited for it
    └─► busy: wait for the next one ──► begins when the running one ends
ask(limited) within a second of the last limited one ──► held until the second is over
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred

from gateway.deferreds import Timer
from gateway.logger import component_logger
from gateway.upstream.outcome import Refreshed

if TYPE_CHECKING:
    from collections.abc import Callable

_log = component_logger("sdks")

LIMITED_INTERVAL = 1.0  # seconds between fetches that callers without credentials can cause per SDK
WAITING_LIMIT = 10_000  # callers waiting per SDK; each is an open request; the next one is told so at once
_CROWDED = Refreshed("too many callers are waiting for a refresh of this SDK")
_STOPPED = Refreshed("the SDK was stopped")


class Turns:
    """Coalesces callers of *run*, which does one fetch and never errs unless cancelled."""

    def __init__(self, clock: Any, run: Callable[[], Deferred[Refreshed]]) -> None:
        self._clock = clock
        self._run = run
        self._current: Deferred[Refreshed] | None = None
        self._served: list[Deferred[Refreshed]] = []
        self._waiting: list[Deferred[Refreshed]] = []
        self._held: list[Deferred[Refreshed]] = []
        self._again = False
        self._stopped = False
        self._free_at = float("-inf")  # when the next limited fetch may begin
        self._timer = Timer(clock)

    def ask(self, *, limited: bool = False) -> Deferred[Refreshed]:
        """The result of a fetch that begins after this call; cancelling it disturbs nobody else."""
        caller: Deferred[Refreshed] = Deferred(self._forget)
        if self._stopped:
            caller.callback(_STOPPED)
        elif len(self._waiting) + len(self._held) >= WAITING_LIMIT:
            caller.callback(_CROWDED)
        elif limited:
            self._held.append(caller)
            self._release()
        else:
            self._waiting.append(caller)
            self._begin()
        return caller

    def nudge(self) -> None:
        """A fetch that begins after this call is wanted, but nobody waits for its result."""
        self._again = True
        self._begin()

    def restart(self) -> None:
        """Give up the running fetch, if any; its callers are served by a new one that begins at once."""
        self._waiting[:0], self._served = self._served, []
        self._again = True
        if self._current is not None:
            self._current.cancel()
        self._begin()

    def stop(self) -> Deferred[None]:
        """Answer everybody, begin nothing any more; fires when the running fetch has ended."""
        self._stopped = True
        self._timer.cancel()
        callers = self._served + self._waiting + self._held
        self._served, self._waiting, self._held = [], [], []
        ended: Deferred[None] = Deferred()
        if self._current is None:
            ended.callback(None)
        else:
            self._current.addBoth(lambda _: ended.callback(None))
            self._current.cancel()
        _answer(callers, _STOPPED)
        return ended

    def _begin(self) -> None:
        if self._stopped or self._current is not None or not (self._again or self._waiting):
            return
        if self._held:
            self._free_at = self._clock.seconds() + LIMITED_INTERVAL
        self._served = self._waiting + self._held  # a fetch that begins now is new enough for those held back, too
        self._waiting, self._held, self._again = [], [], False
        self._timer.cancel()
        current = self._current = self._run()
        current.addErrback(_mishap).addCallback(self._ended)

    def _ended(self, result: Refreshed) -> None:
        served, self._served = self._served, []
        self._current = None
        _answer(served, result)
        self._release()
        self._begin()

    def _release(self) -> None:
        """Let those held back wait with the others as soon as their second is over."""
        if not self._held or self._timer.active or self._stopped:
            return
        wait = self._free_at - self._clock.seconds()
        if wait <= 0:
            self._again = True
            self._begin()
        else:
            self._timer.start(wait, self._release)

    def _forget(self, caller: Deferred[Refreshed]) -> None:
        for callers in (self._served, self._waiting, self._held):
            if caller in callers:
                callers.remove(caller)


def _answer(callers: list[Deferred[Refreshed]], result: Refreshed) -> None:
    for caller in callers:
        if not caller.called:
            caller.callback(result)


def _mishap(failure: Any) -> Refreshed:
    if failure.check(CancelledError) is None:
        _log.failure("a fetch ended in an unforeseen way", failure)
    return Refreshed("config fetch failed: the fetch was given up")
