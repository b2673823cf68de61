"""Takes note of evaluations in memory, as cheaply as possible; what it holds goes to the disk once a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway.exporter.event import Event, counted, event_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.flags import Result, User

MINUTE = 60  # seconds that ``aggregate`` puts together
_ENCODER = msgspec.json.Encoder()


class Evaluated(Protocol):
    """What the answers call; must cost next to nothing, and never raises."""

    def __call__(self, result: Result, user: User | None) -> None:
        """One flag was evaluated for an answer or an event of a single-flag stream."""


class Collector:
    """The ``Evaluated`` of a gateway that exports.

    ``sampling`` is the share of evaluations that are kept, ``chance`` gives numbers from 0 to 1, ``now`` Unix seconds.
    At ``limit`` evaluations in memory the oldest are dropped and counted in ``dropped``: the disk does not keep up.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        chance: Callable[[], float],
        sampling: float = 1.0,
        aggregate: bool = False,
        limit: int = 100_000,
    ) -> None:
        self._now = now
        self._chance = chance
        self._sampling = sampling
        self._aggregate = aggregate
        self._limit = limit
        self._seen: list[tuple[Result, User | None, float]] = []
        self._counts: dict[tuple[int, str, str, bool], tuple[Result, int]] = {}
        self.dropped = 0

    def __call__(self, result: Result, user: User | None) -> None:
        """See ``Evaluated``."""
        if self._sampling < 1.0 and self._chance() >= self._sampling:
            return
        at = self._now()
        if self._aggregate:
            group = (int(at) // MINUTE * MINUTE, result.key, result.variation_id, result.error is not None)
            first, count = self._counts.get(group, (result, 0))
            self._counts[group] = (first, count + 1)
            return
        self._seen.append((result, user, at))
        if len(self._seen) > self._limit:
            half = self._limit // 2  # so that a full memory does not cost a shift each time
            del self._seen[:half]
            self.dropped += half

    def take(self, *, all_minutes: bool = False) -> list[bytes]:
        """Return the events that are complete, encoded, and forget them; a minute is once it is over."""
        events: list[Event] = [event_for(result, user, at) for result, user, at in self._seen]
        self._seen = []
        ended = int(self._now()) // MINUTE * MINUTE
        for group, (result, count) in list(self._counts.items()):
            if group[0] < ended or all_minutes:
                events.append(counted(result, group[0], count))
                del self._counts[group]
        return [_ENCODER.encode(event) for event in events]
