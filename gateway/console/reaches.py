"""The streams and users that the changes of this run reached: the newest changes, in memory.

app ──► applied, reached, stored ──► Reaches ──► /changes, events
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from gateway.console import change_schema
from gateway.streams import quantile, thinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.streams import Reach

CHANGES: Final = 200  # with at most 128 points of some 100 bytes each: below 3 MB


@define(eq=False)
class Applied:
    """A config that came into use, and what the processes have reached with it so far."""

    sdk_id: str
    tag: str
    started: float  # seconds of the monotonic clock
    open_streams: int
    expected: int  # processes
    number: int | None = None  # of the change; None until it is on disk
    points: list[tuple[float, int]] = field(factory=list)
    users: int = 0
    paced: int = 0
    processes: int = 0
    replaced: bool = False

    @property
    def ended(self) -> bool:
        """Whether no process pushes the config any more."""
        return self.replaced or self.processes >= self.expected

    def shown(self) -> change_schema.Reach:
        """Return the figures."""
        points = self.points
        return change_schema.Reach(
            open_streams=self.open_streams,
            streams=sum(count for _, count in points),
            paced_streams=self.paced,
            users=self.users,
            first_seconds=_rounded(points[0][0] if points else None),
            p50_seconds=_rounded(quantile(points, 0.5)),
            p99_seconds=_rounded(quantile(points, 0.99)),
            last_seconds=_rounded(points[-1][0] if points else None),
            processes=self.processes,
            expected_processes=self.expected,
            replaced=self.replaced,
        )


class Reaches:
    """The newest ``CHANGES`` configs that came into use; ``now`` returns seconds of the monotonic clock.

    All processes of a machine have the same monotonic clock, so times of workers can be compared with it.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._entries: list[Applied] = []  # the oldest first

    def applied(self, sdk_id: str, tag: str, *, open_streams: int, processes: int) -> Applied:
        """Note that a config came into use; its push to ``processes`` begins."""
        for each in self._entries:
            if each.sdk_id == sdk_id and not each.ended:
                each.replaced = True
        entry = Applied(sdk_id, tag, self._now(), open_streams, processes)
        self._entries.append(entry)
        del self._entries[:-CHANGES]
        return entry

    def reached(self, reach: Reach) -> Applied | None:
        """Add what a process has reached; return the config, None for one that is not kept."""
        entry = self._newest(reach.sdk_id, reach.tag)
        if entry is None:
            return None
        later = max(0.0, reach.started - entry.started)
        entry.points = thinned([*entry.points, *((seconds + later, count) for seconds, count in reach.points)])
        entry.users += reach.users
        entry.paced += reach.paced
        entry.processes += reach.ended
        return entry

    def stored(self, sdk_id: str, tag: str, number: int) -> None:
        """Note the number of a change, once it is on disk."""
        entry = self._newest(sdk_id, tag)
        if entry is not None:
            entry.number = number

    def of(self, number: int) -> change_schema.Reach | None:
        """Return the reach of a change; None for one that is not kept."""
        found = next((each for each in reversed(self._entries) if each.number == number), None)
        return None if found is None else found.shown()

    def number_of(self, sdk_id: str, tag: str) -> int | None:
        """Return the number of the newest change to a config; None for one that is not kept or not on disk yet."""
        entry = self._newest(sdk_id, tag)
        return None if entry is None else entry.number

    def _newest(self, sdk_id: str, tag: str) -> Applied | None:
        return next((each for each in reversed(self._entries) if (each.sdk_id, each.tag) == (sdk_id, tag)), None)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
