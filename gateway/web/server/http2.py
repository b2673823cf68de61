"""HTTP/2 connections with the bounds of HTTP/1.1.

Twisted's connection parses; this one refuses single requests, ends a connection at its first breach of the protocol,
and sets a deadline for bodies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from gateway.twisted_private import Http2Connection, NegotiatedConnection
from gateway.web.server.http1 import (
    BODY_DEADLINE,
    HEADER_COUNT_LIMIT,
    HEADER_LIMIT,
    REFUSALS,
    REQUEST_LINE_LIMIT,
    BoundedHttp1,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall

HEADER_LIST_LIMIT = 2 * (REQUEST_LINE_LIMIT + HEADER_LIMIT)
"""Bytes of a header list that end the whole connection; below it, only the request that is too large is refused."""
STREAM_LIMIT = 100  # requests and event streams of one connection at a time: what RFC 9113 recommends at least


class BoundedHttp2(Http2Connection):
    """One HTTP/2 connection; a refusal ends one request, a breach of the protocol all of them."""

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
        """Parse, or drop what a client sends after a breach of the protocol."""
        if not self._ended:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone, _cancelTimeouts: bool = True) -> None:  # noqa: FBT001, FBT002 - Twisted's signature
        """Cancel the timers; Twisted notifies the requests in flight."""
        self._ended = True
        for deadline in self._deadlines.values():
            deadline.cancel()
        self._deadlines.clear()
        super().connectionLost(reason, _cancelTimeouts)

    def refuse(self, stream: int, status: int) -> None:
        """Answer one request with ``status`` and stop reading it; the connection stays open."""
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
            self.forget_request(stream)
        self.flush_control_data()

    def request_received(self, event: Any) -> None:
        """Refuse a request beyond the limits; else begin it, with a deadline for its body."""
        if self._ended:  # by something earlier in the same bytes
            return
        status = _fault(event.headers)
        if status:
            self.refuse(event.stream_id, status)
            return
        super().request_received(event)
        if event.stream_ended is None:
            late = self.call_later(BODY_DEADLINE, self._late, event.stream_id)
            self._deadlines[event.stream_id] = late

    def request_data_received(self, event: Any) -> None:
        """Drop the rest of a body whose request was refused."""
        if event.stream_id in self.streams:
            super().request_data_received(event)

    def request_ended(self, event: Any) -> None:
        """Answer the request, unless it was refused or reset meanwhile."""
        if event.stream_id in self.streams and self._is_open(event.stream_id):
            self._in_time(event.stream_id)
            super().request_ended(event)

    def request_aborted(self, event: Any) -> None:
        """End the request that the client has reset, unless it was refused."""
        if event.stream_id in self.streams:
            self._in_time(event.stream_id)
            super().request_aborted(event)

    def _is_open(self, stream: int) -> bool:
        """Whether the request can be answered: the client has not reset it in the same bytes."""
        known = self.conn.streams.get(stream)
        return known is not None and not known.closed

    def priority_updated(self, event: Any) -> None:
        """Ignore priorities: RFC 9113 removed them, and Twisted would keep each one for the whole connection."""

    def terminate(self, reason: Failure) -> None:
        """End the connection; what was received together with the breach of protocol is not answered."""
        self._ended = True
        super().terminate(reason)

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


class NegotiatedHttp(NegotiatedConnection):
    """HTTP/1.1, or HTTP/2 where TLS has negotiated it, both bounded."""

    http1 = BoundedHttp1
    http2 = BoundedHttp2
