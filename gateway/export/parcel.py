"""Events under way from the process that answered to the one that keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

MEMORY: Final = "memory"
TOO_LARGE: Final = "too_large"
SPOOL_FULL: Final = "spool_full"
UNWANTED: Final = "unwanted"
"""Why events are dropped: too many waited for the disk, one was over its limit, the spool reached ``max_bytes``,
or a reload took the exporter away while they were under way."""

Count = tuple[int, bytes, int]  # the minute's first second, Unix time; what is told of the evaluations; how many


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """Some events, encoded; crosses the pipe between a worker and the leader as it is.

    ``lines`` are ``count`` events with a line feed between two; ``counts`` are evaluations to be told together.
    ``dropped`` says by reason how many events are missing in front of these.
    """

    lines: bytes = b""
    count: int = 0
    counts: list[Count] = []  # msgspec copies an empty default
    dropped: dict[str, int] = {}

    @property
    def told(self) -> int:
        """How many evaluations it tells of."""
        return self.count + sum(count for _, _, count in self.counts)

    @property
    def collected(self) -> int:
        """How many evaluations it tells of, dropped ones included."""
        return self.told + sum(self.dropped.values())

    @property
    def size(self) -> int:
        """About how many bytes it occupies."""
        return len(self.lines) + sum(len(told) for _, told, _ in self.counts)


def merged(parcels: Iterable[Parcel]) -> dict[tuple[int, bytes], int]:
    """Return the counts of all parcels together, by minute and by what is told."""
    total: dict[tuple[int, bytes], int] = {}
    for parcel in parcels:
        for minute, told, count in parcel.counts:
            total[minute, told] = total.get((minute, told), 0) + count
    return total
