"""Events on their way from the process that evaluated to the one that writes them to disk."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

MinuteCount = tuple[int, bytes, int]  # Unix time of the minute's first second; encoded outcome; number of evaluations


class DropReason(StrEnum):
    """Why evaluations are dropped; a label of the metrics."""

    MEMORY = "memory"  # too many waited in memory for the disk
    SPOOL_FULL = "spool_full"  # the spool reached ``exporter.max_bytes``
    TOO_LARGE = "too_large"  # the event was larger than ``EVENT_BYTES``
    REFUSED = "refused"  # the receiver refused them for good, and too many others that it refused came later
    UNWANTED = "unwanted"  # a reload removed the exporter while they were on their way


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """Some encoded events; crosses the pipe between a worker and the leader as it is.

    ``lines`` are ``count`` events separated by line feeds; ``counts`` are evaluations that become one event per minute.
    ``dropped`` counts the evaluations that were lost before these.
    """

    lines: bytes = b""
    count: int = 0
    counts: list[MinuteCount] = []  # msgspec copies an empty default
    dropped: dict[DropReason, int] = {}

    @property
    def evaluations(self) -> int:
        """How many evaluations it contains."""
        return self.count + sum(count for _, _, count in self.counts)

    @property
    def collected(self) -> int:
        """How many evaluations it stands for, dropped ones included."""
        return self.evaluations + sum(self.dropped.values())

    @property
    def size(self) -> int:
        """About how many bytes it occupies."""
        return len(self.lines) + sum(len(outcome) for _, outcome, _ in self.counts)


def merge_counts(parcels: Iterable[Parcel]) -> dict[tuple[int, bytes], int]:
    """Return the counts of all parcels, summed by minute and outcome."""
    total: dict[tuple[int, bytes], int] = {}
    for parcel in parcels:
        for minute, outcome, count in parcel.counts:
            total[minute, outcome] = total.get((minute, outcome), 0) + count
    return total
