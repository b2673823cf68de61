"""Heartbeats for thousands of streams without a timer each, and without all of them at once.

The interval is a wheel of slots; a stream keeps the slot it was given for as long as it lives, so a push to everybody
does not line the beats up. A stream that was written to since its last beat skips one.
The same turn notices readers that have been stalled for too long; so a longer interval is several laps of the wheel,
in one of which a stream beats.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gateway.streams.sse import COMMENT_BEAT

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.streams.cohort import Subscriber

TICK_SECONDS = 0.25  # how often the wheel turns: 80 slots at the default 20 s, so 8,000 streams beat 100 at a time
SHORTEST_TICK_SECONDS = 0.01  # an interval below it is taken for it: no setting may keep the process busy with beats
LAP_SECONDS = 20.0  # longest full turn, whatever the interval: stalls are noticed this late at most


class HeartbeatWheel:
    """Slots of streams, one visited at each ``turn``.

    :param interval: seconds between two heartbeats of one idle stream; 0 sends none.
    :param stall_timeout: seconds a reader may stay paused before ``on_stall`` is called with it; 0 means for ever.
    """

    def __init__(
        self, interval: float, stall_timeout: float, on_stall: Callable[[Subscriber], None], tick: float = TICK_SECONDS
    ) -> None:
        self._beats = interval > 0
        self._stall_timeout = stall_timeout
        self._on_stall = on_stall
        interval = max(interval, SHORTEST_TICK_SECONDS) if self._beats else LAP_SECONDS
        self._laps = math.ceil(interval / LAP_SECONDS)
        self._lap = 0
        lap_seconds = interval / self._laps
        self.tick = min(tick, lap_seconds)
        # Each slot's streams, with the lap in which each beats.
        self._slots: list[dict[Subscriber, int]] = [{} for _ in range(max(1, round(lap_seconds / self.tick)))]
        self._count = 0
        self._hand = 0
        self._next = 0

    def __len__(self) -> int:
        """Return how many streams are on the wheel."""
        return self._count

    def add(self, subscriber: Subscriber) -> None:
        """Give ``subscriber`` the next turn of all: turns differ by one stream at most when nobody leaves."""
        lap, slot = divmod(self._next, len(self._slots))
        self._slots[slot][subscriber] = lap
        subscriber.slot = slot
        self._count += 1
        self._next = (self._next + 1) % (len(self._slots) * self._laps)

    def discard(self, subscriber: Subscriber) -> None:
        """Take ``subscriber`` off the wheel; safe when it is not on it."""
        if self._slots[subscriber.slot].pop(subscriber, None) is not None:
            self._count -= 1

    def turn(self, now: float) -> None:
        """Visit the next slot: beat what is idle, report what has been stalled since before ``now - stall_timeout``."""
        slot, now_beating = self._slots[self._hand], self._lap
        self._hand = (self._hand + 1) % len(self._slots)
        if not self._hand:
            self._lap = (self._lap + 1) % self._laps
        for subscriber, lap in list(slot.items()):
            if subscriber.paused_since is not None:
                if 0 < self._stall_timeout <= now - subscriber.paused_since:
                    self._on_stall(subscriber)
            elif lap != now_beating:
                continue
            elif subscriber.active:
                subscriber.active = False
            elif self._beats:
                subscriber.outlet.write(COMMENT_BEAT)

    def everyone(self) -> list[Subscriber]:
        """Return the streams on the wheel, in the order of their slots."""
        return [subscriber for slot in self._slots for subscriber in slot]
