"""Work in turns of the reactor: how much of it is done in one, and what it does to the collector."""

import gc

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from gateway.slices import in_turns


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
