"""The streams that a change reached, and when: counted per slice of a push, never per event.

Hub.reached, per slice ──► ReachMeter ──► Reach, per process ──► the changes of the console
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

POINTS: Final = 128  # of one change; each stands for at most 1 % of its streams or is one slice of the push

Point = tuple[float, int]  # seconds since the change was published, and the streams that were written to since the last


class Counts(NamedTuple):
    """Streams and users that pushes reached; ``paced`` are OFREP streams, whose events are spread over seconds.

    A user counts once per flag, mode and process with a stream of its own.
    """

    streams: int
    users: int
    paced: int

    def plus(self, streams: int, users: int, paced: int) -> Counts:
        """Return the sums."""
        return Counts(self.streams + streams, self.users + users, self.paced + paced)

    def since(self, earlier: Counts) -> Counts:
        """Return what was added since ``earlier``."""
        return Counts(self.streams - earlier.streams, self.users - earlier.users, self.paced - earlier.paced)


class Reach(msgspec.Struct, frozen=True, array_like=True):
    """What one process reached with a change; ``points`` in their order, ``started`` in seconds of its clock.

    A change may have several, which add up: at the end of its push (``ended``), and once its paced events are sent.
    A push that a newer config replaced has no end.
    """

    sdk_id: str
    tag: str
    started: float
    points: list[Point]
    users: int
    paced: int
    ended: bool


class ReachMeter:
    """Measures the push of one config in one process; ``counts`` are those of the hub before it."""

    def __init__(self, sdk_id: str, tag: str, started: float, counts: Counts) -> None:
        self.ended = False
        self._sdk_id = sdk_id
        self._tag = tag
        self._started = started
        self._before = counts
        self._taken = counts
        self._points: list[Point] = []

    def slice(self, now: float, counts: Counts) -> None:
        """Note what was reached so far; the events of the slice are written."""
        count = counts.streams - self._taken.streams
        if count:
            self._points.append((max(0.0, now - self._started), count))
            if len(self._points) > 2 * POINTS:
                self._points = thinned(self._points)
        self._taken = counts

    def take(self, *, ended: bool) -> Reach | None:
        """Return what was reached since the last call; None if that is nothing, and no end."""
        found = self._taken.since(self._before)
        if not (any(found) or ended):
            return None
        self.ended |= ended
        points, self._points, self._before = thinned(self._points), [], self._taken
        return Reach(self._sdk_id, self._tag, self._started, points, found.users, found.paced, ended)


def thinned(points: Iterable[Point]) -> list[Point]:
    """Return at most about ``POINTS`` points: the first one as it is, neighbours together at the time of the last."""
    ordered = sorted(points)
    if len(ordered) <= POINTS:
        return ordered
    least = sum(count for _, count in ordered) / (POINTS - 1)
    found = [ordered[0]]
    gathered = 0
    for seconds, count in ordered[1:]:
        gathered += count
        if gathered >= least:
            found.append((seconds, gathered))
            gathered = 0
    if gathered:
        found.append((ordered[-1][0], gathered))
    return found


def quantile(points: Sequence[Point], share: float) -> float | None:
    """Return the seconds within which ``share`` of the streams were reached; None without points."""
    wanted = share * sum(count for _, count in points)
    reached = 0
    for seconds, count in points:
        reached += count
        if reached >= wanted:
            return seconds
    return points[-1][0] if points else None
