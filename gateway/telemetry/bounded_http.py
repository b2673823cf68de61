"""HTTP/1.1 connections whose number, time and memory are bounded."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Protocol, TypeVar

from twisted.internet.protocol import connectionDone
from twisted.web.server import Request

from gateway.text import is_host
from gateway.twisted_private import Http1Connection

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from gateway.telemetry.caller import Caller

T = TypeVar("T")

REQUEST_DEADLINE = 5.0  # seconds for a complete request; the read timeout of ConfigCat Proxy
HEADER_LIMIT = 16 * 1024  # bytes of request line and header fields; beyond it 400
HEADER_COUNT = 50  # header fields; beyond it 400
BODY_LIMIT = 16 * 1024  # bytes of a body that is not used; beyond it the connection is closed
UNKNOWN_LIMIT = 128 * 1024  # bytes of a body while its caller is verified; as much may be read in one go
UPLOAD_DEADLINE = 60.0  # seconds for a request whose body may be larger than that
CONNECTION_LIMIT = 100  # open at a time; a scraper and a few probes need under ten


class ConnectionCounter(Protocol):
    """The part of the factory that a connection uses."""

    connections: int
    draining: bool  # whether each connection ends with its next answer
    reactor: IReactorTime

    def admit_body(self, request: BoundedRequest, target: bytes) -> None:
        """Set how many bytes of a request's body are read; called when the head has been received."""


class BoundedConnection(Http1Connection):
    """HTTP/1.1 with a deadline for each request and a limit for its body."""

    totalHeadersSize = HEADER_LIMIT
    maxHeaders = HEADER_COUNT
    site: ConnectionCounter
    _deadline: IDelayedCall | None = None  # not a Timer: one per connection, and the clock is the factory's
    _counted = False
    _aborted = False

    def connectionMade(self) -> None:
        """Accept the connection, unless too many are open."""
        if self.site.connections >= CONNECTION_LIMIT:
            self.abort()
            return
        self.site.connections += 1
        self._counted = True
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Start the deadline with the first byte of a request."""
        if self._aborted:
            return
        if self._deadline is None and not self.is_handling_request:
            self._deadline = self.site.reactor.callLater(REQUEST_DEADLINE, self.abort)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        """Refuse a Host that is none."""
        hosts = self.requests[-1].requestHeaders.getRawHeaders(b"host", ())
        if any(not is_host(host) for host in hosts):
            self._end_deadline()
            self.malformed()
            self._aborted = True
        else:
            request = self.requests[-1]
            assert isinstance(request, BoundedRequest)
            self.site.admit_body(request, self.target)
            if (request.body_limit or 0) > BODY_LIMIT and self._deadline is not None and self._deadline.active():
                self._deadline.reset(UPLOAD_DEADLINE)
            super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """Stop the deadline: the request is complete."""
        if self._aborted:
            return
        self._end_deadline()
        super().allContentReceived()

    def abort(self) -> None:
        """Close the connection at once, and ignore what else arrives."""
        self._aborted = True
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """End a stream of events of a client that closes: its answer has no end, so nothing else would."""
        if any(isinstance(each, BoundedRequest) and each.endless for each in self.requests):
            self.abort()
        else:
            super().readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop counting the connection."""
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
    """A request with a bounded body, which is in memory; its answer has no Server header.

    ``body_limit`` is None for a body that is not used; one beyond ``BODY_LIMIT`` closes the connection.
    Otherwise the bytes beyond ``body_limit`` are dropped, and ``too_large`` is true.
    ``caller`` is set when the caller has to be known before the body is read.
    ``endless`` is whether the answer has no end, so that the connection ends when the client sends nothing more.
    """

    channel: BoundedConnection
    body_limit: int | None = None
    too_large = False
    endless = False
    caller: Caller | Deferred[Caller] | None = None
    _received = 0
    _paused = False

    def limit_body(self, limit: int) -> None:
        """Set ``body_limit``, also for what was received."""
        self.body_limit = limit
        if self._received > limit:
            self.too_large = True
            self.content = BytesIO()

    def pause(self) -> None:
        """Read nothing more from the connection."""
        self._paused = True
        self.channel.transport.pauseProducing()

    def resume(self, result: T) -> T:
        """Read on; return ``result``."""
        self._paused = False
        transport = getattr(self.channel, "transport", None)  # the connection may be closed
        if transport is not None:
            transport.resumeProducing()
        return result

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: Twisted would use a temporary file for a large one."""
        del length
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Count and store a piece of the body."""
        self._received += len(data)
        if self._paused and self._received > UNKNOWN_LIMIT:
            self.channel.abort()
        elif self.body_limit is not None and self._received > self.body_limit:
            self.too_large = True
        elif self.body_limit is None and self._received > BODY_LIMIT:
            self.channel.abort()
        else:
            super().handleContentChunk(data)

    def write(self, data: bytes) -> None:
        """Write a piece of the answer, without a Server header in its head; at a stop, close behind it."""
        if not self.startedWriting:
            if self.channel.site.draining:
                self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
                self.channel.persistent = False
            self.responseHeaders.removeHeader(b"server")
        super().write(data)
