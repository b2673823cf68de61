"""HTTP/1.1 connections that cost next to nothing, whatever is at their other end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.protocol import connectionDone
from twisted.web.server import Request

from gateway.twisted_private import Http1Connection

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

REQUEST_DEADLINE = 5.0  # seconds for a complete request; the peer's read timeout
HEADER_LIMIT = 16 * 1024  # bytes of request line and header fields; beyond it 400
HEADER_COUNT = 50  # header fields; beyond it 400
BODY_LIMIT = 16 * 1024  # bytes of a body, which nothing here reads; beyond it the connection ends
CONNECTION_LIMIT = 100  # at a time; a scraper and a few probes need under ten


class BoundedSite(Protocol):
    """What a channel needs of its factory."""

    connections: int
    reactor: IReactorTime


class BoundedChannel(Http1Connection):
    """HTTP/1.1 with a deadline for each request and a bound for its body."""

    totalHeadersSize = HEADER_LIMIT
    maxHeaders = HEADER_COUNT
    site: BoundedSite
    _deadline: IDelayedCall | None = None  # not a Timer: one per connection, and the clock is the factory's
    _counted = False
    _given_up = False

    def connectionMade(self) -> None:
        """Take part, unless too many do already."""
        if self.site.connections >= CONNECTION_LIMIT:
            self.give_up()
            return
        self.site.connections += 1
        self._counted = True
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Start the deadline with the first byte of a request."""
        if self._given_up:
            return
        if self._deadline is None and not self.is_handling_request:
            self._deadline = self.site.reactor.callLater(REQUEST_DEADLINE, self.give_up)
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        """Stop the deadline: the request is complete."""
        if self._given_up:
            return
        self._end_deadline()
        super().allContentReceived()

    def give_up(self) -> None:
        """End the connection at once, whatever else arrives."""
        self._given_up = True
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Make room for another."""
        self._end_deadline()
        if self._counted:
            self.site.connections -= 1
            self._counted = False
            super().connectionLost(reason)

    def _end_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class BoundedRequest(Request):
    """A request whose answer does not name the server's software, and whose body may only be small."""

    channel: BoundedChannel
    _received = 0

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body; too much of it ends the connection."""
        self._received += len(data)
        if self._received > BODY_LIMIT:
            self.channel.give_up()
        else:
            super().handleContentChunk(data)

    def write(self, data: bytes) -> None:
        """Write a piece of the answer; its head goes out without a Server header."""
        if not self.startedWriting:
            self.responseHeaders.removeHeader(b"server")
        super().write(data)
