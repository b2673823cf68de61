"""Work on a large config, one step per turn of the reactor, so that requests and streams of other SDKs go on."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Generator

    from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")

LARGE_BYTES: Final = 64 * 1024  # of a config JSON, some 180 flags; a smaller one is compiled at once, in some 40 ms
NEVER: Final = 2**30  # collections of the middle generation before one of the oldest

_running = 0  # generators: of all SDKs, since there is one collector in a process
_thresholds = (700, 10, 10)  # the collector's, while generators run


async def in_slices(clock: IReactorTime, steps: Generator[None, None, T]) -> T:
    """Run a generator, one step per turn of the reactor, and return its value; cancelling ends it.

    Meanwhile the garbage collector leaves the oldest generation alone: a step that adds objects to millions of others
    would start a collection of them all, which takes a second for 20,000 flags. At the end all objects leave that
    collection for good. Compiled configs have no cycles, so an old one is freed without the collector.
    """
    global _running, _thresholds
    _running += 1
    if _running == 1:
        _thresholds = gc.get_threshold()
        gc.set_threshold(_thresholds[0], _thresholds[1], NEVER)
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
        _running -= 1
        if _running == 0:
            gc.freeze()
            gc.set_threshold(*_thresholds)


def _next_turn(clock: IReactorTime) -> Deferred[None]:
    turn: Deferred[None] = Deferred(lambda _: call.cancel())
    call = clock.callLater(0, turn.callback, None)
    return turn
