"""After an outage messages are retried early: in order, a bounded number at a time, and not before ``Retry-After``."""

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


def test_waiting_messages_are_sent_soon_after_an_outage():
    """The first success after eight hours releases all others, in order, ``concurrency`` at a time."""
    scene = Scene(endpoint("ops"))
    far = FarReceiver(scene, "ops", outage(8 * HOUR))
    scene.add("ops", *MANY)
    scene.pass_until(START + 8.1 * HOUR)
    assert {} == far.accepted()
    scene.add("ops", "new")
    scene.pass_until(START + 8.1 * HOUR + 1)
    assert ["new", *MANY] == list(far.accepted())
    assert 8 == far.most
    assert {"delivered": 41} == scene.store.states()


@pytest.mark.parametrize("limit", [2, 3, 64, 200])
def test_no_more_than_concurrency_are_in_flight(limit):
    """However many wait."""
    scene = Scene(endpoint("ops", concurrency=limit))
    far = FarReceiver(scene, "ops", outage(8 * HOUR))
    scene.add("ops", *map(str, range(300)))
    scene.pass_until(START + 9 * HOUR)
    far.most = 0
    scene.add("ops", "new")
    scene.pass_until(START + 9 * HOUR + 30)
    assert limit == far.most
    assert ["new", *map(str, range(300))] == sorted(far.accepted(), key=lambda each: -1 if each == "new" else int(each))


def test_an_endpoint_that_fails_again_gets_no_more_than_are_in_flight():
    """The others keep their pauses; the next success continues where it stopped."""
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
    assert 10 == len(far.accepted())
    assert 4 >= len(far.attempts) - begun - 10
    waiting = "SELECT count(*) FROM messages WHERE state = 'pending' AND due > ?"
    assert [(31,)] == scene.store.rows(waiting, scene.clock.seconds() + HOUR)
    left[0] = 1000
    scene.add("ops", "newer")
    scene.pass_until(START + 8.1 * HOUR + 10)
    assert set(MANY[13:]) < set(far.accepted())


def test_later_messages_are_not_delayed():
    """While a long queue is sent, a new message waits only for those in flight."""
    scene = Scene(endpoint("ops", concurrency=2))
    far = FarReceiver(scene, "ops", outage(8 * HOUR))
    scene.add("ops", *map(str, range(200)))
    scene.pass_until(START + 9 * HOUR)
    scene.add("ops", "new")
    scene.pass_until(START + 9 * HOUR + 1)
    scene.add("ops", "newer")
    scene.pass_until(START + 9 * HOUR + 1.2)
    assert "newer" in far.accepted()
    assert len(far.accepted()) < 60


def test_no_message_is_retried_before_its_retry_after():
    """A message with a longer ``Retry-After`` waits for that, and no longer."""
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


def test_a_concurrency_of_one_keeps_the_order():
    """Also for messages that wait since before ``concurrency`` was 1."""
    scene = Scene(endpoint("ops"))
    far = FarReceiver(scene, "ops", outage(8 * HOUR))
    scene.add("ops", *MANY)
    scene.pass_until(START + 7.9 * HOUR)
    scene.configure(endpoint("ops", concurrency=1))
    far.most = 0
    scene.pass_until(START + 3 * DAY)
    assert MANY == list(far.accepted())
    assert 1 == far.most
    first, last = far.accepted()["0"], far.accepted()["39"]
    assert last - first < 10


@pytest.mark.parametrize(("pause", "most"), [(15 * MINUTE, 21), (7 * HOUR, 40)])
def test_a_message_that_is_always_refused_is_seldom_retried_early(pause, most):
    """While others are accepted it is tried at most twice as often as its schedule demands, and given up in time."""
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


def test_early_retries_of_refused_messages_are_limited_by_successes():
    """Each success releases as many of them as may be in flight, and their failure ends it."""
    scene = Scene(endpoint("ops", concurrency=4))
    bad = [f"bad{number}" for number in range(20)]
    far = FarReceiver(scene, "ops", lambda message, _: BROKEN if message in bad else FINE)
    scene.add("ops", *bad)
    for number in range(48):
        scene.pass_until(START + number * HOUR + 60)
        scene.add("ops", str(number))
    scene.pass_until(START + 2 * DAY + 60)
    refused = [at for at, message, _ in far.attempts if message in bad]
    early = [sum(at < each < at + 1 for each in refused) for at in far.accepted().values()]
    assert 4 == max(early)


def test_pauses_are_kept_while_other_messages_are_accepted():
    """One refused message among many accepted ones is no outage."""
    scene = Scene(endpoint("ops"))
    far = FarReceiver(scene, "ops", lambda message, _: BROKEN if message == "bad" else FINE)
    scene.add("ops", "bad")
    for number in range(1000):
        scene.pass_until(START + number * 10)
        scene.add("ops", str(number))
    pauses = [later - earlier for earlier, later in pairwise(far.times("bad"))]
    assert pauses == pytest.approx(DELAYS[: len(pauses)], abs=1)
    assert len(pauses) >= 6


def test_early_retries_survive_a_restart():
    """Messages that waited when the gateway stopped are retried early after the first success of the next run."""
    scene = Scene(endpoint("ops"))
    FarReceiver(scene, "ops", outage(8 * HOUR))
    scene.add("ops", *MANY)
    scene.pass_until(START + 7.9 * HOUR)
    scene.courier.stop()
    later = Scene(endpoint("ops"), store=scene.store, start=START + 9 * HOUR)
    far = FarReceiver(later, "ops", lambda *_: FINE)
    later.pass_until(START + 9 * HOUR + 10)
    assert {} == far.accepted()
    later.add("ops", "new")
    later.pass_until(START + 9 * HOUR + 20)
    assert ["new", *MANY] == list(far.accepted())


def test_a_success_releases_no_messages_of_other_endpoints():
    """Each endpoint has a recovery of its own."""
    scene = Scene(endpoint("ops"), endpoint("well"))
    far = FarReceiver(scene, "ops", outage(8 * HOUR))
    FarReceiver(scene, "well", lambda *_: FINE)
    scene.add("ops", *MANY)
    scene.pass_until(START + 9 * HOUR)
    scene.add("well", "new")
    scene.pass_until(START + 9 * HOUR + 60)
    assert {} == far.accepted()


def test_the_first_success_and_one_after_an_outage_release_messages():
    """A success after less than a minute of failures does not."""
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
def test_any_outages(outages, arrivals, retry_after, limit):
    """No attempt is too early, no more than allowed are in flight, all messages are delivered or given up in time."""
    scene = Scene(endpoint("ops", concurrency=limit))

    def answer(message, now):
        if any(start <= now - START < start + length for start, length in outages):
            return Attempt(503, "", 0.0, b"", retry_after[int(message) % len(retry_after)])
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
    check_none_is_forgotten(far, outages)


def check_none_is_forgotten(far, outages):
    """After a success that ends an outage, and without failures, each message that may go early is delivered."""
    first = {message: at for at, message, _ in reversed(far.attempts)}
    taken = far.accepted()
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
