"""Which fetch answers which caller: coalescing, rate limit, cancellation, stop."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock

from gateway.upstream.fetch_queue import WAITING_LIMIT, FetchQueue
from gateway.upstream.outcome import Refreshed


class Runs:
    """Fetches that the test ends; results are numbered from 1."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.begun: list[float] = []
        self.open: list[Deferred] = []
        self.queue = FetchQueue(self.clock, self.run)

    def run(self) -> Deferred:
        self.begun.append(self.clock.seconds())
        self.open.append(Deferred())
        return self.open[-1]

    def end(self) -> None:
        self.open.pop(0).callback(Refreshed(str(len(self.begun))))


@pytest.fixture
def runs() -> Runs:
    return Runs()


def error_of(deferred: Deferred) -> str | None:
    """The result's text, or None while there is none."""
    seen = []
    deferred.addCallback(lambda result: seen.append(result.error) or result)
    return seen[0] if seen else None


def test_an_idle_sdk_fetches_at_once(runs):
    """A caller does not wait while no fetch runs."""
    caller = runs.queue.request()
    assert [0] == runs.begun
    runs.end()
    assert "1" == error_of(caller)


def test_callers_during_a_fetch_share_the_next_one(runs):
    """One fetch runs and one waits for any number of callers; the running one answers none of the later callers."""
    first = runs.queue.request()
    later = [runs.queue.request() for _ in range(50)]
    runs.end()
    assert "1" == error_of(first)
    assert [None] * 50 == [error_of(d) for d in later]
    assert 2 == len(runs.begun)
    runs.end()
    assert ["2"] * 50 == [error_of(d) for d in later]
    assert [] == runs.open


def test_a_wake_during_a_fetch_makes_one_more(runs):
    """A change during a read is read by the next fetch."""
    runs.queue.wake()
    runs.queue.wake()
    runs.queue.wake()
    runs.end()
    assert 2 == len(runs.begun)
    runs.end()
    assert [] == runs.open


def test_cancelling_a_caller_affects_no_other(runs):
    """A client that disconnects ends neither the fetch nor the other callers' requests."""
    gone, stays = runs.queue.request(), None
    stays = runs.queue.request()
    late = runs.queue.request()
    gone.cancel()
    late.cancel()
    gone.addErrback(lambda failure: failure.trap(CancelledError))
    late.addErrback(lambda failure: failure.trap(CancelledError))
    runs.end()
    runs.end()
    assert "2" == error_of(stays)


def test_limited_callers_cause_one_fetch_a_second(runs):
    """A thousand unauthenticated refreshes within a second are two fetches: one at once, one when it is over."""
    first = runs.queue.request(limited=True)
    runs.end()
    rest = []
    for _ in range(10):
        runs.clock.advance(0.05)
        rest += [runs.queue.request(limited=True) for _ in range(100)]
    assert 1 == len(runs.begun)
    runs.clock.advance(0.5)
    runs.end()
    assert [0, 1.0] == [pytest.approx(at) for at in runs.begun]
    assert "1" == error_of(first)
    assert {"2"} == {error_of(d) for d in rest}


def test_limited_callers_join_a_fetch_that_begins_anyway(runs):
    """A fetch for a caller with credentials also answers the limited callers that are held."""
    runs.queue.request(limited=True)
    runs.end()
    held = runs.queue.request(limited=True)
    trusted = runs.queue.request()
    runs.end()
    assert ("2", "2") == (error_of(held), error_of(trusted))
    runs.clock.advance(5)
    assert 2 == len(runs.begun)


def test_limited_callers_during_a_slow_fetch_get_the_next(runs):
    """Even a limited caller never gets the result of a fetch that began before its call."""
    runs.queue.request()
    limited = runs.queue.request(limited=True)
    assert 1 == len(runs.begun)
    runs.end()
    assert None is error_of(limited)
    runs.end()
    assert "2" == error_of(limited)


def test_unlimited_callers_never_wait_for_the_limit(runs):
    """Callers with credentials are not limited."""
    for _ in range(5):
        runs.queue.request()
        runs.end()
    assert [0] * 5 == runs.begun


def test_waiting_callers_are_bounded(runs):
    """At the bound a caller gets an error at once, and the callers before it are still answered."""
    runs.queue.request()
    waiting = [runs.queue.request() for _ in range(WAITING_LIMIT)]
    assert "too many callers are waiting for a refresh of this SDK" == error_of(runs.queue.request())
    runs.end()
    runs.end()
    assert "2" == error_of(waiting[-1])


def test_stop_answers_every_caller_and_begins_no_fetch(runs):
    """After stop there is no fetch, no timer and no waiting caller."""
    served, waiting = runs.queue.request(), runs.queue.request()
    stopped = runs.queue.stop()
    assert ("the SDK was stopped", "the SDK was stopped") == (error_of(served), error_of(waiting))
    assert stopped.called
    assert "the SDK was stopped" == error_of(runs.queue.request())
    runs.queue.wake()
    assert (1, []) == (len(runs.begun), runs.clock.getDelayedCalls())


def test_restart_moves_callers_to_the_new_fetch(runs):
    """Callers of a fetch that is given up are answered by the one that follows."""
    caller = runs.queue.request()
    runs.queue.restart()
    assert (2, None) == (len(runs.begun), error_of(caller))
    runs.open.pop(0)
    runs.end()
    assert "2" == error_of(caller)


def test_an_unexpected_error_is_logged_and_answered(runs, logged_errors):
    """An error in our own code leaves no caller waiting, and the next fetch begins."""
    caller = runs.queue.request()
    runs.open.pop(0).errback(ZeroDivisionError())
    assert "config fetch failed: the fetch was given up" == error_of(caller)
    assert 1 == len(logged_errors.flush(ZeroDivisionError))
    again = runs.queue.request()
    runs.end()
    assert "2" == error_of(again)


def test_a_wake_from_inside_of_a_fetch_that_ends_at_once_begins_the_next_one_after_it():
    """A fetch that needs no network ends in the same turn; two must never run at the same time."""
    running, log = [], []

    def run() -> Deferred:
        running.append(1)
        log.append(len(running))
        if len(log) < 3:
            queue.wake()
        running.pop()
        return succeed(Refreshed())

    queue = FetchQueue(Clock(), run)
    queue.wake()
    assert [1, 1, 1] == log
