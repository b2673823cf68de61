"""Streams that end at a time of their own, without a timer for each: one bucket per second in which some end."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.streams.cohort import Subscriber

# The name is for scripts; the type is for OFREP providers, which ignore unknown types.  No id: what the client has
# received stays its last event.
EXPIRED = b'event: expired\ndata: {"type":"expired"}\n\n'


class ExpiryWheel:
    """The open streams that end at a known time, in Unix seconds.

    A bucket stays until its second has passed, also when its streams have left: there are as many as different ends.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Subscriber, None]] = {}
        self._seconds: list[int] = []  # a heap of the keys of ``_buckets``
        self._second_of: dict[Subscriber, int] = {}

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self._second_of)

    def add(self, subscriber: Subscriber, ends: float) -> None:
        """End ``subscriber`` at ``ends``, or in the second after."""
        second = math.ceil(ends)
        bucket = self._buckets.get(second)
        if bucket is None:
            bucket = self._buckets[second] = {}
            heappush(self._seconds, second)
        bucket[subscriber] = None
        self._second_of[subscriber] = second

    def discard(self, subscriber: Subscriber) -> None:
        """Remove ``subscriber`` if it is present."""
        second = self._second_of.pop(subscriber, None)
        if second is not None:
            del self._buckets[second][subscriber]

    def take(self, now: float, limit: int) -> list[Subscriber]:
        """Remove and return up to ``limit`` streams whose end has come by ``now``, the earliest first."""
        taken: list[Subscriber] = []
        while self._seconds and self._seconds[0] <= now and len(taken) < limit:
            bucket = self._buckets[self._seconds[0]]
            while bucket and len(taken) < limit:
                subscriber, _ = bucket.popitem()
                del self._second_of[subscriber]
                taken.append(subscriber)
            if not bucket:
                del self._buckets[heappop(self._seconds)]
        return taken
