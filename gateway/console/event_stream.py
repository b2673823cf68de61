"""A stream of server-sent events from the diagnostics port to one client: head, heartbeats and pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from gateway.deferreds import Timer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.telemetry import BoundedRequest

HEARTBEAT: Final = 15.0  # seconds without an event, after which a comment is sent: proxies end silent connections


@implementer(IPushProducer)
class EventStream:
    """The base of all of them: a subclass writes frames while it is not ``paused``, and goes on in ``_go_on``."""

    def __init__(self, clock: IReactorTime, request: BoundedRequest) -> None:
        self.paused = False  # while the connection is full, and once it is closed
        self._request = request
        self._heartbeat = Timer(clock)

    def begin(self, first: bytes = b":\n") -> None:
        """Send the head and ``first``."""
        self._request.endless = True
        headers = self._request.responseHeaders
        headers.setRawHeaders(b"Content-Type", [b"text/event-stream"])
        headers.setRawHeaders(b"Cache-Control", [b"no-cache, no-transform"])
        headers.setRawHeaders(b"X-Accel-Buffering", [b"no"])
        headers.setRawHeaders(b"X-Content-Type-Options", [b"nosniff"])
        self._request.registerProducer(self, True)
        self.write(first)

    def write(self, frame: bytes) -> None:
        """Send an event, or a part of the head."""
        self._request.write(frame)
        self._heartbeat.start(HEARTBEAT, self._beat)

    def finish(self) -> None:
        """End the stream."""
        self._request.unregisterProducer()
        self._request.finish()

    def stop(self) -> None:
        """Send nothing more: the connection is closed."""
        self.paused = True
        self._heartbeat.cancel()

    def pauseProducing(self) -> None:
        """Wait: the connection is full."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self.paused = False
        self._go_on()

    def stopProducing(self) -> None:
        """Send nothing more."""
        self.stop()

    def _go_on(self) -> None:
        """Send what has waited while the connection was full."""

    def _beat(self) -> None:
        if self.paused:
            self._heartbeat.start(HEARTBEAT, self._beat)
        else:
            self.write(b":\n")


def event_frame(kind: str, payload: bytes) -> bytes:
    """Return an event without an id; ``payload`` has no line feed."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), payload)
