"""Long work, one step per turn of the reactor, so that requests and streams go on; all works take turns.

in_slices(steps) ──► waiting ──► each turn of the reactor: one step of the work that has waited longest
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import deferLater

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")

LARGE_BYTES: Final = 64 * 1024  # of a config JSON, some 180 flags; a smaller one is compiled at once, in some 40 ms
FREE_SECONDS: Final = 1.0  # between two checks whether objects are still in use
FREED_PER_STEP: Final = 128  # flags: some 2 ms
TURN_SECONDS: Final = 0.004  # of work in small steps per turn: with one step more, requests wait less than 10 ms
YOUNG_ONLY: Final = (1_000, 10, 2**30)  # thresholds: a middle collection takes 7 ms, one of the oldest never starts


class _Turns:
    """Wakes one waiting work per turn of the reactor."""

    def __init__(self) -> None:
        self._waiting: deque[Deferred[None]] = deque()
        self._scheduled = False

    def next(self, clock: IReactorTime) -> Deferred[None]:
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        self._schedule(clock)
        return turn

    def _schedule(self, clock: IReactorTime) -> None:
        if not self._scheduled:
            self._scheduled = True
            clock.callLater(0, self._wake, clock)

    def _wake(self, clock: IReactorTime) -> None:
        self._scheduled = False
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.called:  # as one that was cancelled is
                turn.callback(None)
                break
        if self._waiting:
            self._schedule(clock)


def _next_turn(clock: IReactorTime) -> Deferred[None]:
    return _turns.setdefault(clock, _Turns()).next(clock)


_turns: WeakKeyDictionary[IReactorTime, _Turns] = WeakKeyDictionary()
_evaluations: WeakKeyDictionary[IReactorTime, DeferredLock] = WeakKeyDictionary()
_lock = Lock()  # for the next three
_young_only = 0  # works of all SDKs and threads, since there is one collector in a process
_freezing = 0  # those of them after which all objects leave the collection
_thresholds = (700, 10, 10)  # the collector's, while they run


async def in_slices(clock: IReactorTime, steps: Generator[None, None, T]) -> T:
    """Run a generator, at most one step per turn of the reactor, and return its value; cancelling ends it."""
    try:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                value: T = end.value
                return value
            await _next_turn(clock)
    finally:
        steps.close()


async def in_turns(clock: IReactorTime, steps: Generator[None, None, T], seconds: float = TURN_SECONDS) -> T:
    """As ``in_slices``, for very small steps: as many per turn as begin within ``seconds``.

    Full collections wait until the end.
    """
    with young_collections_only(freeze=False):
        return await in_slices(clock, _grouped(clock, steps, seconds))


def _grouped(clock: IReactorTime, steps: Generator[None, None, T], seconds: float) -> Generator[None, None, T]:
    """Yield once per ``seconds``."""
    try:
        until = clock.seconds() + seconds
        while True:
            try:
                next(steps)
            except StopIteration as end:
                value: T = end.value
                return value
            if clock.seconds() >= until:
                yield
                until = clock.seconds() + seconds
    finally:
        steps.close()


async def evaluate_in_slices(clock: IReactorTime, steps: Generator[None, None, T]) -> T:
    """As ``in_slices``, for short-lived work of which there may be much: one after the other, in their order."""
    lock = _evaluations.setdefault(clock, DeferredLock())
    await lock.acquire()
    try:
        return await in_slices(clock, steps)
    finally:
        lock.release()


async def compile_in_slices(clock: IReactorTime, steps: Generator[None, None, T]) -> T:
    """As ``in_slices``, for work that makes millions of objects; see ``young_collections_only``.

    Its first step is in a later turn than the call, since it often follows other work of this kind.
    """
    with young_collections_only():
        await _next_turn(clock)
        return await in_slices(clock, steps)


@contextmanager
def young_collections_only(*, freeze: bool = True) -> Iterator[None]:
    """Have the garbage collector leave the oldest generation alone, in all threads, until the last of these has ended.

    Work that adds objects to millions of others would start collections of them all, which take a second for 20,000
    flags and stop every thread; and the usual middle collections, of 100,000 objects, take 80 ms.  With ``freeze`` all
    objects leave that collection for good once the last work that demands it has ended: compiled configs and messages
    have no cycles, so they are freed without the collector.
    """
    global _young_only, _freezing, _thresholds
    with _lock:
        _young_only += 1
        _freezing += freeze
        if _young_only == 1:
            _thresholds = gc.get_threshold()
            gc.set_threshold(*YOUNG_ONLY)
    try:
        yield
    finally:
        with _lock:
            _young_only -= 1
            _freezing -= freeze
            if freeze and _freezing == 0:
                gc.freeze()
            if _young_only == 0:
                gc.set_threshold(*_thresholds)


def free_in_slices(clock: IReactorTime, steps: Generator[None, None, list[object]]) -> None:
    """Keep the objects that ``steps`` returns until nothing else refers to them, and free a few per turn.

    ``steps`` begins a second later.  Otherwise the end of the last reference to a large config would free millions of
    objects at once.
    """
    Deferred.fromCoroutine(_free(clock, steps))


async def _free(clock: IReactorTime, steps: Generator[None, None, list[object]]) -> None:
    await deferLater(clock, FREE_SECONDS, lambda: None)
    objects = await in_slices(clock, steps)
    while objects:
        objects = await in_slices(clock, _still_used(objects))
        if objects:
            await deferLater(clock, FREE_SECONDS, lambda: None)


def _still_used(objects: list[object]) -> Generator[None, None, list[object]]:
    used: list[object] = []
    count = 0
    while objects:
        one = objects.pop()
        if sys.getrefcount(one) > 2:  # more than ``one`` and the argument
            used.append(one)
        count += 1
        if count % FREED_PER_STEP == 0:
            yield
    return used
