"""The answers of an HTTP/2 connection: the same routes and answers as on HTTP/1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from gateway.web.answers.lookup import REQUEST_FAILED, SDK_NOT_LOADED
from gateway.web.errors import log_failure, shield
from gateway.web.server.http2_exchange import EventStream
from gateway.web.server.response_bytes import BODILESS
from gateway.web.server.socket_options import configure_stream
from gateway.web.server.unrouted import METHODS
from gateway.web.values import Call, Reply, StreamReply

if TYPE_CHECKING:
    from gateway.web.server.http2_exchange import Connection, Exchange, Server
    from gateway.web.server.route_matcher import RouteMatch
    from gateway.web.values import AnyReply, PendingReply


class Http2Answers:
    """Answers the complete requests of one connection."""

    def __init__(self, connection: Connection, factory: Server, client_address: str) -> None:
        self._connection = connection
        self._factory = factory
        self._client_address = client_address

    def answer(self, exchange: Exchange) -> None:
        """Answer a complete request, now or when its answer is ready."""
        factory = self._factory
        factory.site.answering += 1
        exchange.answering = True
        head = exchange.head
        method = head.method if head.method == head.method.upper() else "OTHER"
        found = factory.matcher.resolve(method, head.target, head.fields)
        if isinstance(found, Reply):
            self._reply(exchange, "", found)
            return
        body = self._connection.take_body(exchange)
        call = Call(
            method, found.target.path, found.parameters, found.target.query, head.fields, body, self._client_address
        )
        try:
            outcome = found.bound.answer(call)
        except Exception:  # noqa: BLE001  (a fault of ours costs one request)
            log_failure(found.bound.route.pattern, Failure())
            outcome = found.bound.with_common_headers(call, REQUEST_FAILED)
        if isinstance(outcome, Reply):
            self._reply(exchange, found.bound.route.pattern, outcome)
        elif isinstance(outcome, StreamReply):
            self._stream(exchange, found, outcome)
        else:
            self._answer_later(exchange, found, call, outcome)

    def _answer_later(self, exchange: Exchange, found: RouteMatch, call: Call, work: PendingReply) -> None:
        """Answer when ``work`` has ended, unless the request was taken back."""
        pattern = found.bound.route.pattern

        def failed(failure: Failure) -> AnyReply:
            log_failure(pattern, failure)
            return found.bound.with_common_headers(call, REQUEST_FAILED)

        def done(answered: AnyReply) -> None:
            if not self._connection.is_open(exchange):
                return
            if isinstance(answered, Reply):
                self._reply(exchange, pattern, answered)
            else:
                self._stream(exchange, found, answered)
            self._connection.pump()

        shield(work).addErrback(failed).addCallback(done)

    def _reply(self, exchange: Exchange, pattern: str, reply: Reply) -> None:
        """Send the head of a complete answer, and as much of its body as the client wants."""
        bodiless = reply.status in BODILESS
        now = self._factory.clock.seconds()
        self._count(exchange, pattern, reply.status, now)
        body = b"" if bodiless or exchange.head.method == "HEAD" else reply.body
        length = None if bodiless else len(reply.body)
        head = self._factory.http2_encoder.compress(reply.status, reply.headers, length, now)
        self._connection.begin_answer(exchange, head, last=not body)
        if body:
            self._connection.send(exchange, body, last=True)

    def _stream(self, exchange: Exchange, found: RouteMatch, reply: StreamReply) -> None:
        """Begin an event stream."""
        context, pattern = found.bound.context, found.bound.route.pattern
        hub = context.hubs.get(reply.sdk.id)
        if hub is None:  # the SDK was removed between the answer and now
            call = Call(exchange.head.method, found.target.path, headers=exchange.head.fields)
            self._reply(exchange, pattern, found.bound.with_common_headers(call, SDK_NOT_LOADED))
            return
        now = self._factory.clock.seconds()
        self._count(exchange, pattern, 200, now)
        head_only = exchange.head.method == "HEAD"
        head = self._factory.http2_encoder.compress(200, reply.headers, None, now)
        self._connection.begin_answer(exchange, head, last=head_only)
        if self._connection.is_open(exchange) and not head_only:
            exchange.end_answering(self._factory.site)
            configure_stream(self._connection.transport)
            streams = reply.counter or context.state.streams
            exchange.outlet = EventStream(self._connection, exchange, streams, reply.address)
            exchange.outlet.open(hub, reply)

    def _count(self, exchange: Exchange, pattern: str, status: int, now: float) -> None:
        method = exchange.head.method if exchange.head.method in METHODS else "other"
        self._factory.site.metrics.answered(pattern, method, status, now - exchange.began)
