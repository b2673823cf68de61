"""The retry schedule: its table, its laws, and ``Retry-After``."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http_client.attempt import TIMED_OUT, Attempt
from gateway.webhooks.delivery.retry import (
    DELAYS,
    JITTER,
    LONGEST_DELAY,
    Retry,
    delay,
    next_attempt,
    next_retry,
    parse_retry_after,
)

DAYS = 86400.0
NOW = 1445412480.0  # Wed, 21 Oct 2015 07:28:00 GMT
CHANCES = st.floats(0, 1, exclude_max=True)


def run(retry_for, chances, first=1000.0, retry_after=None, took=0.0):
    """Return the times of all attempts of a message that is never accepted."""
    attempts, now = [first], first
    while True:
        chance = chances[len(attempts) % len(chances)]
        at = next_attempt(first, now + took, len(attempts), retry_for, retry_after, chance)
        if at is None:
            return attempts
        attempts.append(at)
        now = at


def test_the_table():
    """Without jitter the pauses are those of the documented table, and the last attempt ends the third day."""
    attempts = run(3 * DAYS, [0.5])
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert pauses[:8] == pytest.approx([5, 30, 120, 600, 1800, 3600, 7200, 14400])
    assert pauses[8:-1] == pytest.approx([21600] * len(pauses[8:-1]))
    assert pauses[-1] <= 21600
    assert attempts[-1] == attempts[0] + 3 * DAYS
    assert len(attempts) == 20


@given(st.floats(0, 10 * DAYS), st.lists(CHANCES, min_size=1, max_size=40), st.floats(0, 1e9))
def test_attempts_go_forward_and_end_in_time(retry_for, chances, first):
    """Attempts never go back, the last one is exactly at the end of retry_for, and none is later."""
    attempts = run(retry_for, chances, first=first)
    assert attempts == sorted(attempts)
    assert attempts[-1] == first + retry_for or retry_for == 0
    assert attempts[-1] <= first + retry_for


@given(st.integers(-1, 1000), CHANCES)
def test_jitter_stays_within_its_bounds(attempt, chance):
    """Each pause is within 20 % of its plain length, whatever the number of the attempt."""
    plain = DELAYS[max(attempt, 1) - 1] if attempt <= len(DELAYS) else LONGEST_DELAY
    assert plain * (1 - JITTER) <= delay(attempt, chance) <= plain * (1 + JITTER)


@given(st.integers(1, 1000), CHANCES)
def test_pauses_never_get_shorter(attempt, chance):
    """With equal jitter a later pause is at least as long."""
    assert delay(attempt, chance) <= delay(attempt + 1, chance)


@given(st.integers(1, 50), CHANCES, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e5))
def test_retry_after_is_a_minimum_cut_at_the_end(attempt, chance, retry_for, retry_after, passed):
    """It makes the pause longer, never shorter, and never moves the end."""
    first, now = 1000.0, 1000.0 + passed
    plain = next_attempt(first, now, attempt, retry_for, None, chance)
    waiting = next_attempt(first, now, attempt, retry_for, retry_after, chance)
    if plain is None:
        assert waiting is None
    else:
        assert waiting == min(max(plain, now + retry_after), first + retry_for)


def test_an_expired_message_is_not_tried_again():
    """At and after the end there is no next attempt; without retry_for there is only the first."""
    assert next_attempt(0.0, 10.0, 1, 10.0, None, 0.5) is None
    assert next_attempt(0.0, 10.5, 1, 10.0, 99.0, 0.5) is None
    assert next_attempt(0.0, 0.0, 1, 0.0, None, 0.5) is None
    assert next_attempt(0.0, 9.0, 5, 10.0, None, 0.5) == 10.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", 30.0),
        ("Wed Oct 21 07:28:30 2015", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 365 * DAYS),
        ("9" * 5000, 365 * DAYS),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Wed, 99 Oct 2015 07:28:30 GMT", None),
        ("١٢", None),
    ],
)
def test_values_of_retry_after(value, seconds):
    """Seconds and all three forms of HTTP dates are read, from 0 to a year; anything else is ignored."""
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_any_text_is_a_valid_retry_after(value):
    """It is read as a number of seconds of at least 0, or ignored."""
    found = parse_retry_after(value, NOW)
    assert found is None or 0 <= found <= 365 * DAYS


def refused(status, retry_after=None):
    """An attempt that was answered with ``status``."""
    return Attempt(status, "", 0.0, b"", retry_after)


@pytest.mark.parametrize("failed", [refused(500), refused(301), Attempt(None, TIMED_OUT, 0.0), Attempt(200, "x", 0.0)])
def test_every_failure_is_retried_until_the_message_expires(failed):
    """Refusals of any kind, timeouts and connection errors are retried alike."""
    assert next_retry(failed, 0.0, 100.0, 1, 3600.0, 0.5) == Retry(105.0)
    assert next_retry(failed, 0.0, 3600.0, 1, 3600.0, 0.5) is None


def test_retry_after_postpones_the_retry_and_bounds_early_ones():
    """A refusal with the header is heeded up to the end of ``retry_for``; an attempt without a whole answer is not."""
    assert next_retry(refused(429, "60"), 0.0, 0.0, 1, 3600.0, 0.5) == Retry(60.0, 60.0)
    assert next_retry(refused(429, "60"), 0.0, 100.0, 9, 99999.0, 0.5) == Retry(100.0 + LONGEST_DELAY, 160.0)
    assert next_retry(refused(429, "600"), 0.0, 100.0, 9, 120.0, 0.5) == Retry(120.0, 120.0)
    assert next_retry(Attempt(503, TIMED_OUT, 0.0, b"", "600"), 0.0, 0.0, 1, 3600.0, 0.5) == Retry(5.0)
