"""Where a node stands next to the shared cache, and whether it polls: every case of the decision, without a cache."""

from __future__ import annotations

import pytest

from gateway.upstream.config_cache import Entry
from gateway.upstream.shared.interface import Found, Place, Reading
from gateway.upstream.shared.polling_role import ABSTAIN_SECONDS, HOLD_SECONDS, PollingRole
from gateway.upstream.shared.standing import Standing, Step


def place(version: int, etag: str = "") -> Place:
    """A place with an ETag of its own."""
    return Place(version, etag or f"e{version}", 1)


def reading(
    at: Place | None, *, found: bool = True, stale: bool = False, mine: bool = False, poller: str = ""
) -> Reading:
    """What the cache has; with the config unless the node has it."""
    news = Found(at, Entry(1, at.etag, b"{}"), True, 0.0) if at is not None and found else None
    return Reading(at, news, stale=stale, mine=mine, poller="me" if mine else poller)


def standing(version: int = 5, *, loose: bool = False) -> Standing:
    """A node with the config of this version; ``loose`` has a later one that is not stored."""
    made = Standing()
    made.took(place(version))
    if loose:
        made.fetched("mine", 2)
    return made


@pytest.mark.parametrize(
    ("node", "found", "step"),
    [
        (Standing(), reading(place(1)), Step.TAKE),
        (Standing(), reading(None), Step.NOTHING),
        (standing(), reading(place(5), found=False), Step.NOTHING),
        (standing(), reading(place(6)), Step.TAKE),
        (standing(), reading(place(6), found=False), Step.NOTHING),  # it cannot be used
        (standing(), reading(place(4), found=False), Step.ASK),  # it has lost ours, or everything and has a later one
        (standing(), reading(None), Step.STORE),
        (standing(), reading(place(4), found=False, stale=True), Step.STORE),
        (standing(), reading(place(5), found=False, stale=True), Step.STORE),
        (standing(), reading(place(6, "e5"), found=False, stale=True), Step.ASK),  # ours is as old as what overwrote it
        (standing(), reading(place(5, "other"), found=False), Step.ASK),  # of one version two configs
        (standing(loose=True), reading(place(6)), Step.ASK),
        (standing(loose=True), reading(place(5, "mine"), found=False), Step.NOTHING),
        (standing(loose=True), reading(place(4), found=False, stale=True), Step.ASK),
        (standing(loose=True), reading(None), Step.STORE),
    ],
)
def test_what_follows_from_a_reading(node: Standing, found: Reading, step: Step) -> None:
    """The later one counts; where that is unknown, the upstream decides."""
    assert step is node.read(found)


def test_a_config_that_could_not_be_used_is_not_taken_again() -> None:
    """The next one is."""
    node = standing()
    node.refused(place(6))
    assert Step.NOTHING is node.read(reading(place(6)))
    assert Step.TAKE is node.read(reading(place(7)))


def test_an_upstream_that_cannot_be_asked_is_not_asked_again_about_the_same_config() -> None:
    """And what the cache gets after that counts, whatever this node has fetched before."""
    node = standing(loose=True)
    assert Step.ASK is node.read(reading(place(5, "other"), found=False))
    node.ask_failed()
    assert Step.NOTHING is node.read(reading(place(5, "other"), found=False))
    assert Step.TAKE is node.read(reading(place(6)))


def test_a_version_never_falls() -> None:
    """A config that is stored under a lower number, after the cache was lost, keeps the higher one."""
    node = standing()
    node.read(reading(place(2, "e5"), found=False))
    assert 5 == node.version
    node.fetched("next", 3)
    assert (5, None) == (node.version, node.placed("next"))
    assert node.stored(place(6, "next"))
    assert (6, 6, True) == (node.version, node.placed("next"), node.holds("next"))
    assert not node.stored(place(7, "of an earlier call"))
    assert 6 == node.version


def test_a_config_that_is_confirmed_keeps_the_higher_version() -> None:
    """The cache was lost, and another node has stored the same config under a low number."""
    node = standing()
    node.read(reading(place(2, "next"), found=False))
    node.fetched("next", 3)
    assert node.holds("next")
    node.confirm()
    assert (5, 5) == (node.version, node.placed("next"))


def test_a_node_polls_while_it_has_the_lease_or_none_is_possible() -> None:
    """One that takes over learns it once; at the first reading there is no node before it."""
    role = PollingRole(may_poll=True)
    assert [False, False] == [role.read(reading(None, mine=True)), role.read(reading(None, mine=True))]
    assert [False, True] == [role.read(reading(None, poller="b")), role.read(reading(None, mine=True))]
    role.read(reading(None, poller="b"))
    assert (False, "b", False) == (role.polls, role.poller, role.polls_now())
    role.unreachable()
    assert (True, "", True) == (role.polls, role.poller, role.polls_now())


def test_a_node_without_an_upstream_never_polls() -> None:
    """It only follows."""
    role = PollingRole(may_poll=False)
    role.read(reading(None, mine=True))
    assert not role.polls
    role.unreachable()
    assert (False, False) == (role.polls, role.wants_lease(0.0))


def test_after_a_poll_that_failed_the_lease_is_left_to_others_for_a_while() -> None:
    """A node that has no lease has none to give up."""
    role = PollingRole(may_poll=True)
    assert not role.poll_failed(0.0)
    role.read(reading(None, mine=True))
    assert role.poll_failed(100.0)
    assert (False, False) == (role.polls, role.wants_lease(100.0 + ABSTAIN_SECONDS - 1))
    assert role.wants_lease(100.0 + ABSTAIN_SECONDS)


def test_a_poll_waits_while_another_node_fetches_for_a_caller() -> None:
    """For two seconds from the announcement on."""
    role = PollingRole(may_poll=True)
    assert role.held_for(100.0) <= 0
    role.hold(100.0)
    assert (HOLD_SECONDS, 0.0) == (role.held_for(100.0), role.held_for(100.0 + HOLD_SECONDS))
