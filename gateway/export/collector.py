"""Takes note of evaluations in memory, as cheaply as possible, until somebody takes them away.

    one, many ──► lines ──► parcels ──► take          (aggregate: ──► counts per minute ──► take)

An event is encoded at once: that costs less than to keep what it is made of, which the garbage collector would visit.
It is written to the end of one buffer: that costs less than many small texts, which are put together later.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from gateway.export.event import Tails, moment_of, who_of
from gateway.export.parcel import MEMORY, TOO_LARGE, Count, Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.flags import Result, User

MINUTE: Final = 60  # seconds that ``aggregate`` puts together
PARCEL_EVENTS: Final = 1_000  # in one parcel, beyond which only one more answer's go
PARCEL_BYTES: Final = 256 * 1024  # as well; what a transaction and the pipe take at once
EVENT_BYTES: Final = 1024 * 1024  # of one event; a flag's value has no limit of its own. A larger one is dropped.
MEMORY_EVENTS: Final = 100_000  # that wait here; seconds of any load
MEMORY_BYTES: Final = 64 * 1024 * 1024  # of all that waits here, however few events that are


class Collector:
    """Notes evaluations of one process; ``now`` gives Unix seconds, ``chance`` numbers from 0 to 1.

    Beyond its bounds the oldest go, and are counted: whoever takes them away does not keep up.
    Nothing here raises.  Not for several threads: answers, streams and whoever takes share the reactor's.
    """

    def __init__(self, now: Callable[[], float], chance: Callable[[], float]) -> None:
        self._now = now
        self._chance = chance
        self._tails = Tails()
        self._moment = b""
        self._since = self._until = 0.0  # the second of ``_moment``
        self._lines = bytearray()
        self._count = 0  # of ``_lines``
        self._parcels: deque[Parcel] = deque()
        self._held = self._held_bytes = 0  # of ``_parcels``
        self._minutes: dict[int, dict[bytes, int]] = {}
        self._dropped: Counter[str] = Counter()
        self._limit = MEMORY_EVENTS
        self.configure(sampling=1.0, aggregate=False, batch=MEMORY_EVENTS)

    def configure(self, *, sampling: float, aggregate: bool, batch: int) -> None:
        """From now on keep this share of the evaluations, each or counted by minute, for batches of so many events."""
        self._sampling = sampling
        self._aggregate = aggregate
        self._plain = sampling >= 1.0 and not aggregate
        self._parcel_events = min(PARCEL_EVENTS, batch)

    def one(self, result: Result, user: User | None) -> None:
        """Note that one flag was evaluated for an answer."""
        if not self._plain:
            self.many((result,), user)
            return
        now = self._now()
        if not self._since <= now < self._until:
            self._turn(now)
        self._add(who_of(user), self._moment, self._tails[result], 1)

    def many(self, results: Sequence[Result], user: User | None, times: int = 1) -> None:
        """Note that flags were evaluated for one answer, or for an event that ``times`` readers got."""
        tails = list(map(self._tails.__getitem__, results))
        if self._sampling < 1.0:
            for _ in range(times):
                self._tell([tail for tail in tails if self._chance() < self._sampling], user, 1)
        else:
            self._tell(tails, user, times)

    def take(self) -> Parcel | None:
        """Return the oldest events and forget them; None when there are none, and nothing was dropped."""
        if not self._parcels:
            self._close()
        if self._parcels:
            parcel = self._parcels.popleft()
            self._held -= parcel.count
            self._held_bytes -= len(parcel.lines)
            lines, count = parcel.lines, parcel.count
        else:
            lines, count = b"", 0
        counts = self._take_counts() if self._minutes else []
        if not count and not counts and not self._dropped:
            return None
        dropped, self._dropped = dict(self._dropped), Counter()
        return Parcel(lines, count, counts, dropped)

    def _tell(self, tails: list[bytes], user: User | None, times: int) -> None:
        if not tails:
            return
        if self._aggregate:
            self._add_counts(tails, times)
            return
        now = self._now()
        if not self._since <= now < self._until:
            self._turn(now)
        who, moment = who_of(user), self._moment
        lines = (who + moment).join(tails)
        together = [(lines, len(tails))] if len(lines) <= PARCEL_BYTES else [(tail, 1) for tail in tails]
        for tail, count in together:
            for _ in range(times):
                self._add(who, moment, tail, count)

    def _turn(self, now: float) -> None:
        """Another second has begun."""
        self._moment = moment_of(now)
        self._since = now // 1
        self._until = self._since + 1

    def _add(self, who: bytes, moment: bytes, tail: bytes, count: int) -> None:
        """Add an event, or the lines of ``count``."""
        lines = self._lines
        lines += who
        lines += moment
        lines += tail
        self._count += count
        if self._count >= self._parcel_events or len(lines) >= PARCEL_BYTES:
            self._filled(len(who) + len(moment) + len(tail), count)

    def _filled(self, size: int, count: int) -> None:
        """See what becomes of a parcel's worth, of which ``size`` bytes were added last."""
        if size > EVENT_BYTES:
            del self._lines[-size:]
            self._count -= count
            self._dropped[TOO_LARGE] += count
        else:
            self._close()

    def _close(self) -> None:
        """Make a parcel of the lines, and room for it."""
        if not self._lines:
            return
        del self._lines[0]  # the first line feed, at no cost
        parcel = Parcel(bytes(self._lines), self._count)
        self._lines = bytearray()
        self._count = 0
        self._parcels.append(parcel)
        self._held += parcel.count
        self._held_bytes += len(parcel.lines)
        while len(self._parcels) > 1 and (self._held > self._limit or self._held_bytes > MEMORY_BYTES):
            oldest = self._parcels.popleft()
            self._held -= oldest.count
            self._held_bytes -= len(oldest.lines)
            self._dropped[MEMORY] += oldest.count

    def _add_counts(self, tails: Sequence[bytes], count: int) -> None:
        minute = int(self._now()) // MINUTE * MINUTE
        counts = self._minutes.get(minute)
        if counts is None:
            counts = self._minutes[minute] = {}
        for tail in tails:
            if len(tail) > EVENT_BYTES:
                self._dropped[TOO_LARGE] += count
            elif tail in counts or len(counts) < self._limit:
                counts[tail] = counts.get(tail, 0) + count
            else:
                self._dropped[MEMORY] += count
        while len(self._minutes) > 1 and sum(map(len, self._minutes.values())) > self._limit:
            self._dropped[MEMORY] += sum(self._minutes.pop(min(self._minutes)).values())

    def _take_counts(self) -> list[Count]:
        """Return counts of the oldest minute, a bounded number of bytes at a time."""
        minute = min(self._minutes)
        counts = self._minutes[minute]
        taken: list[Count] = []
        size = 0
        while counts and size < PARCEL_BYTES:
            tail, count = counts.popitem()
            taken.append((minute, tail, count))
            size += len(tail)
        if not counts:
            del self._minutes[minute]
        return taken
