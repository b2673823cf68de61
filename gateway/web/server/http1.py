"""HTTP/1.1 connections with bounds: what is too long, too much, too slow or malformed is refused and closed.

The limits of heads and bodies are here, also those of the fast path and of HTTP/2.

Twisted's channel parses; this one sets the limits, and answers where Twisted would only close.

    request line ─414─► header fields ─431─► framing and Host ─400─► length ─413─► body ─413─► request
    └──────────── 408 after HEAD_DEADLINE ───────────┘               └─ 408 after BODY_DEADLINE ─┘
"""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.web.http import datetimeToString

from gateway.clocks import wall_clock
from gateway.text import is_host
from gateway.twisted_private import Http1Connection, no_log
from gateway.web.values import TEXT_HEADERS, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure
    from twisted.web.http_headers import Headers

REQUEST_LINE_LIMIT = 128 * 1024  # bytes; a stream's target carries the user, and 64 KiB of it must pass
HEADER_LIMIT = 64 * 1024  # bytes of all header fields; nginx allows 32 KiB, Go 1 MiB
HEADER_COUNT_LIMIT = 100  # fields; Apache's default is the same
BODY_LIMIT = 1024 * 1024  # bytes of one request body; flagd's default is the same; beyond it 413
LENGTH_DIGITS = 19  # digits of a Content-Length; more are over any limit

HEAD_DEADLINE = 10.0  # seconds from a request's first byte to the end of its head
UNREAD_TIMEOUT = 75.0  # seconds that a client may leave its answers unread
IN_USE_SECONDS = 1.0  # a stop waits for connections whose client has sent something within this time
BODY_DEADLINE = 60.0  # seconds from the end of the head to the end of the body: 17 KiB/s at the limit
CLOSE_TIMEOUT = 15.0  # seconds that a closed connection has to read what was sent to it; Twisted's HTTP has the same
# RFC 9112, 9.6: closing with unread bytes resets the connection, and the client may lose the refusal.
LINGER = 2.0  # seconds that a refused client is still read from
LINGER_BYTES = 1024 * 1024  # bytes of a refused client that are read and dropped at most

UNUSUAL_CASE = {
    b"Content-MD5": b"Content-Md5",
    b"DNT": b"Dnt",
    b"ETag": b"Etag",
    b"P3P": b"P3p",
    b"TE": b"Te",
    b"WWW-Authenticate": b"Www-Authenticate",
    b"X-XSS-Protection": b"X-Xss-Protection",
}
"""Header names that Twisted writes in another case than ConfigCat Proxy."""

REFUSALS = {
    400: b"400 Bad Request",
    408: b"the request took too long to arrive\n",
    413: b"the request body is too large\n",
    414: b"the request line is too long\n",
    431: b"the request header fields are too large\n",
}


