"""The decision whether a new config may replace the one in use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.flags import finish
from gateway.upstream.guard import (
    KEYS_PER_STEP,
    Apply,
    Audience,
    Flags,
    Hold,
    Limits,
    judge,
    judge_audience,
    measure_in_steps,
)

KEYS = st.sets(st.sampled_from("abcdefghijkl"))
PERCENT = st.none() | st.floats(0, 100)
LIMITS = st.builds(Limits, PERCENT, PERCENT)


def measure(last_good, candidate):
    return finish(measure_in_steps(last_good, candidate))


@st.composite
def configs(draw):
    keys = draw(KEYS)
    failing = draw(st.sets(st.sampled_from(sorted(keys)))) if keys else set()
    return Flags(frozenset(keys), frozenset(failing))


def flags(count, failing=0):
    keys = [f"flag{number}" for number in range(count)]
    return Flags(set(keys), set(keys[:failing]))


@pytest.mark.parametrize(
    ("candidate", "limits", "reason"),
    [
        (flags(0), Limits(), "30 of 30 flags would vanish"),
        (flags(30, 30), Limits(), "30 of 30 flags would fail"),
        (flags(10, 10), Limits(), "20 of 30 flags would vanish and 10 of 30 flags would fail"),
        (Flags({f"new{number}" for number in range(30)}), Limits(), "30 of 30 flags would vanish"),
        (flags(1), Limits(), None),
        (flags(30, 29), Limits(), None),
        (flags(23), Limits(20), "7 of 30 flags would vanish"),
        (flags(24), Limits(20), None),
        (flags(29), Limits(0), "1 of 30 flags would vanish"),
        (flags(30, 4), Limits(None, 10), "4 of 30 flags would fail"),
        (flags(30, 3), Limits(None, 10), None),
        (flags(0), Limits(100, 100), None),
        (flags(0), Limits(100), None),
        (flags(0), Limits(None, 100), "30 of 30 flags would vanish"),
        (flags(30, 30), Limits(100), "30 of 30 flags would fail"),
    ],
)
def test_thirty_flags(candidate, limits, reason):
    """A limit holds what is beyond it; without one only the loss of all flags is held."""
    assert (Apply() if reason is None else Hold(reason)) == judge(measure(flags(30), candidate), limits)


@pytest.mark.parametrize(
    ("examined", "changed", "limit", "reason"),
    [
        (100, 11, 10, "11 of 100 connected users would see other values"),
        (100, 10, 10, None),
        (20, 1, 0, "1 of 20 connected users would see other values"),
        (19, 19, 0, None),
        (0, 0, 0, None),
        (100, 100, 100, None),
        (100, 100, None, None),
    ],
)
def test_a_share_of_the_connected_users(examined, changed, limit, reason):
    """More than the limit holds a config; fewer than 20 users never do."""
    limits = Limits(max_impact_percent=limit)
    assert (Apply() if reason is None else Hold(reason)) == judge_audience(Audience(examined, changed), limits)


def test_a_limit_of_users_leaves_the_default_for_flags():
    """The loss of all flags is held with it as without it."""
    assert Hold("30 of 30 flags would vanish") == judge(measure(flags(30), flags(0)), Limits(max_impact_percent=50))


def test_few_flags_are_never_held_without_a_limit():
    """Below 5 flags a cleanup of all of them is usual; a limit in the settings applies to them too."""
    assert Apply() == judge(measure(flags(4), flags(0)), Limits())
    assert Hold("5 of 5 flags would vanish") == judge(measure(flags(5), flags(0)), Limits())
    assert Hold("2 of 2 flags would vanish") == judge(measure(flags(2), flags(0)), Limits(50))


@given(configs(), LIMITS)
def test_an_equal_config_is_applied(config, limits):
    """What loses nothing is never held, also when flags fail already."""
    assert Apply() == judge(measure(config, config), limits)


@given(configs(), configs(), LIMITS)
def test_added_flags_do_not_matter(before, after, limits):
    """Only the flags in use count, not those that are new."""
    more = Flags(after.keys | {"new1", "new2"}, after.failing | {"new1"})
    assert judge(measure(before, after), limits) == judge(measure(before, more), limits)


@given(configs(), configs(), st.floats(0, 100), st.floats(0, 100))
def test_higher_limits_hold_less(before, after, one, other):
    """What passes a limit passes each higher one, and 100 percent lets everything pass."""
    low, high = sorted((one, other))
    if judge(measure(before, after), Limits(low, low)) == Apply():
        assert Apply() == judge(measure(before, after), Limits(high, high))
    assert Apply() == judge(measure(before, after), Limits(100, 100))


@given(configs(), configs())
def test_losses_are_parts_of_the_flags_in_use(before, after):
    """A flag vanishes or begins to fail, never both."""
    losses = measure(before, after)
    assert 0 <= losses.removed + losses.failing <= losses.total == len(before.keys)
    assert (losses.removed == losses.failing == 0) == (losses.text == "no flag would be lost")


@given(configs(), configs())
def test_by_default_only_the_loss_of_all_is_held(before, after):
    """One flag that goes on as before is enough."""
    kept = set(before.keys) & set(after.keys) - (set(after.failing) - set(before.failing))
    assert isinstance(judge(measure(before, after), Limits()), Hold) == (len(before.keys) >= 5 and not kept)


def test_the_flags_of_large_configs_are_counted_in_steps():
    """All of them are looked up, a few per turn of the reactor."""
    count = 3 * KEYS_PER_STEP
    steps = measure_in_steps(flags(count), flags(2 * KEYS_PER_STEP, 2 * KEYS_PER_STEP))
    assert 3 + 2 == sum(1 for _ in steps)
