"""HTTP/2 connections: h2 reads and writes frames, this protocol answers requests by the same routes as HTTP/1.1.

    bytes ──► h2 ──► Exchange ──Call──► answer ──► Reply | StreamReply ──► Exchange.unsent ──windows──► frames

A client decides how much it reads of each request's answer, and of all together (RFC 9113, 5.2).  What it does not
read stays in ``Exchange.unsent``.  These bounds hold for each connection:

* Requests are not answered while more than ``UNSENT_LIMIT`` bytes of earlier answers are unsent.  Event streams do not
  count: of each one event is unsent at most, and there are limits on their number.
* Bodies of requests are not read while ``BODIES_LIMIT`` bytes of them are held.
* Nothing is read while the transport's buffer is full, so that answers to control frames do not accumulate either.
* An answer of which nothing was sent for ``UNREAD_TIMEOUT`` is reset, an event stream after its stall time.
* Heads and bodies have the deadlines and limits of HTTP/1.1; a refusal ends one request, a breach of the protocol all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from zope.interface import implementer

from gateway.web.server.h2_private import HeadReceived, ServerConnection
from gateway.web.server.http1 import BODY_DEADLINE, BODY_LIMIT, CLOSE_TIMEOUT, HEAD_DEADLINE, REFUSALS, UNREAD_TIMEOUT
from gateway.web.server.http2_answers import Http2Answers
from gateway.web.server.http2_bounds import BODIES_LIMIT, FLUSH_BYTES, SETTINGS, UNSENT_LIMIT, ResetAllowance
from gateway.web.server.http2_exchange import Exchange, parse_head
from gateway.web.values import TEXT_HEADERS, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from gateway.web.server.http2_exchange import Server


@implementer(IPushProducer)
class Http2Connection(Protocol):
    """One connection of a client, after TLS has negotiated HTTP/2, or the client has begun it without TLS."""

    transport: Any  # a TLS connection, or a TCP one

    def __init__(self, factory: Server) -> None:
        self._factory = factory
        self._h2 = ServerConnection(SETTINGS, parse_head)
        self._open: dict[int, Exchange] = {}
        self._incomplete: dict[int, Exchange] = {}  # of them, those whose request is not complete
        self._waiting: dict[int, Exchange] = {}  # those with unsent bytes, in the order in which they are served
        self._held: list[Exchange] = []  # complete requests that are answered once ``_unsent`` is lower
        self._unsent = 0  # bytes of answers other than event streams
        self._bodies = 0  # bytes
        self._busy = False  # whether frames are collected, to be written together
        self._collected = 0  # bytes of answers in them
        self._ended = False  # read and written no more
        self._draining = False
        self._last_number = 0
        self._active = 0.0  # when the client last sent something
        self._partial_since: float | None = None  # when it began a frame or a head that is not complete
        self._blocked_since: float | None = None  # since when the transport's buffer is full
        self._close_at = 0.0
        self._resets = ResetAllowance()

    def connectionMade(self) -> None:
        """Send the settings."""
        self._answers = Http2Answers(self, self._factory, self.transport.getPeer().host)
        self._active = self._now()
        self._factory.http2.add(self)
        self.transport.registerProducer(self, True)
        self._h2.initiate_connection()
        self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002  (Twisted's signature)
        """End every request and stream; answers that are pending will be dropped."""
        self._ended = True
        self._factory.http2.discard(self)
        self._forget_all()

    def dataReceived(self, data: bytes) -> None:
        """Answer what is complete; after a breach of the protocol everything is dropped."""
        if self._ended:
            return
        self._active = now = self._now()
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:  # h2 has a GOAWAY ready that names it
            self._flush()
            self._close()
            return
        if events:
            self._partial_since = None
        elif self._partial_since is None:
            self._partial_since = now
        self._busy = True
        for event in events:
            handle = self._handlers.get(type(event))
            if handle is not None and not self._ended:
                handle(self, event)
        self._busy = False
        self.pump()

    def pauseProducing(self) -> None:
        """Send and read nothing: the client does not read from its socket."""
        self._blocked_since = self._now()
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on."""
        self._blocked_since = None
        self.transport.resumeProducing()
        self.pump()

    def stopProducing(self) -> None:
        """Do nothing: the connection is lost, and ``connectionLost`` follows."""

    def check(self, now: float) -> None:
        """End what is late; to be called every second."""
        if self._ended:
            if now >= self._close_at:
                self.transport.abortConnection()
        elif self._blocked_since is not None and now - self._blocked_since >= UNREAD_TIMEOUT:
            self._abort()
        # A slow body may be sent in large frames.
        elif now - (self._partial_since or now) >= (BODY_DEADLINE if self._incomplete else HEAD_DEADLINE):
            self._go_away(ErrorCodes.ENHANCE_YOUR_CALM)
        elif not self._open:
            if now - self._active >= self._factory.site.routes.http.keep_alive_timeout:
                self._go_away(ErrorCodes.NO_ERROR)
        else:
            for exchange in [each for each in self._incomplete.values() if now >= each.deadline]:
                self._refuse(exchange, 408)
            for exchange in [each for each in self._waiting.values() if now - each.moved >= UNREAD_TIMEOUT]:
                if exchange.outlet is None:  # event streams have a stall time of their own
                    self._reset(exchange, ErrorCodes.CANCEL)
            self.pump()

    def begin_drain(self) -> None:
        """Accept no more requests, and close once those in progress have ended; does not end event streams."""
        if not self._ended and not self._draining:
            self._draining = True
            # h2's own GOAWAY would forbid to send the rest of the answers.
            frame = GoAwayFrame(0, last_stream_id=self._last_number, error_code=ErrorCodes.NO_ERROR)
            self._flush()
            self._write(frame.serialize())
            self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._draining and not self._open and not self._ended:
            self._flush()
            self._close()

    def _go_away(self, code: ErrorCodes) -> None:
        self._h2.close_connection(code)
        self._flush()
        self._close()

    def _close(self) -> None:
        """Close after everything is written; a client that does not read has ``CLOSE_TIMEOUT`` for it."""
        self._ended = True
        self._forget_all()
        self._close_at = self._now() + CLOSE_TIMEOUT
        self.transport.unregisterProducer()
        self._factory.writer.close(self.transport)

    def _abort(self) -> None:
        self._ended = True
        self._forget_all()
        self.transport.abortConnection()

    def _forget_all(self) -> None:
        for exchange in list(self._open.values()):
            self._forget(exchange)

    def _request_received(self, event: HeadReceived) -> None:
        """Begin a request whose head is complete, or refuse one beyond the limits."""
        number, head = event.stream_id, event.head
        if self._draining:
            self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        self._last_number = number
        self._open[number] = self._incomplete[number] = exchange = Exchange(number, head, self._active)
        if head.fault:
            self._refuse(exchange, head.fault)
        elif head.expects_continue and not event.ended:
            self._call_h2(exchange, self._h2.send_headers, number, ((b":status", b"100"),))

    def _data_received(self, event: DataReceived) -> None:
        """Take a piece of a body; the rest of a body whose request was refused is dropped."""
        number, size = event.stream_id, event.flow_controlled_length or 0
        assert number is not None
        exchange = self._incomplete.get(number)
        if exchange is None:
            self._h2.acknowledge(size, number)
            return
        data = event.data or b""
        exchange.body.append(data)
        exchange.size += len(data)
        exchange.withheld += size
        self._bodies += len(data)
        if exchange.size > BODY_LIMIT:
            self._refuse(exchange, 413)
        elif self._bodies <= BODIES_LIMIT:
            self._give_window(exchange)

    def _give_window(self, exchange: Exchange) -> None:
        """Let the client send as much as was withheld from it."""
        if exchange.withheld:
            size, exchange.withheld = exchange.withheld, 0
            self._h2.acknowledge(size, exchange.number)

    def _request_ended(self, event: StreamEnded) -> None:
        """Answer a complete request, unless it was refused, or reset in the same bytes."""
        assert event.stream_id is not None
        exchange = self._incomplete.get(event.stream_id)
        if exchange is None:
            return
        known = self._h2.streams.get(exchange.number)
        if known is None or known.closed:
            return  # its reset follows
        del self._incomplete[exchange.number]
        if self._unsent > UNSENT_LIMIT:
            self._held.append(exchange)
        else:
            self._answers.answer(exchange)

    def take_body(self, exchange: Exchange) -> bytes:
        """Return the body and hold it no more; read bodies that had to wait for that."""
        body = b"".join(exchange.body)
        exchange.body.clear()
        was_full = self._bodies > BODIES_LIMIT
        self._bodies -= exchange.size
        exchange.size = 0
        self._give_window(exchange)
        if was_full and self._bodies <= BODIES_LIMIT:
            for other in self._incomplete.values():
                self._give_window(other)
        return body

    def _request_reset(self, event: StreamReset) -> None:
        """End a request that the client takes back."""
        assert event.stream_id is not None
        exchange = self._open.get(event.stream_id)
        if exchange is not None:
            self._forget(exchange)
            self._count_reset()

    def _client_leaves(self, _event: ConnectionTerminated) -> None:
        """Close behind the answers that are ready: the client has, and h2 sends nothing more."""
        self._flush()
        self._close()

    def _count_reset(self) -> None:
        """End the connection of a client that makes requests only to have them reset."""
        if not self._resets.take(self._now()) and not self._ended:
            self._go_away(ErrorCodes.ENHANCE_YOUR_CALM)

    def _refuse(self, exchange: Exchange, status: int) -> None:
        """Answer one request with ``status`` and read no more of it; the connection stays open."""
        reply = Reply(status, TEXT_HEADERS, REFUSALS[status])
        reply = self._factory.matcher.refusal(exchange.head.target, exchange.head.fields, reply)
        body = reply.body
        head = self._factory.http2_encoder.compress(status, reply.headers, len(body), self._now())
        self.begin_answer(exchange, head)
        if exchange.number in self._open:
            if self._h2.local_flow_control_window(exchange.number) >= len(body):
                self._call_h2(exchange, self._h2.send_data, exchange.number, body, True)
            self._call_h2(exchange, self._h2.reset_stream, exchange.number, ErrorCodes.NO_ERROR)
            self._forget(exchange)
        self._count_reset()

    def begin_answer(self, exchange: Exchange, head: bytes, *, last: bool = False) -> None:
        """Send the compressed head of an answer; ``last`` if it has no body."""
        try:
            self._h2.send_head(exchange.number, head, last=last)
        except ProtocolError:  # the client has reset the request
            self._forget(exchange)
            return
        if last:
            self._forget(exchange)

    def is_open(self, exchange: Exchange) -> bool:
        """Whether the request can be answered: its client has not taken it back."""
        return exchange.number in self._open

    def send(self, exchange: Exchange, data: bytes, *, last: bool = False) -> None:
        """Send ``data`` as the client's windows allow; ``last`` ends the answer behind it."""
        number = exchange.number
        if number not in self._open:
            return
        if number in self._waiting or self._blocked_since is not None or len(data) > self._h2.window(number):
            self._send_later(exchange, data, last=last)
            return
        try:
            self._h2.send_body(number, data, last=last)
        except ProtocolError:  # the client has reset the request
            self._forget(exchange)
            return
        if last:
            self._forget(exchange)
        self._collected += len(data)
        if self._collected >= FLUSH_BYTES:
            self.flush()
        elif not self._busy:
            self._factory.writer.collect(self)

    def _send_later(self, exchange: Exchange, data: bytes, *, last: bool) -> None:
        """Send as much as the client's windows allow, and the rest when they open."""
        if not exchange.unsent:
            exchange.moved = self._now()
        exchange.unsent += data
        exchange.last = last
        if exchange.outlet is None:
            self._unsent += len(data)
        self._waiting[exchange.number] = exchange
        self.pump()

    def drop(self, exchange: Exchange) -> None:
        """Drop an event stream and what is unsent of it; with a client that reads nothing at all, the connection."""
        if self._blocked_since is not None:
            self._abort()
        else:
            self._reset(exchange, ErrorCodes.CANCEL)
            self.pump()

    def _reset(self, exchange: Exchange, code: ErrorCodes) -> None:
        self._call_h2(exchange, self._h2.reset_stream, exchange.number, code)
        self._forget(exchange)

    def _forget(self, exchange: Exchange) -> None:
        """Free what is held for a request that has ended."""
        if self._open.pop(exchange.number, None) is None:
            return
        self._incomplete.pop(exchange.number, None)
        self._waiting.pop(exchange.number, None)
        if exchange.size and not self._ended:
            self.take_body(exchange)
        if exchange.outlet is None:
            self._unsent -= len(exchange.unsent)
        if exchange in self._held:
            self._held.remove(exchange)
        exchange.end_answering(self._factory.site)
        if exchange.outlet is not None:
            exchange.outlet.ended()
        self._close_if_drained()

    def pump(self) -> None:
        """Send what the windows allow, a frame of each request in turn, and answer requests that had to wait."""
        if self._busy or self._ended:
            return
        if self._waiting or self._held:
            self._busy = True
            try:
                self._send_frames()
                while self._held and self._unsent <= UNSENT_LIMIT and not self._ended:
                    self._answers.answer(self._held.pop(0))
                    self._send_frames()
            finally:
                self._busy = False
            for exchange in self._waiting.values():
                if exchange.outlet is not None:
                    exchange.outlet.pause()
        if not self._ended:
            self._factory.writer.collect(self)

    def _send_frames(self) -> None:
        moving = True
        while moving and self._may_send():
            moving = False
            for exchange in list(self._waiting.values()):
                if exchange.number not in self._open or not self._may_send():
                    continue
                size = self._send_frame(exchange)
                moving = moving or size > 0
                self._collected += size
                if self._collected >= FLUSH_BYTES:
                    self.flush()

    def _may_send(self) -> bool:
        return self._blocked_since is None and not self._ended

    def _send_frame(self, exchange: Exchange) -> int:
        """Send one frame of an answer; return its size, 0 if a window is closed."""
        number, unsent = exchange.number, exchange.unsent
        size = min(max(0, self._h2.window(number)), len(unsent))
        if unsent and not size:
            return 0
        data = bytes(unsent[:size])
        del unsent[:size]
        if exchange.outlet is None:
            self._unsent -= size
        exchange.moved = self._now()
        last = exchange.last and not unsent
        try:
            self._h2.send_body(number, data, last=last)
        except ProtocolError:  # the client has reset the request
            self._forget(exchange)
            return size
        if not unsent:
            self._waiting.pop(number, None)
            if last:
                self._forget(exchange)
            elif exchange.outlet is not None:
                exchange.outlet.resume()
        return size

    def _call_h2(self, exchange: Exchange, method: Callable[..., object], *args: object) -> None:
        """Call a method of h2; a request that the client has reset meanwhile is forgotten."""
        try:
            method(*args)
        except ProtocolError:
            self._forget(exchange)

    def flush(self) -> None:
        """Write the frames that are ready; do nothing after the end of the connection."""
        if not self._ended:
            self._flush()

    def _flush(self) -> None:
        self._collected = 0
        data = self._h2.data_to_send()
        if data:
            self._write(data)

    def _write(self, data: bytes) -> None:
        self._factory.writer.write(self.transport, data)

    def _now(self) -> float:
        return self._factory.clock.seconds()

    # Other events need nothing but ``pump``, among them larger windows; RFC 9113 removed priorities.
    _handlers: Final[dict[type, Callable[[Http2Connection, Any], None]]] = {
        HeadReceived: _request_received,
        DataReceived: _data_received,
        StreamEnded: _request_ended,
        StreamReset: _request_reset,
        ConnectionTerminated: _client_leaves,
    }
