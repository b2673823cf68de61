"""Which fetch answers which caller: one runs, one may wait, and a fetch never answers a call made after its begin.

request ──► idle: begin now ─────────────► answers every caller that waited for it
        └─► busy: wait for the next one ──► begins when the running one ends
request(limited) within a second of the last limited fetch ──► held until the second is over
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred

from gateway.deferreds import Timer
from gateway.logger import component_logger
from gateway.upstream.outcome import Refreshed

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

_log = component_logger("sdks")

LIMITED_INTERVAL: Final = 1.0  # seconds between fetches that callers without credentials can cause per SDK
WAITING_LIMIT: Final = 10_000  # callers waiting per SDK, each an open request; the next one gets an error at once
_CROWDED: Final = Refreshed("too many callers are waiting for a refresh of this SDK")
_STOPPED: Final = Refreshed("the SDK was stopped")
GIVEN_UP: Final = Refreshed("config fetch failed: the fetch was given up")


class FetchQueue:
    """Coalesces the callers of ``run``, which makes one fetch and fails only when cancelled."""

    def __init__(self, clock: IReactorTime, run: Callable[[], Deferred[Refreshed]]) -> None:
        self._clock = clock
        self._run = run
        self._current: Deferred[Refreshed] | None = None
        self._served: list[Deferred[Refreshed]] = []  # callers of the running fetch
        self._waiting: list[Deferred[Refreshed]] = []  # callers of the next one
        self._held: list[Deferred[Refreshed]] = []  # limited callers
        self._due = False  # another fetch begins even without callers
        self._stopped = False
        self._limited_at = float("-inf")  # when the next limited fetch may begin
        self._timer = Timer(clock)

    def request(self, *, limited: bool = False) -> Deferred[Refreshed]:
        """Return the result of a fetch that begins after this call; cancelling it affects no other caller."""
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

    def wake(self) -> None:
        """Make a fetch that begins after this call, without a caller."""
        self._due = True
        self._begin()

    def restart(self) -> None:
        """Cancel the running fetch, if any, and begin a new one, which also answers its callers."""
        self._waiting[:0], self._served = self._served, []
        self._due = True
        if self._current is not None:
            self._current.cancel()
        self._begin()

    def stop(self) -> Deferred[None]:
        """Answer every caller and begin no further fetch; fires when the running one has ended."""
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
        if self._stopped or self._current is not None or not (self._due or self._waiting):
            return
        if self._held:
            self._limited_at = self._clock.seconds() + LIMITED_INTERVAL
        self._served = self._waiting + self._held  # a fetch that begins now is new enough for limited callers, too
        self._waiting, self._held, self._due = [], [], False
        self._timer.cancel()
        self._current = Deferred()  # so that a wake from inside of ``run`` begins no second fetch beside this one
        current = self._current = self._run()
        current.addErrback(_given_up).addCallback(self._ended)

    def _ended(self, result: Refreshed) -> None:
        served, self._served = self._served, []
        self._current = None
        _answer(served, result)
        self._release()
        self._begin()

    def _release(self) -> None:
        """Begin a fetch for limited callers as soon as their second is over."""
        if not self._held or self._timer.active or self._stopped:
            return
        wait = self._limited_at - self._clock.seconds()
        if wait <= 0:
            self.wake()
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


def _given_up(failure: Failure) -> Refreshed:
    if failure.check(CancelledError) is None:
        _log.failure("a fetch failed unexpectedly; the last good config stays in place", failure)
    return GIVEN_UP
