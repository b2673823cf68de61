"""The sample of recently evaluated users: what is taken, when, and how much memory it may use."""

from __future__ import annotations

from twisted.internet.task import Clock

from gateway.flags import User
from gateway.web.user_sample import PAUSE_SECONDS, USER_CHARACTERS, UserSample


def named(name: str) -> User:
    return User({"Identifier": name})


def visit(clock: Clock, sample: UserSample, *names: str, sdk: str = "shop") -> None:
    """Evaluate for these users, with the pause after each."""
    for name in names:
        if sample.armed:
            sample.take(sdk, named(name))
        clock.advance(PAUSE_SECONDS)


def names(sample: UserSample, sdk: str = "shop") -> list[str]:
    return [str(user.attributes["Identifier"]) for user in sample.users(sdk)]


def test_the_newest_different_users_are_kept() -> None:
    """Of all SDKs together; a user who comes again is the newest."""
    clock = Clock()
    sample = UserSample(clock, 3)
    visit(clock, sample, "a", "b", "a", "c")
    assert ["b", "a", "c"] == names(sample)
    visit(clock, sample, "a", sdk="other")
    assert (["a", "c"], ["a"], []) == (names(sample), names(sample, "other"), names(sample, "none"))


def test_one_user_is_taken_per_pause() -> None:
    """Answers in between see that it is not armed; no timer runs without a request."""
    clock = Clock()
    sample = UserSample(clock, 10)
    assert (True, []) == (sample.armed, clock.getDelayedCalls())
    sample.take("shop", named("a"))
    assert (False, 1) == (sample.armed, len(clock.getDelayedCalls()))
    clock.advance(PAUSE_SECONDS)
    assert (True, []) == (sample.armed, clock.getDelayedCalls())


def test_large_users_and_missing_ones_are_not_kept() -> None:
    """Memory is bounded by the number of users and their size."""
    clock = Clock()
    sample = UserSample(clock, 10)
    for user in (None, named("x" * USER_CHARACTERS), User({"Identifier": "x" * (USER_CHARACTERS - 10)})):
        sample.take("shop", user)
        clock.advance(PAUSE_SECONDS)
    assert [USER_CHARACTERS - 10] == [len(name) for name in names(sample)]


def test_it_can_be_switched_off_and_on() -> None:
    """0 drops all users, also while a timer is about to arm it."""
    clock = Clock()
    sample = UserSample(clock)
    assert not sample.armed
    sample.resize(2)
    visit(clock, sample, "a", "b", "c")
    sample.take("shop", named("d"))
    sample.resize(0)
    clock.advance(PAUSE_SECONDS)
    assert (False, []) == (sample.armed, names(sample))
    sample.resize(1)
    assert sample.armed