class BoundedHttp1(Http1Connection):
    """One connection of a client; decides for both server paths what is malformed.

    A refusal is the last answer of a connection, after those of earlier requests.
    """

    MAX_LENGTH = REQUEST_LINE_LIMIT
    totalHeadersSize = sys.maxsize
    maxHeaders = sys.maxsize
    _log = no_log

    _in_head = False
    _head_size = 0
    _refused = False
    _request_line = b""  # of the request that is being read, or its beginning
    _discarded = 0
    _received_at = 0.0
    _read_ended = False
    _deadline: IDelayedCall | None = None  # not a Timer: one per connection, and Twisted gives callLater, no clock
    _deadline_of_body = False

    def connectionMade(self) -> None:
        """Wait for requests."""
        self.site.connections.add(self)
        super().connectionMade()

    def in_use(self, now: float) -> bool:
        """Whether a request is incomplete, or may follow at once because the client sent one in the last second."""
        return not self._refused and (self._deadline is not None or now - self._received_at < IN_USE_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        """Parse, or drop what a refused client sends."""
        if self._refused:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.transport.abortConnection()
            return
        self._received_at = self.seconds()
        super().dataReceived(data)
        self._watch()

    def lineReceived(self, line: bytes) -> None:
        """Check one line of the head before it is parsed."""
        if self._refused:
            return
        if self._in_head:
            self._head_size += len(line) + 2
            if line[:1] in (b" ", b"\t"):  # a folded line, which RFC 9112 (5.2) lets a server refuse
                self.refuse(400)
                return
            if line and self._head_size > HEADER_LIMIT:
                self.refuse(431)
                return
            self.MAX_LENGTH = max(0, HEADER_LIMIT - self._head_size)
        elif self.persistent:
            self._request_line = line  # an empty one too, which may be refused: it has no section
            if line:
                self._in_head = True
                self._head_size = 0
                self.MAX_LENGTH = HEADER_LIMIT
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is longer than what is left of its limit."""
        if not self._in_head:
            self._request_line = line[:REQUEST_LINE_LIMIT]
        self.refuse(431 if self._in_head else 414)

    def headerReceived(self, line: bytes) -> bool:
        """Check one header field before it is parsed; False when the request was refused."""
        if self._refused:
            return False
        if self.field_count >= HEADER_COUNT_LIMIT:
            self.refuse(431)
            return False
        name, _, value = line.partition(b":")
        value = value.strip(b" \t")
        if name.lower() == b"content-length" and len(value) > LENGTH_DIGITS:
            self.refuse(413 if value.isdigit() else 400)
            return False
        # RFC 9112, 6.3: with other codings the end of the body is unknown, which enables request smuggling.
        if name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
            self.refuse(400)
            return False
        return bool(super().headerReceived(line))

    def allHeadersReceived(self) -> None:
        """Check the whole head, before ``Expect: 100-continue`` is answered."""
        self._in_head = False
        self.MAX_LENGTH = REQUEST_LINE_LIMIT
        if self._refused:
            return
        # RFC 9112, 3.2: one valid Host, which HTTP/1.0 may omit; 6.1: chunks in HTTP/1.1 only.
        hosts = self.requests[-1].requestHeaders.getRawHeaders(b"host", ())
        newest = self.is_http_1_1
        framed = newest or self.length is not None
        if len(hosts) > 1 or (newest and not hosts) or not framed or not all(map(is_host, hosts)):
            self.refuse(400)
        elif self.length is not None and self.length > BODY_LIMIT:
            self.refuse(413)
        else:
            super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """Take a piece of the body, or of what follows a request that is being answered."""
        if not self._refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """Have the request answered."""
        if not self._refused:
            self._cancel_deadline()
            super().allContentReceived()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write the head of an answer, with header names in the case that ConfigCat Proxy uses."""
        lines = [version, b" ", code, b" ", reason, b"\r\n"]
        for name, values in headers.getAllRawHeaders():
            shown = UNUSUAL_CASE.get(name, name)
            for value in values:
                lines += (shown, b": ", value, b"\r\n")
        lines.append(b"\r\n")
        self.transport.writeSequence(lines)

    def requestDone(self, request: Any) -> None:
        """Wait for the next request, for ``http.keep_alive_timeout``; less long while the answer is not read."""
        super().requestDone(request)
        if self.is_buffer_full and self.timeOut is not None:
            self.setTimeout(min(UNREAD_TIMEOUT, self.timeOut))

    def resumeProducing(self) -> None:
        """Go on: the client has read its answers."""
        super().resumeProducing()
        if self.timeOut is not None:
            self.setTimeout(self.site.timeOut)

    def readConnectionLost(self) -> None:
        """Close once the client, which sends nothing more, has the answers; an event stream ends at once.

        The end of what a client sends is all that a server sees of most clients that are gone.
        """
        self._read_ended = True
        if self._refused:
            self.transport.loseConnection()
        elif self.is_handling_request and self.requests[0].is_stream:
            self.transport.abortConnection()
        else:
            super().readConnectionLost()

    @property
    def read_ended(self) -> bool:
        """Whether the client sends nothing more."""
        return self._read_ended

    def refuse(self, status: int) -> None:
        """Answer ``status`` and close; parse nothing more of this client."""
        if self._refused:
            return
        self.transport.write(self._refusal(status))
        self._close_writing()

    def loseConnection(self) -> None:
        """Close; at a stop the client may have sent another request, and is still read from for a moment."""
        if self.site.draining and not self._refused:
            self._close_writing()
        else:
            super().loseConnection()

    def _close_writing(self) -> None:
        """Close after what is written, in a way that lets the client read all of it; read no more requests."""
        self._refused = True
        self._cancel_deadline()
        self.setTimeout(None)
        self.clearLineBuffer()
        if ITCPTransport.providedBy(self.transport) and not ISSLTransport.providedBy(self.transport):
            self.unregister_from_transport()
            self.transport.loseWriteConnection()
            self._deadline = self.callLater(LINGER, self._abort)
        else:
            super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Cancel the timers; Twisted notifies the requests in flight."""
        self.site.connections.discard(self)
        self._cancel_deadline()
        super().connectionLost(reason)

    def malformed(self) -> None:
        """Refuse what Twisted's parser cannot read."""
        self.refuse(400)

    def _refusal(self, status: int) -> bytes:
        fields: dict[bytes, Sequence[bytes]] = {}
        if self.requests and status != 414:
            fields = {name.lower(): values for name, values in self.requests[-1].requestHeaders.getAllRawHeaders()}
        target = self._request_line.partition(b" ")[2].partition(b" ")[0]
        reply = self.site.routes.matcher.refusal(target, fields, Reply(status, TEXT_HEADERS, REFUSALS[status]))
        lines = b"".join(b"%b: %b\r\n" % line for line in reply.headers)
        head = b"HTTP/1.1 %d %b\r\n%bConnection: close\r\nDate: %b\r\nContent-Length: %d\r\n\r\n"
        date = datetimeToString(wall_clock(self.site.reactor)())
        body: bytes = reply.body
        return head % (status, HTTPStatus(status).phrase.encode(), lines, date, len(body)) + body

    def seconds(self) -> float:
        """Return the site's monotonic time in seconds."""
        return float(self.site.reactor.seconds())

    def _watch(self) -> None:
        """Set or cancel the deadline, according to which part of the current request is missing."""
        if self._refused:
            return
        body = not self.line_mode and not self.is_handling_request
        if not body and not self._in_head and not self.has_partial_line:
            self._cancel_deadline()
        elif self._deadline is None or body != self._deadline_of_body:
            self._cancel_deadline()
            self._deadline_of_body = body
            self._deadline = self.callLater(BODY_DEADLINE if body else HEAD_DEADLINE, self._late)

    def _late(self) -> None:
        self._deadline = None
        self.refuse(408)

    def _abort(self) -> None:
        self._deadline = None
        self.transport.abortConnection()

    def _cancel_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
