"""Long work in slices: works take turns, and large objects are freed in slices too."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from gateway.slices import (
    FREE_SECONDS,
    FREED_PER_STEP,
    evaluate_in_slices,
    free_in_slices,
    in_slices,
    in_turns,
    young_collections_only,
)

if TYPE_CHECKING:
    from collections.abc import Generator


class Log:
    """The steps of named works, in their order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.steps: list[str] = []

    def work(self, name: str, steps: int) -> Generator[None, None, str]:
        for number in range(steps):
            self.steps.append(f"{name}{number}")
            yield
        return name


@pytest.fixture
def log() -> Log:
    return Log()


def one_turn(clock: Clock) -> None:
    """Make the calls that are due, but none that these add."""
    for call in clock.getDelayedCalls():
        if call.getTime() <= clock.seconds():
            func, arguments = call.func, call.args  # type: ignore[attr-defined] # of Twisted's DelayedCall
            call.cancel()
            func(*arguments)


def test_works_take_turns_and_each_turn_has_one_step(log: Log) -> None:
    """The first step is at once; each Deferred fires with the value of its generator."""
    works = [Deferred.fromCoroutine(in_slices(log.clock, log.work(name, 2))) for name in "ab"]
    assert ["a0", "b0"] == log.steps
    for count in (3, 4):
        one_turn(log.clock)
        assert count == len(log.steps)
    assert ["a0", "b0", "a1", "b1"] == log.steps
    log.clock.advance(0)
    assert ["a", "b"] == [work.result for work in works]


def test_a_cancelled_work_ends_and_the_others_go_on(log: Log) -> None:
    """Its generator is closed."""
    first, second = (Deferred.fromCoroutine(in_slices(log.clock, log.work(name, 3))) for name in "ab")
    caught: list[type] = []
    first.addErrback(lambda failure: caught.append(failure.type))
    first.cancel()
    log.clock.advance(0)
    assert [CancelledError] == caught
    assert ["a0", "b0", "b1", "b2"] == log.steps
    assert "b" == second.result


def test_evaluations_run_one_after_the_other(log: Log) -> None:
    """A burst of them does not hold the partial results of all; a failed one does not stop the next."""

    def failing() -> Generator[None, None, str]:
        yield
        raise ValueError

    works = [
        Deferred.fromCoroutine(evaluate_in_slices(log.clock, steps))
        for steps in (log.work("a", 2), failing(), log.work("b", 2))
    ]
    works[1].addErrback(lambda failure: failure.type)
    log.clock.advance(0)
    assert ["a0", "a1", "b0", "b1"] == log.steps
    assert ["a", ValueError, "b"] == [work.result for work in works]


def test_objects_are_freed_in_slices_once_nothing_else_uses_them(log: Log) -> None:
    """Those in use stay; they are looked at again a second later."""

    class Thing:
        pass

    things = [Thing() for _ in range(3 * FREED_PER_STEP)]
    alive = weakref.WeakSet(things)
    used = things[:FREED_PER_STEP]

    def listed(objects: list[object]) -> Generator[None, None, list[object]]:
        yield
        return objects

    free_in_slices(log.clock, listed(list(things)))
    del things
    log.clock.rightNow += FREE_SECONDS
    one_turn(log.clock)
    one_turn(log.clock)
    assert 2 * FREED_PER_STEP <= len(alive) < 3 * FREED_PER_STEP
    log.clock.advance(0)
    assert FREED_PER_STEP == len(alive)
    used.clear()
    log.clock.advance(FREE_SECONDS)
    log.clock.advance(0)
    assert 0 == len(alive)
    assert [] == log.clock.getDelayedCalls()


def test_the_collector_is_restored_after_the_last_of_several_works() -> None:
    """Whatever the order in which they end."""
    before = gc.get_threshold()
    try:
        first, second = young_collections_only(), young_collections_only()
        first.__enter__()
        second.__enter__()
        assert gc.get_threshold()[2] > 1_000_000
        first.__exit__(None, None, None)
        assert gc.get_threshold()[2] > 1_000_000
        second.__exit__(None, None, None)
        assert before == gc.get_threshold()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@pytest.fixture
def clock():
    return Clock()


def results(deferred):
    """Return the list that a Deferred's result is appended to."""
    found = []
    deferred.addBoth(found.append)
    return found


def test_small_steps_share_a_turn(clock):
    """A turn ends once its time is over; the value comes with the last step, and full collections come later."""
    before, seen = gc.get_threshold(), []

    def steps():
        for _ in range(5):
            clock.rightNow += 0.003
            seen.append(gc.get_threshold()[2] > before[2])
            yield
        return "value"

    found = results(Deferred.fromCoroutine(in_turns(clock, steps(), 0.004)))
    done = [len(seen)]
    while not found:
        (turn,) = clock.getDelayedCalls()
        clock.calls.remove(turn)
        turn.func(*turn.args)
        done.append(len(seen))
    assert (["value"], [2, 4, 5], [True] * 5) == (found, done, seen)
    assert before == gc.get_threshold()


def test_cancelled_work_ends(clock):
    """The generator is closed, and the collector is as before."""
    before, closed = gc.get_threshold(), []

    def steps():
        try:
            while True:
                clock.rightNow += 1
                yield
        finally:
            closed.append(True)

    work = Deferred.fromCoroutine(in_turns(clock, steps()))
    found = results(work)
    work.cancel()
    assert (True, [True]) == (bool(found[0].check(CancelledError)), closed)
    assert before == gc.get_threshold()
