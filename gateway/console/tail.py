"""``POST /api/v1/streams/tail``: what the streams of one user are sent, live, and why.

    Server.tail, in each process ──► waiting, bounded ──► number of the change ──► one event ──► client

The attributes that name the user come in a body: a URL is kept in histories and in logs of proxies.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.console.event_stream import EventStream, event_frame
from gateway.console.explaining import find_sdk
from gateway.console.schema import Served
from gateway.console.tail_schema import TailBody, TailedFlag, TailMessage
from gateway.deferreds import Timer
from gateway.flags import InvalidAttribute, attributes_from_json
from gateway.telemetry import RequestError
from gateway.text import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.console.facade import Facade
    from gateway.streams import TailEvent
    from gateway.telemetry import BoundedRequest

TAILS: Final = 10  # at a time, of the 100 connections of the port; each compares every event of its SDK
WAITING: Final = 100  # events that wait for a client that does not read; later ones are counted
NUMBER_SECONDS: Final = 1.0  # for which an event waits for the number of its change, which the history gives it
LOOK_SECONDS: Final = 0.02  # between two looks for the number


class TailRoute:
    """Opens tails, which end with the streams of events."""

    def __init__(self, facade: Facade) -> None:
        self._facade = facade
        self._open = 0

    def opened(self, body: TailBody) -> Callable[[BoundedRequest], None]:
        """Return the function that answers a request.

        :raises RequestError: for an unknown SDK, an invalid user, and beyond the limit
        """
        sdk = find_sdk(self._facade, body.sdk)
        if not body.user:
            raise RequestError(400, "user has no attribute: give one that names the user, such as Identifier")
        try:
            criteria = attributes_from_json(body.user)
        except InvalidAttribute as error:
            raise RequestError(400, str(error)) from None
        if self._open >= TAILS:
            raise RequestError(503, f"{TAILS} tails are open, which is the limit")

        def begin(request: BoundedRequest) -> None:
            stream = TailStream(self._facade, request)
            self._open += 1
            self._facade.feed.others.add(stream)
            request.notifyFinish().addBoth(lambda _: self._closed(stream))
            stream.start(self._facade.server.tail(sdk.id, criteria, body.key, stream.add))

        return begin

    def _closed(self, stream: TailStream) -> None:
        self._open -= 1
        self._facade.feed.others.discard(stream)
        stream.stop()


class TailStream(EventStream):
    """One tail of a client."""

    def __init__(self, facade: Facade, request: BoundedRequest) -> None:
        super().__init__(facade.clock, request)
        self._facade = facade
        self._waiting: deque[tuple[float, TailEvent]] = deque()  # with the times until which they wait for a number
        self._missed = 0
        self._streams = 0  # that match, in the processes which have counted
        self._next = Timer(facade.clock)
        self._end: Callable[[], None] = lambda: None

    def start(self, end: Callable[[], None]) -> None:
        """Send the head; ``end`` ends the tail in all processes."""
        self._end = end
        self.begin()

    def add(self, event: TailEvent) -> None:
        """Send an event once its change has a number, or soon."""
        if len(self._waiting) >= WAITING:
            self._missed += 1 + event.missed
            return
        self._waiting.append((self._facade.clock.seconds() + NUMBER_SECONDS, event))
        self._go_on()

    def stop(self) -> None:
        """Send nothing more: the connection is closed."""
        super().stop()
        self._next.cancel()
        self._end()
        self._waiting.clear()

    def _go_on(self) -> None:
        if not self._next.active:
            self._next.start(0, self._send)

    def _send(self) -> None:
        while self._waiting and not self.paused:
            until, event = self._waiting[0]
            number = None
            if event.kind == "changes" and self._facade.history.on:
                number = self._facade.reaches.number_of(event.sdk_id, event.tag)
                if number is None and self._facade.clock.seconds() < until:
                    self._next.start(LOOK_SECONDS, self._send)
                    return
            self._waiting.popleft()
            self._send_event(event, number)

    def _send_event(self, event: TailEvent, number: int | None) -> None:
        missed, self._missed = self._missed + event.missed, 0
        if event.kind == "open":
            self._streams += event.streams
        message = TailMessage(
            at=iso(self._facade.wall()),
            sdk=event.sdk_id,
            streams=self._streams if event.kind == "open" else event.streams,
            change=number,
            config=event.tag or None,
            flag=event.flag,
            mode=event.mode or None,
            flags=[
                TailedFlag(each.key, _served(each.before), _served(each.after), each.decided_before, each.decided_after)
                for each in event.flags
            ],
            more=event.more,
            missed=missed,
        )
        self.write(event_frame(event.kind, msgspec.json.encode(message)))


def _served(encoded: bytes | None) -> Any:
    return None if encoded is None else msgspec.json.decode(encoded, type=Served)
