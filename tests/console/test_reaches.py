"""The newest changes in memory: merged over processes, bounded."""

from __future__ import annotations

from gateway.console.reaches import CHANGES, Reaches
from gateway.streams import Reach


def reach(tag: str, started: float, *points: tuple[float, int], ended: bool = True, paced: int = 0) -> Reach:
    return Reach("shop", tag, started, list(points), sum(count for _, count in points), paced, ended)


def test_the_parts_of_all_processes_add_up() -> None:
    """Times count from the moment at which the config came into use, in the leader."""
    reaches = Reaches(lambda: 100.0)
    entry = reaches.applied("shop", "a", open_streams=12, processes=2)
    reaches.stored("shop", "a", 7)
    reaches.reached(reach("a", 100.5, (0.25, 3), (0.5, 1)))
    assert (False, 1) == (entry.ended, entry.processes)
    reaches.reached(reach("a", 100.25, (0.25, 6)))
    reaches.reached(reach("a", 100.25, ended=False, paced=4))
    shown = reaches.of(7)
    assert shown is not None
    assert (12, 10, 4, 10, 2, False) == (
        shown.open_streams, shown.streams, shown.paced_streams, shown.users, shown.processes, shown.replaced,
    )  # fmt: skip
    assert (0.5, 0.5, 1.0, 1.0) == (
        shown.first_seconds, shown.p50_seconds, shown.p99_seconds, shown.last_seconds,
    )  # fmt: skip
    assert entry.ended
    assert (7, None) == (reaches.number_of("shop", "a"), reaches.number_of("other", "a"))


def test_a_change_that_reached_no_stream_has_no_times() -> None:
    """It has ended all the same."""
    reaches = Reaches(lambda: 0.0)
    entry = reaches.applied("shop", "a", open_streams=0, processes=1)
    reaches.reached(reach("a", 0.0))
    shown = entry.shown()
    assert (True, 0, None, None) == (entry.ended, shown.streams, shown.first_seconds, shown.last_seconds)


def test_a_newer_config_replaces_one_whose_push_has_not_ended() -> None:
    """One that has ended, and one of another SDK, are not replaced."""
    reaches = Reaches(lambda: 0.0)
    first = reaches.applied("shop", "a", open_streams=0, processes=1)
    other = reaches.applied("other", "a", open_streams=0, processes=1)
    reaches.reached(reach("a", 0.0))
    second = reaches.applied("shop", "b", open_streams=0, processes=1)
    third = reaches.applied("shop", "a", open_streams=0, processes=1)
    assert [False, False, True, False] == [each.replaced for each in (first, other, second, third)]
    assert reaches.reached(reach("a", 0.0)) is third


def test_only_the_newest_are_kept() -> None:
    """An older one has no figures, and a late report of it changes nothing."""
    reaches = Reaches(lambda: 0.0)
    for number in range(CHANGES + 1):
        reaches.applied("shop", str(number), open_streams=0, processes=1)
        reaches.stored("shop", str(number), number)
    assert (None, False) == (reaches.of(0), reaches.of(1) is None)
    assert reaches.reached(reach("0", 0.0)) is None
