"""HTTP/2 connections with the bounds that ``Channel`` sets for HTTP/1.1.

Twisted's connection parses; this one refuses single requests, ends a connection that broke the protocol for good,
and does not wait for ever for a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web._http2 import H2Connection
from twisted.web.http import _GenericHTTPChannelProtocol

from gateway.web.server.http1 import (
    BODY_DEADLINE,
    HEADER_COUNT_LIMIT,
    HEADER_LIMIT,
    REFUSALS,
    REQUEST_LINE_LIMIT,
    Channel,
    Silence,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall

FIELD_OVERHEAD = 32  # bytes that HTTP/2 adds to each field when it counts a header list
HEADER_LIST_LIMIT = 2 * (REQUEST_LINE_LIMIT + HEADER_LIMIT)
"""Bytes of a header list that end the whole connection; below it, only the request that is too large is refused."""
STREAM_LIMIT = 100  # requests and event streams of one connection at a time: what RFC 9113 recommends at least


class Connection(H2Connection):
    """One HTTP/2 connection of a client; a refusal ends one request, a breach of the protocol all of them."""

    transport: Any
    streams: dict[int, Any]
    conn: Any
    _log = Logger(observer=Silence())

    def __init__(self, reactor: Any = None) -> None:
        super().__init__(reactor)
        self._ended = False
        self._deadlines: dict[int, IDelayedCall] = {}  # not Timers: one per request
        limits = {
            SettingCodes.MAX_CONCURRENT_STREAMS: STREAM_LIMIT,
            SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIST_LIMIT,
        }
        self.conn.local_settings = Settings(client=False, initial_values=limits)
        self.conn.decoder.max_header_list_size = HEADER_LIST_LIMIT

    def dataReceived(self, data: bytes) -> None:
        """Parse, unless this client broke the protocol: then whatever it still sends is thrown away."""
        if not self._ended:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone, _cancelTimeouts: bool = True) -> None:  # noqa: FBT001, FBT002 - Twisted's signature
        """Forget the timers; requests in flight are told."""
        self._ended = True
        for deadline in self._deadlines.values():
            deadline.cancel()
        self._deadlines.clear()
        super().connectionLost(reason, _cancelTimeouts)

    def refuse(self, stream: int, status: int) -> None:
        """Answer one request with ``status`` and stop reading it; the connection goes on."""
        self._in_time(stream)
        body = REFUSALS[status]
        head = (
            (b":status", b"%d" % status),
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-length", b"%d" % len(body)),
        )
        try:
            self.conn.send_headers(stream, head)
            if self.conn.local_flow_control_window(stream) >= len(body):
                self.conn.send_data(stream, body, end_stream=True)
            self.conn.reset_stream(stream, ErrorCodes.NO_ERROR)
        except ProtocolError:
            pass  # the stream is closed already
        if stream in self.streams:
            self.streams[stream].connectionLost(Failure(ConnectionLost()))
            self._requestDone(stream)
        self._tryToWriteControlData()

    def _requestReceived(self, event: Any) -> None:
        if self._ended:  # by what came before it in the same bytes
            return
        status = _fault(event.headers)
        if status:
            self.refuse(event.stream_id, status)
            return
        super()._requestReceived(event)
        if event.stream_ended is None:
            late = self._reactor.callLater(BODY_DEADLINE, self._late, event.stream_id)
            self._deadlines[event.stream_id] = late

    def _requestDataReceived(self, event: Any) -> None:
        if event.stream_id in self.streams:
            super()._requestDataReceived(event)

    def _requestEnded(self, event: Any) -> None:
        if event.stream_id in self.streams and self._is_open(event.stream_id):
            self._in_time(event.stream_id)
            super()._requestEnded(event)

    def _requestAborted(self, event: Any) -> None:
        if event.stream_id in self.streams:
            self._in_time(event.stream_id)
            super()._requestAborted(event)

    def _is_open(self, stream: int) -> bool:
        """Whether the client has not taken the request back in the same bytes, in which case nobody is answered."""
        known = self.conn.streams.get(stream)
        return known is not None and not known.closed

    def _handlePriorityUpdate(self, event: Any) -> None:
        """Serve all requests alike: RFC 9113 has no priorities any more, and the old ones were kept for good."""

    def _terminate(self, reason: Failure) -> None:
        self._ended = True
        super()._terminate(reason)

    def _late(self, stream: int) -> None:
        del self._deadlines[stream]
        self.refuse(stream, 408)

    def _in_time(self, stream: int) -> None:
        deadline = self._deadlines.pop(stream, None)
        if deadline is not None and deadline.active():
            deadline.cancel()


def _fault(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return the status to refuse a request with, or 0."""
    path = b""
    size = count = 0
    for name, value in headers:
        if name == b":path":
            path = value
        elif not name.startswith(b":"):
            count += 1
            size += len(name) + len(value)
    if not path:
        return 400
    if len(path) > REQUEST_LINE_LIMIT:
        return 414
    return 431 if size > HEADER_LIMIT or count > HEADER_COUNT_LIMIT else 0


class Negotiated(_GenericHTTPChannelProtocol):
    """Speaks HTTP/1.1 through ``Channel``, or HTTP/2 where TLS has negotiated it."""

    _channel: Any
    _site: Any
    _negotiatedProtocol: Any = None

    def __init__(self) -> None:
        super().__init__(Channel())

    def dataReceived(self, data: bytes) -> None:
        """Decide by the first bytes, before which the TLS handshake has not ended."""
        if self._negotiatedProtocol is None:
            transport = self._channel.transport
            if getattr(transport, "negotiatedProtocol", None) == b"h2":
                self._go_over(transport)
                self._negotiatedProtocol = b"h2"
        super().dataReceived(data)

    def _go_over(self, transport: Any) -> None:
        producer = self._channel._networkProducer  # noqa: SLF001 - what Twisted does at this point
        producer.unregisterProducer()
        self._channel.setTimeout(None)
        old, self._channel = self._channel, Connection(self._site.reactor)
        self._channel.requestFactory = old.requestFactory
        self._channel.site = self._site
        self._channel.factory = self._factory
        self._channel.timeOut = self._timeOut
        self._channel.callLater = self._callLater
        self._channel.makeConnection(transport)
        producer.registerProducer(self._channel, True)
