"""Collects evaluations in memory, as cheaply as possible, until the forwarder takes them.

    record, record_all ──► lines ──► parcels ──► take          (aggregate: ──► counts per minute ──► take)

An event is encoded at once, which costs less than keeping the objects it is made of: the garbage collector would visit
them.  It is appended to one buffer, which costs less than joining many small strings later.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from gateway.export.event import OutcomeCache, encode_time, encode_user
from gateway.export.parcel import DropReason, MinuteCount, Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.flags import Result, User

MINUTE: Final = 60  # seconds whose evaluations ``aggregate`` counts together
PARCEL_EVENTS: Final = 1_000  # in one parcel; it may exceed that by the events of one answer
PARCEL_BYTES: Final = 256 * 1024  # likewise; what one transaction and the pipe take at once
EVENT_BYTES: Final = 1024 * 1024  # of one event, since a flag's value has no limit of its own; a larger one is dropped
MEMORY_EVENTS: Final = 100_000  # waiting here: some seconds of any load
MEMORY_BYTES: Final = 64 * 1024 * 1024  # of all events waiting here


class Collector:
    """Collects the evaluations of one process; ``now`` returns Unix seconds, ``chance`` a number from 0 to 1.

    At its bounds the oldest evaluations are dropped and counted.  Its methods never raise, and all belong to the
    reactor's thread.
    """

    def __init__(self, now: Callable[[], float], chance: Callable[[], float]) -> None:
        self._now = now
        self._chance = chance
        self._outcomes = OutcomeCache()
        self._time = b""
        self._second = self._next_second = 0.0  # what ``_time`` encodes, and when it expires
        self._lines = bytearray()
        self._count = 0  # events in ``_lines``
        self._parcels: deque[Parcel] = deque()
        self._waiting = self._waiting_bytes = 0  # events and bytes in ``_parcels``
        self._minutes: dict[int, dict[bytes, int]] = {}
        self._dropped: Counter[DropReason] = Counter()
        self._limit = MEMORY_EVENTS
        self.configure(sampling=1.0, aggregate=False, batch_events=MEMORY_EVENTS)

    def configure(self, *, sampling: float, aggregate: bool, batch_events: int) -> None:
        """From now on keep this share of evaluations, each or counted per minute, in parcels no larger than a batch."""
        self._sampling = sampling
        self._aggregate = aggregate
        self._every_event = sampling >= 1.0 and not aggregate
        self._parcel_events = min(PARCEL_EVENTS, batch_events)

    def record(self, result: Result, user: User | None) -> None:
        """Record the evaluation of one flag for an answer."""
        if not self._every_event:
            self.record_all((result,), user)
            return
        now = self._now()
        if not self._second <= now < self._next_second:
            self._set_time(now)
        self._add(encode_user(user), self._time, self._outcomes[result], 1)

    def record_all(self, results: Sequence[Result], user: User | None, times: int = 1) -> None:
        """Record evaluations for one answer, or for an event that ``times`` subscribers received."""
        outcomes = list(map(self._outcomes.__getitem__, results))
        if self._sampling < 1.0:
            for _ in range(times):
                self._record_outcomes([each for each in outcomes if self._chance() < self._sampling], user, 1)
        else:
            self._record_outcomes(outcomes, user, times)

    def take(self) -> Parcel | None:
        """Remove and return the oldest events; None when there are none and nothing was dropped."""
        if not self._parcels:
            self._close_parcel()
        if self._parcels:
            parcel = self._parcels.popleft()
            self._waiting -= parcel.count
            self._waiting_bytes -= len(parcel.lines)
            lines, count = parcel.lines, parcel.count
        else:
            lines, count = b"", 0
        counts = self._take_counts() if self._minutes else []
        if not count and not counts and not self._dropped:
            return None
        dropped, self._dropped = dict(self._dropped), Counter()
        return Parcel(lines, count, counts, dropped)

    def _record_outcomes(self, outcomes: list[bytes], user: User | None, times: int) -> None:
        if not outcomes:
            return
        if self._aggregate:
            self._add_counts(outcomes, times)
            return
        now = self._now()
        if not self._second <= now < self._next_second:
            self._set_time(now)
        who, time = encode_user(user), self._time
        lines = (who + time).join(outcomes)
        groups = [(lines, len(outcomes))] if len(lines) <= PARCEL_BYTES else [(each, 1) for each in outcomes]
        for outcome, count in groups:
            for _ in range(times):
                self._add(who, time, outcome, count)

    def _set_time(self, now: float) -> None:
        self._time = encode_time(now)
        self._second = now // 1
        self._next_second = self._second + 1

    def _add(self, who: bytes, time: bytes, outcome: bytes, count: int) -> None:
        """Add one event, or ``count`` events whose first parts are ``who`` and ``time``."""
        lines = self._lines
        lines += who
        lines += time
        lines += outcome
        self._count += count
        if self._count >= self._parcel_events or len(lines) >= PARCEL_BYTES:
            self._parcel_filled(len(who) + len(time) + len(outcome), count)

    def _parcel_filled(self, size: int, count: int) -> None:
        """Close the parcel, or drop the last ``count`` events, of ``size`` bytes, if these are too large."""
        if size > EVENT_BYTES:
            del self._lines[-size:]
            self._count -= count
            self._dropped[DropReason.TOO_LARGE] += count
        else:
            self._close_parcel()

    def _close_parcel(self) -> None:
        """Make a parcel of the lines, and drop the oldest parcels if there are too many."""
        if not self._lines:
            return
        del self._lines[0]  # the first line feed; a bytearray does not copy the rest
        parcel = Parcel(bytes(self._lines), self._count)
        self._lines = bytearray()
        self._count = 0
        self._parcels.append(parcel)
        self._waiting += parcel.count
        self._waiting_bytes += len(parcel.lines)
        while len(self._parcels) > 1 and (self._waiting > self._limit or self._waiting_bytes > MEMORY_BYTES):
            oldest = self._parcels.popleft()
            self._waiting -= oldest.count
            self._waiting_bytes -= len(oldest.lines)
            self._dropped[DropReason.MEMORY] += oldest.count

    def _add_counts(self, outcomes: Sequence[bytes], count: int) -> None:
        minute = int(self._now()) // MINUTE * MINUTE
        counts = self._minutes.get(minute)
        if counts is None:
            counts = self._minutes[minute] = {}
        for outcome in outcomes:
            if len(outcome) > EVENT_BYTES:
                self._dropped[DropReason.TOO_LARGE] += count
            elif outcome in counts or len(counts) < self._limit:
                counts[outcome] = counts.get(outcome, 0) + count
            else:
                self._dropped[DropReason.MEMORY] += count
        while len(self._minutes) > 1 and sum(map(len, self._minutes.values())) > self._limit:
            self._dropped[DropReason.MEMORY] += sum(self._minutes.pop(min(self._minutes)).values())

    def _take_counts(self) -> list[MinuteCount]:
        """Remove and return counts of the oldest minute, up to a bounded number of bytes."""
        minute = min(self._minutes)
        counts = self._minutes[minute]
        taken: list[MinuteCount] = []
        size = 0
        while counts and size < PARCEL_BYTES:
            outcome, count = counts.popitem()
            taken.append((minute, outcome, count))
            size += len(outcome)
        if not counts:
            del self._minutes[minute]
        return taken
