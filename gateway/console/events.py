"""``GET /api/v1/events``: what just happened, as server-sent events.

    parts ──► Feed.publish(kind, key, data) ──► latest state per kind and key ──► at most 10 a second ──► browser

Events are states: for one kind and key only the latest is kept and sent, so a slow client has no queue, and one that
reconnects with ``Last-Event-ID`` gets what has changed since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from twisted.internet.task import deferLater

from gateway.console.event_stream import EventStream
from gateway.deferreds import Timer
from gateway.text import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from gateway.telemetry import BoundedRequest

TICK: Final = 0.1  # seconds between two events of a stream
RETRY: Final = 2_000  # milliseconds until a browser reconnects
STATES: Final = 1_000  # kinds and keys; the oldest is dropped
LISTENERS: Final = 20  # streams at a time, of the 100 connections of the port


class Finishable(Protocol):
    """A stream of events."""

    def finish(self) -> None:
        """End the stream."""


class Feed:
    """The latest events, and the streams that they are sent to; ``wall`` returns Unix seconds."""

    def __init__(self, clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._epoch = f"{int(wall() * 1000):x}"  # of this process: ids of an earlier one mean nothing here
        self._number = 0
        self._states: dict[tuple[str, str], tuple[int, bytes]] = {}  # the oldest first
        self._listeners: set[Listener] = set()
        self.others: set[Finishable] = set()  # streams of other events, which end with those of the feed

    @property
    def listener_count(self) -> int:
        """The number of open streams."""
        return len(self._listeners)

    def publish(self, kind: str, key: str, **data: Any) -> None:
        """Replace the event of ``kind`` and ``key``, and send it soon."""
        self._number += 1
        self._states.pop((kind, key), None)
        payload = msgspec.json.encode({"at": iso(self._wall()), **data})
        frame = b"event: %b\nid: %b-%d\ndata: %b\n\n" % (kind.encode(), self._epoch.encode(), self._number, payload)
        self._states[kind, key] = (self._number, frame)
        if len(self._states) > STATES:
            del self._states[next(iter(self._states))]
        for listener in self._listeners:
            listener.wake()

    def after(self, number: int) -> tuple[int, bytes] | None:
        """Return the oldest state that is newer than ``number``."""
        # From the end: as a rule few are new.
        found = None
        for state in reversed(self._states.values()):
            if state[0] <= number:
                break
            found = state
        return found

    def listen(self, request: BoundedRequest) -> None:
        """Send the events to ``request`` until it closes: what is newer than its ``Last-Event-ID``, else everything."""
        given = (request.requestHeaders.getRawHeaders(b"last-event-id") or [b""])[0]
        epoch, _, number = given.decode("latin-1").partition("-")
        known = int(number) if epoch == self._epoch and number.isascii() and number.isdecimal() else 0
        listener = Listener(self._clock, self, request, min(known, self._number))
        self._listeners.add(listener)
        request.notifyFinish().addBoth(lambda _: self._closed(listener))
        listener.start()

    def close(self) -> Deferred[None]:
        """End all streams; the Deferred fires in the next turn of the reactor, when their ends are written."""
        for each in [*self._listeners, *self.others]:
            each.finish()
        return deferLater(self._clock, 0, lambda: None)

    def _closed(self, listener: Listener) -> None:
        listener.stop()
        self._listeners.discard(listener)


class Listener(EventStream):
    """One stream of events: one event per tick, none while the connection is full."""

    def __init__(self, clock: IReactorTime, feed: Feed, request: BoundedRequest, number: int) -> None:
        super().__init__(clock, request)
        self._feed = feed
        self._number = number  # of the last event that was sent
        self._tick = Timer(clock)

    def start(self) -> None:
        """Send the head and what is new."""
        self.begin(b"retry: %d\n" % RETRY)
        self._send()

    def wake(self) -> None:
        """Send what is new in the next tick."""
        if not self.paused and not self._tick.active:
            self._tick.start(TICK, self._send)

    def stop(self) -> None:
        """Send nothing more: the connection is closed."""
        super().stop()
        self._tick.cancel()

    def pauseProducing(self) -> None:
        """Wait: the connection is full."""
        super().pauseProducing()
        self._tick.cancel()

    def _go_on(self) -> None:
        self.wake()

    def _send(self) -> None:
        found = self._feed.after(self._number)
        if found is not None:
            self._number, frame = found
            self.write(frame)
            self.wake()
