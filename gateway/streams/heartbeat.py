"""Heartbeats and stalled readers of thousands of streams, without a timer for each.

Heartbeats are spread over the interval instead of being sent all at once.

The wheel has slots, one of which is visited per tick. A stream stays in its slot for life, so a push to all streams
does not align their heartbeats. A stream that was written to since its last heartbeat skips one.
The same visit finds stalled subscribers, so it must come often: an interval longer than ``MAX_LAP_SECONDS`` is several
laps of the wheel, and a stream's heartbeat is due in one of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gateway.streams.sse import HEARTBEAT

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.streams.cohort import Subscriber

TICK_SECONDS = 0.25  # 80 slots at the default of 20 s: 8,000 streams send 100 heartbeats per tick
MIN_INTERVAL_SECONDS = 0.01  # replaces shorter intervals, which would keep the process busy
MAX_LAP_SECONDS = 20.0  # a stall is noticed this late at most, whatever the interval


class HeartbeatWheel:
    """Sends the heartbeats of idle streams and reports stalled subscribers.

    :param interval: seconds between two heartbeats of an idle stream; 0 sends none.
    :param stall_timeout: seconds a subscriber may be paused before ``on_stall`` is called with it; 0: no limit.
    :param on_error: called if writing to a subscriber raises; the others are served. None: ``turn`` raises.
    """

    def __init__(
        self,
        interval: float,
        stall_timeout: float,
        on_stall: Callable[[Subscriber], None],
        on_error: Callable[[Subscriber, Exception], None] | None = None,
    ) -> None:
        self._sends = interval > 0
        self._stall_timeout = stall_timeout
        self._on_stall = on_stall
        self._on_error = on_error
        interval = max(interval, MIN_INTERVAL_SECONDS) if self._sends else MAX_LAP_SECONDS
        self._laps = math.ceil(interval / MAX_LAP_SECONDS)
        self._lap = 0
        lap_seconds = interval / self._laps
        self.tick = min(TICK_SECONDS, lap_seconds)
        # The streams of each slot, with the lap in which their heartbeat is due.
        self._slots: list[dict[Subscriber, int]] = [{} for _ in range(max(1, round(lap_seconds / self.tick)))]
        self._position = 0
        self._next = 0

    def __len__(self) -> int:
        """Return the number of streams."""
        return sum(map(len, self._slots))

    def add(self, subscriber: Subscriber) -> None:
        """Add ``subscriber`` to the next slot and lap in turn, which spreads streams evenly."""
        lap, slot = divmod(self._next, len(self._slots))
        self._slots[slot][subscriber] = lap
        subscriber.slot = slot
        self._next = (self._next + 1) % (len(self._slots) * self._laps)

    def discard(self, subscriber: Subscriber) -> None:
        """Remove ``subscriber`` if it is present."""
        self._slots[subscriber.slot].pop(subscriber, None)

    def turn(self, now: float) -> None:
        """Visit the next slot; to be called once per ``tick``."""
        slot, due_lap = self._slots[self._position], self._lap
        self._position = (self._position + 1) % len(self._slots)
        if not self._position:
            self._lap = (self._lap + 1) % self._laps
        for subscriber, lap in list(slot.items()):
            if subscriber.paused_since is not None:
                if 0 < self._stall_timeout <= now - subscriber.paused_since:
                    self._on_stall(subscriber)
            elif lap != due_lap:
                continue
            elif subscriber.active:
                subscriber.active = False
            elif self._sends:
                try:
                    subscriber.outlet.write(HEARTBEAT)
                except Exception as error:
                    if self._on_error is None:
                        raise
                    self._on_error(subscriber, error)

    def subscribers(self) -> list[Subscriber]:
        """Return all streams, in the order of their slots."""
        return [subscriber for slot in self._slots for subscriber in slot]
