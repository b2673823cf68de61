"""Deferreds and delayed calls: failures are logged, waits are bounded, a timer holds one call."""

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger

from gateway.deferreds import Repeating, Timer, call_each, fire_within, settle_all, supervise


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def events():
    return []


@pytest.fixture
def log(events):
    return Logger(namespace="gateway", observer=events.append)


def results(deferred):
    """Return the list that a Deferred's result is appended to."""
    found = []
    deferred.addBoth(found.append)
    return found


def test_supervise_logs_a_failure_with_its_fields_and_traceback(log, events):
    """The line tells what failed, for which thing, and where."""
    error = ValueError("boom")
    assert [None] == results(supervise(fail(error), log, "SDK {sdk}: not stored", sdk="prod"))
    (event,) = events
    assert ("SDK {sdk}: not stored", "prod", "critical", "gateway") == (
        event["log_format"], event["sdk"], event["log_level"].name, event["log_namespace"],
    )  # fmt: skip
    assert error is event["log_failure"].value


def test_supervise_leaves_a_result_alone(log, events):
    """What succeeds goes on as it would without it."""
    work = succeed(7)
    assert work is supervise(work, log, "failed")
    assert [7] == results(work)
    assert [] == events


def test_supervise_leaves_what_an_earlier_errback_handled(log, events):
    """An expected failure has a line of its own, or none."""
    assert [None] == results(supervise(fail(KeyError("x")).addErrback(lambda _: None), log, "failed"))
    assert [] == events


def test_fire_within_fires_with_the_work(clock):
    """The timer goes when the work ends in time."""
    work = Deferred()
    done = results(fire_within(clock, work, 2.0))
    clock.advance(1.9)
    assert [] == done
    work.callback("result")
    assert [None] == done
    assert [] == clock.getDelayedCalls()


def test_fire_within_fires_at_the_bound_and_the_work_goes_on(clock):
    """The work is not cancelled, and may end later."""
    cancelled = []
    work = Deferred(cancelled.append)
    done = results(fire_within(clock, work, 2.0))
    clock.advance(2.0)
    assert [None] == done
    work.callback("late")
    assert ([None], []) == (done, cancelled)


def test_fire_within_fires_for_work_that_has_ended_or_fails(clock):
    """Neither leaves a timer behind; a failure is consumed."""
    assert [None] == results(fire_within(clock, succeed(1), 2.0))
    failing = fail(ValueError())
    assert [None] == results(fire_within(clock, failing, 2.0))
    assert [None] == results(failing)
    assert [] == clock.getDelayedCalls()


def test_fire_within_may_be_cancelled(clock):
    """A caller that goes away hinders neither the work nor the timer."""
    work = Deferred()
    done = fire_within(clock, work, 2.0)
    found = results(done)
    done.cancel()
    assert isinstance(found[0].value, CancelledError)
    clock.advance(2.0)
    work.callback(None)


def test_settle_all_fires_after_the_last(clock):
    """Results and failures stay with each of them."""
    first, second = Deferred(), Deferred()
    done = results(settle_all([first, second]))
    first.callback(1)
    assert [] == done
    error = ValueError()
    second.errback(error)
    assert [None] == done
    assert [1] == results(first)
    assert error is results(second)[0].value


def test_settle_all_fires_at_once_when_nothing_is_under_way():
    """With none, and with ones that have ended."""
    assert [None] == results(settle_all([]))
    assert [None] == results(settle_all([succeed(1)]))


def test_settle_all_leaves_the_works_alone_when_cancelled():
    """Who waits may give up."""
    work = Deferred()
    done = settle_all([work])
    found = results(done)
    done.cancel()
    assert isinstance(found[0].value, CancelledError)
    work.callback(3)
    assert [3] == results(work)


def test_a_timer_calls_once(clock):
    """Its arguments are passed on, and it is not active while it calls."""
    timer = Timer(clock)
    calls = []
    timer.start(2.0, lambda *args: calls.append((args, timer.active, timer.due)), 1, "b")
    assert (True, 2.0) == (timer.active, timer.due)
    clock.advance(1.9)
    assert [] == calls
    clock.advance(5.0)
    assert [((1, "b"), False, None)] == calls
    assert (False, None) == (timer.active, timer.due)


def test_starting_again_replaces_what_is_pending(clock):
    """Earlier or later, only the newest call is made."""
    timer = Timer(clock)
    calls = []
    for seconds, name in ((2.0, "a"), (5.0, "b"), (1.0, "c")):
        timer.start(seconds, calls.append, name)
    clock.advance(10.0)
    assert ["c"] == calls


def test_a_timer_may_start_itself_again(clock):
    """So a period is made."""
    timer = Timer(clock)
    calls = []

    def again():
        calls.append(clock.seconds())
        timer.start(1.0, again)

    again()
    clock.pump([1.0, 1.0])
    assert [0.0, 1.0, 2.0] == calls
    assert 3.0 == timer.due


def test_cancelling_is_safe_at_any_time(clock):
    """Never started, pending, cancelled and called."""
    timer = Timer(clock)
    calls = []
    timer.cancel()
    timer.start(1.0, calls.append, "never")
    timer.cancel()
    timer.cancel()
    assert ([], False, None) == (clock.getDelayedCalls(), timer.active, timer.due)
    timer.start(1.0, calls.append, "once")
    clock.advance(1.0)
    timer.cancel()
    assert ["once"] == calls


def test_repeating_goes_on_after_a_failure(clock, log, events):
    """One bad moment costs one call."""
    calls = []

    def call():
        calls.append(clock.seconds())
        if len(calls) == 1:
            raise ValueError("boom")

    repeating = Repeating(clock, call, log, "the flush failed")
    repeating.start(5)
    clock.pump([1] * 16)
    assert [5, 10, 15] == calls
    assert ["the flush failed"] == [event["log_format"] for event in events]
    repeating.stop()
    clock.pump([1] * 10)
    assert 3 == len(calls)
    assert not repeating.running


def test_repeating_waits_for_a_deferred(clock, log, events):
    """No call begins while the one before is in progress; a failure of its Deferred is logged."""
    works = []
    repeating = Repeating(clock, lambda: works.append(Deferred()) or works[-1], log, "the flush failed")
    repeating.start(5)
    clock.pump([1] * 12)
    assert 1 == len(works)
    works[0].errback(KeyError("x"))
    clock.advance(0)
    assert 2 == len(works)
    assert 1 == len(events)
    repeating.stop()
    works[1].callback(None)
    assert [] == clock.getDelayedCalls()


def test_call_each_goes_on_after_a_failure(log, events):
    """The line has the type and the place of the failure, and not its text, which may quote a client."""
    calls = []

    def fail_once():
        raise ValueError("secret")

    call_each([lambda: calls.append(1), fail_once, lambda: calls.append(2)], log, "the end of a stream")
    assert [1, 2] == calls
    (event,) = events
    assert ("the end of a stream", "ValueError") == (event["what"], event["kind"])
    assert event["place"].startswith("fail_once:")
    assert "secret" not in str(event)
