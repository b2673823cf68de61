"""Runs all waiting work in one transaction of a database's thread.

run(work) ──► waiting ──► thread: begin · work · work · work · commit ──► the Deferreds fire, in order
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from gateway.storage.store import Work

T = TypeVar("T")

GROUP_LIMIT: Final = 500  # pieces of work in one transaction: bounds what runs again after one that fails
SLICE_SECONDS: Final = 0.005  # for the callbacks of one transaction, before the reactor serves others


class TransactionQueue:
    """A ``Store`` over ``transact``, which runs works in its thread and fires with a result or a Failure for each."""

    def __init__(self, clock: IReactorTime, transact: Callable[[list[Work[Any]]], Deferred[list[Any]]]) -> None:
        self._clock = clock
        self._transact = transact
        self._waiting: list[tuple[Work[Any], Deferred[Any]]] = []
        self._busy = False
        self._results: deque[tuple[Deferred[Any], Any]] = deque()
        self._idle: list[Deferred[None]] = []

    def run(self, work: Work[T]) -> Deferred[T]:
        """See ``Store``."""
        done: Deferred[T] = Deferred()
        self._waiting.append((work, done))
        self._schedule()
        return done

    def idle(self) -> Deferred[None]:
        """Fire when the work of all earlier calls is done and its Deferreds have fired."""
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        self._fire_idle()
        return done

    def _schedule(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            # After this turn of the reactor, which may add more work to the transaction.
            self._clock.callLater(0, self._begin)

    def _begin(self) -> None:
        group, self._waiting = self._waiting[:GROUP_LIMIT], self._waiting[GROUP_LIMIT:]
        ended: Deferred[Any] = self._transact([work for work, _ in group])
        ended.addBoth(self._ended, [done for _, done in group])

    def _ended(self, results: Any, dones: Sequence[Deferred[Any]]) -> None:
        self._busy = False
        if isinstance(results, Failure):
            results = [results] * len(dones)
        firing = bool(self._results)
        self._results.extend(zip(dones, results, strict=True))
        self._schedule()
        if not firing:
            self._fire()

    def _fire(self) -> None:
        """Fire the Deferreds, a slice at a time: their callbacks would delay everything else in the reactor."""
        until = self._clock.seconds() + SLICE_SECONDS
        while self._results:
            done, result = self._results[0]
            done.callback(result)
            self._results.popleft()  # after the callbacks, during which the database does not count as idle
            if self._results and self._clock.seconds() >= until:
                self._clock.callLater(0, self._fire)
                return
        self._fire_idle()

    def _fire_idle(self) -> None:
        if self._busy or self._waiting or self._results:
            return
        idle, self._idle = self._idle, []
        for done in idle:
            done.callback(None)
