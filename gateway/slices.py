"""Long work, one step per turn of the reactor, so that requests and streams go on; all works take turns.

in_slices(steps) ──► waiting ──► each turn of the reactor: one step of the work that has waited longest
"""

from __future__ import annotations

import gc
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")

LARGE_BYTES: Final = 64 * 1024  # of a config JSON, some 180 flags; a smaller one is compiled at once, in some 40 ms
TURN_SECONDS: Final = 0.004  # of work in small steps per turn: with one step more, requests wait less than 10 ms
NEVER: Final = 2**30  # collections of the middle generation before one of the oldest


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


_turns: WeakKeyDictionary[IReactorTime, _Turns] = WeakKeyDictionary()
_compiling = 0  # works of all SDKs
_postponing = 0  # users of ``_full_collections_postponed``, since there is one collector in a process
_thresholds = (700, 10, 10)  # the collector's, while they run


async def in_slices(clock: IReactorTime, steps: Generator[None, None, T]) -> T:
    """Run a generator, at most one step per turn of the reactor, and return its value; cancelling ends it."""
    turns = _turns.setdefault(clock, _Turns())
    try:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                value: T = end.value
                return value
            await turns.next(clock)
    finally:
        steps.close()


async def compile_in_slices(clock: IReactorTime, steps: Generator[None, None, T]) -> T:
    """As ``in_slices``, for work that makes millions of objects which stay.

    Meanwhile the garbage collector leaves the oldest generation alone: a step that adds objects to millions of others
    would start a collection of them all, which takes a second for 20,000 flags. At the end all objects leave that
    collection for good. Compiled configs have no cycles, so an old one is freed without the collector.
    """
    global _compiling
    _compiling += 1
    with _full_collections_postponed():
        try:
            return await in_slices(clock, steps)
        finally:
            _compiling -= 1
            if _compiling == 0:
                gc.freeze()


async def in_turns(clock: IReactorTime, steps: Generator[None, None, T], seconds: float = TURN_SECONDS) -> T:
    """As ``in_slices``, for very small steps: as many per turn as begin within ``seconds``.

    Full collections wait until the end.
    """
    with _full_collections_postponed():
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


@contextmanager
def _full_collections_postponed() -> Iterator[None]:
    global _postponing, _thresholds
    _postponing += 1
    if _postponing == 1:
        _thresholds = gc.get_threshold()
        gc.set_threshold(_thresholds[0], _thresholds[1], NEVER)
    try:
        yield
    finally:
        _postponing -= 1
        if _postponing == 0:
            gc.set_threshold(*_thresholds)
