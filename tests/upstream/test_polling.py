"""When the next poll is due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.polling import delay, interval


@given(
    every=st.floats(0.01, 86400),
    failures=st.integers(0, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_delays_stay_within_their_bounds(every, failures, chance):
    """A healthy poll is at most 10 % off, a retry is never later than a poll and never at once."""
    wait = delay(every, failures, chance)
    if failures == 0:
        assert every * 0.9 - 1e-9 <= wait <= every * 1.1 + 1e-9
    else:
        assert 0 < wait <= every
        assert wait >= min(every, 1) / 2


def test_delays_double_up_to_the_interval():
    """Without chance, retries come after 1, 2, 4, … seconds and then at the poll interval."""
    assert [1, 2, 4, 8, 10, 10] == [delay(10, failures, 0) for failures in range(1, 7)]


def test_interval_of_zero_and_less_is_a_minute():
    """ConfigCat Proxy polls each minute for such an interval."""
    assert [60, 60, 2] == [interval(0), interval(-5), interval(2)]
