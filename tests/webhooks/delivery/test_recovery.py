"""An endpoint that takes messages again gets what waits for it soon: in order, paced, not before it asked for it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier_scene import BROKEN, FINE, START, FarReceiver, Scene, endpoint
from gateway.http_client import Attempt
from gateway.webhooks.delivery.recovery import OUTAGE, Recovery
from gateway.webhooks.delivery.retry import DELAYS
from gateway.webhooks.store.message_table import EarlyRetries

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
MANY = [str(number) for number in range(40)]


def outage(end, start=0.0):
    """Refuse everything between two moments after ``START``."""
    return lambda _, now: BROKEN if start <= now - START < end else FINE


def test_what_waits_goes_soon_once_the_receiver_is_back():
    """The first message that is taken after eight hours brings all others, in order, as many at once as are allowed."""
    scene = Scene(endpoint("ops"))
    far = FarReceiver(scene, "ops", outage(8 * HOUR))
    scene.add("ops", *MANY)
    scene.pass_until(START + 8.1 * HOUR)
    assert {} == far.taken()
    scene.add("ops", "new")
    scene.pass_until(START + 8.1 * HOUR + 1)
    assert ["new", *MANY] == list(far.taken())
    assert 8 == far.most
    assert {"delivered": 41} == scene.store.states()


@pytest.mark.parametrize("limit", [2, 3, 64, 200])
def test_no_more_than_concurrency_go_at_once(limit):
    """However many wait."""
    scene = Scene(endpoint("ops", concurrency=limit))
    far = FarReceiver(scene, "ops", outage(8 * HOUR))
    scene.add("ops", *map(str, range(300)))
    scene.pass_until(START + 9 * HOUR)
    far.most = 0
    scene.add("ops", "new")
    scene.pass_until(START + 9 * HOUR + 30)
    assert limit == far.most
    assert ["new", *map(str, range(300))] == sorted(far.taken(), key=lambda each: -1 if each == "new" else int(each))


def test_one_that_falls_again_is_met_by_no_more_than_are_in_flight():
    """The others keep their pauses; the next success goes on where it stopped."""
    scene = Scene(endpoint("ops", concurrency=4))
    left = [10]

    def answer(message, now):
        if now - START < 8 * HOUR:
            return BROKEN
        left[0] -= 1
        return FINE if left[0] >= 0 else BROKEN

    far = FarReceiver(scene, "ops", answer)
    scene.add("ops", *MANY)
    scene.pass_until(START + 8.1 * HOUR)
    begun = len(far.attempts)
    scene.add("ops", "new")
    scene.pass_until(START + 8.1 * HOUR + 4)
    assert 10 == len(far.taken())
    assert 4 >= len(far.attempts) - begun - 10
    waiting = "SELECT count(*) FROM messages WHERE state = 'pending' AND due > ?"
    assert [(31,)] == scene.store.rows(waiting, scene.clock.seconds() + HOUR)
    left[0] = 1000
    scene.add("ops", "newer")
    scene.pass_until(START + 8.1 * HOUR + 10)
    assert set(MANY[13:]) < set(far.taken())


def test_messages_of_later_are_not_held_up():
    """While a long queue is worked off, a fresh message waits for those in flight only."""
    scene = Scene(endpoint("ops", concurrency=2))
    far = FarReceiver(scene, "ops", outage(8 * HOUR))
    scene.add("ops", *map(str, range(200)))
    scene.pass_until(START + 9 * HOUR)
    scene.add("ops", "new")
    scene.pass_until(START + 9 * HOUR + 1)
    scene.add("ops", "newer")
    scene.pass_until(START + 9 * HOUR + 1.2)
    assert "newer" in far.taken()
    assert len(far.taken()) < 60


def test_nothing_goes_before_the_moment_that_its_receiver_asked_for():
    """``Retry-After`` is a minimum: what asked for more waits for that, and no longer."""
    scene = Scene(endpoint("ops"))

    def answer(message, now):
        if now - START >= 8 * HOUR:
            return FINE
        return Attempt(503, "", 0.0, b"", str(3 * 3600) if message == "slow" else "60")

    far = FarReceiver(scene, "ops", answer)
    scene.add("ops", "slow", "quick")
    scene.pass_until(START + 8.1 * HOUR)
    asked = far.times("slow")[-1] + 3 * HOUR
    scene.add("ops", "new")
    scene.pass_until(START + DAY)
    assert far.times("quick")[-1] == pytest.approx(8.1 * HOUR, abs=1)
    assert asked > 8.2 * HOUR
    assert far.times("slow")[-1] == pytest.approx(asked, abs=1)


def test_the_order_stays_strict_where_one_goes_at_a_time():
    """Also for what waits from before ``concurrency`` was 1."""
    scene = Scene(endpoint("ops"))
    far = FarReceiver(scene, "ops", outage(8 * HOUR))
    scene.add("ops", *MANY)
    scene.pass_until(START + 7.9 * HOUR)
    scene.configure(endpoint("ops", concurrency=1))
    far.most = 0
    scene.pass_until(START + 3 * DAY)
    assert MANY == list(far.taken())
    assert 1 == far.most
    first, last = far.taken()["0"], far.taken()["39"]
    assert last - first < 10


@pytest.mark.parametrize(("pause", "most"), [(15 * MINUTE, 21), (7 * HOUR, 40)])
def test_a_message_that_is_always_refused_gains_little(pause, most):
    """Beside others that are taken it is tried at most twice as often as its schedule says, and given up in time."""
    scene = Scene(endpoint("ops"))
    far = FarReceiver(scene, "ops", lambda message, _: BROKEN if message == "bad" else FINE)
    scene.add("ops", "bad")
    for number in range(int(3 * DAY / pause)):
        scene.pass_until(START + number * pause)
        scene.add("ops", str(number))
    scene.pass_until(START + 3 * DAY + 60)
    assert 20 <= len(far.times("bad")) <= most
    assert 3 * DAY == far.times("bad")[-1]
    assert [("failed",)] == scene.store.rows("SELECT state FROM messages WHERE id = 'bad'")


def test_many_that_are_always_refused_gain_no_more_than_successes_allow():
    """Each message that is taken lets as many of them go as may be in flight, and their failing ends it."""
    scene = Scene(endpoint("ops", concurrency=4))
    bad = [f"bad{number}" for number in range(20)]
    far = FarReceiver(scene, "ops", lambda message, _: BROKEN if message in bad else FINE)
    scene.add("ops", *bad)
    for number in range(48):
        scene.pass_until(START + number * HOUR + 60)
        scene.add("ops", str(number))
    scene.pass_until(START + 2 * DAY + 60)
    refused = [at for at, message, _ in far.attempts if message in bad]
    early = [sum(at < each < at + 1 for each in refused) for at in far.taken().values()]
    assert 4 == max(early)


def test_pauses_are_kept_while_others_are_taken():
    """One that is refused among many that are not is no outage."""
    scene = Scene(endpoint("ops"))
    far = FarReceiver(scene, "ops", lambda message, _: BROKEN if message == "bad" else FINE)
    scene.add("ops", "bad")
    for number in range(1000):
        scene.pass_until(START + number * 10)
        scene.add("ops", str(number))
    pauses = [later - earlier for earlier, later in pairwise(far.times("bad"))]
    assert pauses == pytest.approx(DELAYS[: len(pauses)], abs=1)
    assert len(pauses) >= 6


def test_a_restart_forgets_nobody():
    """What waited when the gateway stopped goes early after the first success of the next run."""
    scene = Scene(endpoint("ops"))
    FarReceiver(scene, "ops", outage(8 * HOUR))
    scene.add("ops", *MANY)
    scene.pass_until(START + 7.9 * HOUR)
    scene.courier.stop()
    later = Scene(endpoint("ops"), store=scene.store, start=START + 9 * HOUR)
    far = FarReceiver(later, "ops", lambda *_: FINE)
    later.pass_until(START + 9 * HOUR + 10)
    assert {} == far.taken()
    later.add("ops", "new")
    later.pass_until(START + 9 * HOUR + 20)
    assert ["new", *MANY] == list(far.taken())


def test_another_endpoint_has_no_part_in_it():
    """A success says something about its own endpoint only."""
    scene = Scene(endpoint("ops"), endpoint("well"))
    far = FarReceiver(scene, "ops", outage(8 * HOUR))
    FarReceiver(scene, "well", lambda *_: FINE)
    scene.add("ops", *MANY)
    scene.pass_until(START + 9 * HOUR)
    scene.add("well", "new")
    scene.pass_until(START + 9 * HOUR + 60)
    assert {} == far.taken()


def test_a_success_that_ends_an_outage_counts_from_then():
    """The rule by itself: the first success of a run, and one after a minute of failures."""
    rule = Recovery(100.0)
    rule.delivered(130.0, 0.0)
    first = rule.early
    assert EarlyRetries(100.0) == first
    rule.released(first, EarlyRetries(100.0, 7))
    assert EarlyRetries(100.0, 7) == rule.early
    rule.delivered(200.0, OUTAGE - 1)
    assert EarlyRetries(100.0, 7) == rule.early
    rule.delivered(300.0, OUTAGE)
    assert EarlyRetries(300.0) == rule.early
    rule.released(first, None)
    assert EarlyRetries(300.0) == rule.early
    rule.released(rule.early, None)
    assert rule.early is None


OUTAGES = st.lists(st.tuples(st.floats(0, 2 * DAY), st.floats(1, 12 * HOUR)), min_size=1, max_size=4)
ARRIVALS = st.lists(st.floats(0, 2.5 * DAY), min_size=1, max_size=30)
ASKED = st.sampled_from((None, None, "30", "7200", "86400"))


@given(OUTAGES, ARRIVALS, st.lists(ASKED, min_size=1, max_size=7), st.sampled_from((1, 2, 8)))
def test_whatever_the_outages(outages, arrivals, asked, limit):
    """Nobody is called too early or too often at once, all arrive or are given up in time, none is forgotten."""
    scene = Scene(endpoint("ops", concurrency=limit))

    def answer(message, now):
        if any(start <= now - START < start + length for start, length in outages):
            return Attempt(503, "", 0.0, b"", asked[int(message) % len(asked)])
        return FINE

    far = FarReceiver(scene, "ops", answer)
    for number, at in enumerate(sorted(arrivals)):
        scene.pass_until(START + at)
        scene.add("ops", str(number))
    scene.pass_until(START + 7 * DAY)
    assert far.most <= limit
    assert set(map(str, range(len(arrivals)))) == {message for _, message, _ in far.attempts}
    assert "pending" not in scene.store.states()
    for number in range(len(arrivals)):
        tries = [(at, attempt) for at, message, attempt in far.attempts if message == str(number)]
        end = tries[0][0] + 3 * DAY
        for (at, attempt), (later, _) in pairwise(tries):
            assert later >= min(at + float(attempt.retry_after or 0), end)
        assert tries[-1][0] <= end + 1
    check_nobody_is_forgotten(far, outages)


def check_nobody_is_forgotten(far, outages):
    """After each success that ends an outage, and while all is well, what was tried before and may go is taken."""
    first = {message: at for at, message, _ in reversed(far.attempts)}
    taken = far.taken()
    failures = []
    for at, _, attempt in sorted(far.attempts, key=lambda each: each[0]):
        if attempt.status != 204:
            failures.append(at)
            continue
        silence = failures[-1] - failures[0] if failures else 0.0
        failures.clear()
        if silence < OUTAGE or any(at <= START + start < at + MINUTE for start, _ in outages):
            continue
        for message, began in first.items():
            before = [(when, each) for when, tried, each in far.attempts if tried == message and when < at]
            may_go = all(when + float(each.retry_after or 0) <= at for when, each in before)
            if began < at and taken.get(message, at) >= at and may_go:
                assert taken[message] <= at + MINUTE
