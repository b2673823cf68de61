"""The fast path: HTTP/1.1 on a bare protocol, for simple requests.

    bytes ──► head found ──► RoutedHead ──► answer ──► bytes            streams ──► FastStream
                  ├── the preface of HTTP/2: ``Http2Connection`` takes over the connection
                  └── anything unusual: the Klein path does, from these bytes on

A simple request has one head, one ``Host``, a ``Content-Length`` or no body, and a route of the table.  Whatever is
malformed, too long, old or rare is judged by ``BoundedHttp1`` alone, so that no request is read in two ways.
Both paths call the same answers and send the same bytes.

The state of a connection, and what changes it, is the table of transitions below.

Rule 1: from ``connectionMade`` on, only ``FastHttp._on`` changes ``FastHttp._state``.
Rule 2: requests are answered in ``OPEN`` only.  In every other state what is received is held, in ``CLOSING`` dropped.
Rule 3: a simple request makes no transition, so that it costs no look-up.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.clocks import wall_clock
from gateway.deferreds import Timer, call_each
from gateway.logger import component_logger
from gateway.web.answers.lookup import REQUEST_FAILED, SDK_NOT_LOADED
from gateway.web.errors import log_failure, shield
from gateway.web.server.fast_stream import FastStream
from gateway.web.server.http1 import BODY_DEADLINE, CLOSE_TIMEOUT, HEAD_DEADLINE, IN_USE_SECONDS, UNREAD_TIMEOUT
from gateway.web.server.http2 import Http2Connection
from gateway.web.server.http2_heads import Http2HeadEncoder
from gateway.web.server.request_head import may_be_simple
from gateway.web.server.response_bytes import LastResponseEncoder, ResponseEncoder
from gateway.web.server.route_matcher import KleinOnlyMatcher
from gateway.web.server.write_batch import PlainWriter
from gateway.web.values import Call, Reply, StreamReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from gateway.web.server.route_matcher import RoutedHead, RouteMatcher
    from gateway.web.server.site import GatewaySite, SiteRoutes
    from gateway.web.values import AnyReply, PendingReply

_log = component_logger("http")

SWEEP_SECONDS = 1.0  # between two looks for connections that are idle or late
PREFACE = b"PRI * HTTP/2.0\r\n\r\n"  # of a client that knows that the port speaks HTTP/2 (RFC 9113, 3.3 and 3.4)
PIPELINE_LIMIT = 64 * 1024  # bytes of later requests that are held while one waits; beyond it reading stops


class State(IntEnum):
    """What a connection of the fast path does with what it receives."""

    OPEN = 0  # answers each request as soon as it is complete
    WAITING = auto()  # holds: the answer to a request waits for an upstream
    BLOCKED = auto()  # holds: the client does not read its answers
    WAITING_BLOCKED = auto()  # both
    HANDSHAKE = auto()  # of TLS; nothing can be received yet
    CLOSING = auto()  # drops: closed by us, but the client has not read everything
    GONE = auto()  # lost, handed over to the Klein path, or an event stream now


class Event(Enum):
    """What changes the state of a connection."""

    HANDSHAKE_DONE = auto()
    ANSWER_PENDING = auto()  # an answer waits for an upstream
    ANSWER_READY = auto()  # that answer has come
    BUFFER_FULL = auto()  # the transport holds more than it should
    BUFFER_DRAINED = auto()  # the transport has sent it
    CLOSE = auto()  # the connection was idle for too long, or got its last answer
    LEAVE = auto()  # this protocol has nothing to do with the connection any more


OPEN, WAITING, BLOCKED, WAITING_BLOCKED, HANDSHAKE, CLOSING, GONE = State

TRANSITIONS: Final = {
    (HANDSHAKE, Event.HANDSHAKE_DONE): OPEN,
    (OPEN, Event.ANSWER_PENDING): WAITING,
    (OPEN, Event.BUFFER_FULL): BLOCKED,
    (WAITING, Event.ANSWER_READY): OPEN,
    (WAITING, Event.BUFFER_FULL): WAITING_BLOCKED,
    (BLOCKED, Event.BUFFER_DRAINED): OPEN,
    (WAITING_BLOCKED, Event.ANSWER_READY): BLOCKED,
    (WAITING_BLOCKED, Event.BUFFER_DRAINED): WAITING,
    (OPEN, Event.CLOSE): CLOSING,
    (BLOCKED, Event.CLOSE): CLOSING,
    **{(state, Event.LEAVE): GONE for state in State},
}
"""Every other event leaves the state as it is."""


@implementer(IPushProducer, IHandshakeListener, IHalfCloseableProtocol)
class FastHttp(Protocol):
    """One connection of a client, until it becomes an event stream or the Klein path takes it over."""

    transport: Any  # a TCP or TLS connection
    factory: FastHttpFactory

    def __init__(self) -> None:
        self._state = OPEN
        self._held: list[bytes] = []  # received, but not answered yet
        self._held_size = 0
        self._needed = 0  # bytes that a request is known to have; with fewer it is not looked at again
        self._client_address = ""
        self.since = 0.0  # when the client last sent a request, or began the part of one that is not complete
        self.timeout = 0.0  # seconds from ``since`` to ``timed_out``

    def connectionMade(self) -> None:
        """Wait for requests, or for the end of the TLS handshake."""
        transport = self.transport
        transport.registerProducer(self, True)
        self._client_address = transport.getPeer().host
        self.since = self.factory.clock.seconds()
        self.timeout = self.factory.idle_timeout
        self.factory.open.add(self)
        if self.factory.writer.has_handshake:
            self._state = HANDSHAKE
            self.timeout = HEAD_DEADLINE  # an unfinished handshake holds 50 KB

    def handshakeCompleted(self) -> None:
        """Wait for requests."""
        self._on(Event.HANDSHAKE_DONE)
        self.since = self.factory.clock.seconds()
        self.timeout = self.factory.idle_timeout

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002  (Twisted's signature)
        """Forget the connection; an answer that is pending will be dropped."""
        self._on(Event.LEAVE)
        self.factory.open.discard(self)

    def readConnectionLost(self) -> None:
        """Close once the client, which sends nothing more, has the answers.

        In ``WAITING`` reading starts again after the answer, and ends again.
        """
        if self._state is OPEN:
            self._close()

    def writeConnectionLost(self) -> None:
        """Do nothing: this protocol never ends its side alone."""

    def dataReceived(self, data: bytes) -> None:
        """Answer every request that is complete, in order (RFC 9112, 9.3.2)."""
        if self._held:
            self._hold(data)
            if self._state is not OPEN or self._held_size < self._needed:
                return
            data = self._take_held()
        elif self._state is not OPEN:
            self._hold(data)
            return
        self._answer_all(data)

    def timed_out(self) -> None:
        """End a connection that was silent, or slow, for too long: by a 408 if a request has begun."""
        state, transport = self._state, self.transport
        if state is WAITING or state is WAITING_BLOCKED:
            return
        if state is CLOSING or state is HANDSHAKE:
            transport.abortConnection()
        elif self._held and state is OPEN:
            self._hand_over(self._take_held()).refuse(408)
        else:
            self._close()

    def in_use(self, now: float) -> bool:
        """Whether a request is in progress, or may follow at once because the client sent one in the last second."""
        return bool(self._held) or now - self.since < IN_USE_SECONDS

    def pauseProducing(self) -> None:
        """Answer and read no more requests: the client does not read the answers."""
        self._on(Event.BUFFER_FULL)
        self.since = self.factory.clock.seconds()
        self.timeout = UNREAD_TIMEOUT
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Continue with the next request."""
        self._on(Event.BUFFER_DRAINED)
        self.since = self.factory.clock.seconds()
        self.timeout = self.factory.idle_timeout
        self._resume()

    def stopProducing(self) -> None:
        """Do nothing: the connection is lost, and ``connectionLost`` follows."""

    def _on(self, event: Event) -> None:
        self._state = TRANSITIONS.get((self._state, event), self._state)

    def _answer_all(self, data: bytes) -> None:
        factory = self.factory
        now = factory.clock.seconds()
        matcher = factory.matcher
        if not factory.writer.speaks_http1(self.transport):
            self._hand_over_to(Http2Connection(factory), data)
            return
        start, size = 0, len(data)
        while start < size:
            end = data.find(b"\r\n\r\n", start) + 4
            if end == 3:  # not found: -1 + 4
                rest = data[start:]
                if may_be_simple(rest) or (self._may_switch(start) and PREFACE.startswith(rest)):
                    self._hold_part(rest, 0, HEAD_DEADLINE, now)
                else:
                    self._hand_over(rest)
                return
            head = matcher.match(data[start:end])
            if head is None:
                if self._may_switch(start) and data.startswith(PREFACE):
                    self._hand_over_to(Http2Connection(factory), data)
                else:
                    self._hand_over(data[start:])
                return
            stop = end + head.length
            if size < stop:
                self._hold_part(data[start:], stop - start, BODY_DEADLINE, now)
                return
            self.since = now
            self.timeout = factory.idle_timeout
            start, body = stop, data[end:stop]
            if not self._answer(head, body, now):
                if start < size and self._state is not GONE:
                    self._hold(data[start:])
                return

    def _may_switch(self, start: int) -> bool:
        """Whether a client may begin HTTP/2 at ``start`` of what it sent: TLS negotiates that before any byte."""
        return start == 0 and not self.factory.writer.has_handshake

    def _answer(self, head: RoutedHead, body: bytes, began: float) -> bool:
        """Answer one request; return whether the next one can be answered now."""
        bound = head.bound
        call = Call(head.method, head.path, head.parameters, head.query, head.headers, body, self._client_address)
        try:
            outcome = bound.answer(call)
        except Exception:  # noqa: BLE001  (a fault of ours costs one request)
            log_failure(bound.route.pattern, Failure())
            outcome = bound.with_common_headers(call, REQUEST_FAILED)
        if isinstance(outcome, Reply):
            self._reply(head, outcome, began)
        elif isinstance(outcome, StreamReply):
            return self._stream(head, outcome, began)
        else:
            self._answer_later(outcome, head, began)  # its result may be there already
        return self._state is OPEN

    def _answer_later(self, work: PendingReply, head: RoutedHead, began: float) -> None:
        """Answer when ``work`` has ended; what the client sends meanwhile is held."""
        site = self.factory.site
        self._on(Event.ANSWER_PENDING)
        site.answering += 1

        def failed(failure: Failure) -> AnyReply:
            log_failure(head.bound.route.pattern, failure)
            return _in_section(head, REQUEST_FAILED)

        def done(answered: AnyReply) -> None:
            site.answering -= 1
            self._on(Event.ANSWER_READY)
            if self._state is GONE:
                return
            self.since = self.factory.clock.seconds()
            if isinstance(answered, Reply):
                self._reply(head, answered, began)
            elif not self._stream(head, answered, began):
                self.transport.resumeProducing()
                return
            if site.draining:
                self._close()
            else:
                self._resume()

        shield(work).addErrback(failed).addCallback(done)

    def _resume(self) -> None:
        """Read again, and answer what was held, unless the state forbids it."""
        if self._state is OPEN or self._state is HANDSHAKE:
            self.transport.resumeProducing()
            if self._held:
                self._answer_all(self._take_held())

    def _reply(self, head: RoutedHead, reply: Reply, began: float) -> None:
        factory = self.factory
        now = factory.clock.seconds()
        factory.writer.write(self.transport, factory.encoder.encode(reply, now))
        factory.site.metrics.answered(head.bound.route.pattern, head.method, reply.status, now - began)

    def _stream(self, head: RoutedHead, reply: StreamReply, began: float) -> bool:
        """Make the connection a ``FastStream``; return whether it failed and the next request can be answered now."""
        factory = self.factory
        context = head.bound.context
        hub = context.hubs.get(reply.sdk.id)
        if hub is None:  # the SDK was removed between the answer and now
            self._reply(head, _in_section(head, SDK_NOT_LOADED), began)
            return self._state is OPEN
        now = factory.clock.seconds()
        factory.site.metrics.answered(head.bound.route.pattern, head.method, 200, now - began)
        self._leave()
        stream = FastStream(self.transport, factory.writer, reply.counter or context.state.streams, reply.address)
        stream.open(hub, reply, factory.encoder.encode_stream_head(reply.headers, now))
        return False

    def _hold_part(self, data: bytes, needed: int, timeout: float, now: float) -> None:
        """Hold the beginning of a request; its head and its body have a deadline each."""
        self._hold(data)
        self._needed = needed
        if self.timeout != timeout:
            self.timeout = timeout
            self.since = now

    def _hold(self, data: bytes) -> None:
        if self._state is CLOSING:
            return
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > PIPELINE_LIMIT and (self._state is WAITING or self._state is WAITING_BLOCKED):
            self.transport.pauseProducing()

    def _take_held(self) -> bytes:
        data = b"".join(self._held)
        self._held.clear()
        self._held_size = self._needed = 0
        return data

    def _close(self) -> None:
        """Close after everything is written; the client has ``CLOSE_TIMEOUT`` to read it."""
        self._on(Event.CLOSE)
        self._take_held()
        self.timeout += CLOSE_TIMEOUT
        self.factory.writer.flush()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _leave(self) -> None:
        self._on(Event.LEAVE)
        self.factory.open.discard(self)
        self.transport.unregisterProducer()

    def _hand_over(self, data: bytes) -> Any:
        """Let the Klein path serve this connection from ``data`` on; return its protocol."""
        return self._hand_over_to(self.factory.site.buildProtocol(self.transport.getPeer()), data)

    def _hand_over_to(self, protocol: Any, data: bytes) -> Any:
        self._leave()
        transport = self.transport
        self.factory.writer.flush()  # the Klein path writes to the transport itself
        self.factory.writer.switch_protocol(transport, protocol)
        protocol.makeConnection(transport)
        protocol.dataReceived(data)
        return protocol


def _in_section(head: RoutedHead, reply: Reply) -> Reply:
    """Return a reply that is not the route's own, with the headers of its section."""
    return head.bound.with_common_headers(Call(head.method, head.path, headers=head.headers), reply)


class FastHttpFactory(ServerFactory):
    """The factory of the main port's connections; ``site`` serves those that the Klein path takes over.

    ``writer`` is a ``TlsWriter`` where a TLS factory is wrapped around this one.
    """

    noisy = False
    protocol: Any = FastHttp

    def __init__(self, site: GatewaySite, clock: IReactorTime, writer: PlainWriter | None = None) -> None:
        self.site = site
        self.clock = clock
        self.wall = wall_clock(clock)
        self.encoder = ResponseEncoder(self.wall)
        self.http2_encoder = Http2HeadEncoder(self.wall)
        self.writer = PlainWriter() if writer is None else writer
        self.open: set[FastHttp] = set()
        self.http2: set[Http2Connection] = set()
        self.idle_timeout = site.routes.http.keep_alive_timeout
        self._routes: SiteRoutes | None = None
        self._matcher: RouteMatcher | None = None
        self._sweep_timer = Timer(clock)

    @property
    def matcher(self) -> RouteMatcher:
        """The routes under the current settings."""
        routes = self.site.routes
        if routes is not self._routes or self._matcher is None:
            self._routes = routes
            self.idle_timeout = routes.http.keep_alive_timeout
            self._matcher = KleinOnlyMatcher(routes.dispatcher) if self.site.draining else routes.matcher
        return self._matcher

    def startFactory(self) -> None:
        """Begin to end idle and late connections."""
        self._sweep_timer.start(SWEEP_SECONDS, self._sweep)

    def stopFactory(self) -> None:
        """Stop ending them."""
        self._sweep_timer.cancel()

    def begin_drain(self) -> None:
        """Close each HTTP/1.1 connection behind its next answer, and have HTTP/2 connections end.

        The next answers are the Klein path's.  HTTP/2 connections end once their requests have, see
        ``Http2Connection.begin_drain``; a later call reaches those that were opened meanwhile.
        """
        if not self.site.draining:
            self.site.draining = True
            self.encoder = LastResponseEncoder(self.wall)
            self._routes = None
        call_each([connection.begin_drain for connection in self.http2], _log, "the drain of a connection")

    def in_use(self) -> bool:
        """Whether a client is in the middle of a request over HTTP/1.1, or sent one in the last second."""
        now = self.clock.seconds()
        return any(each.in_use(now) for each in self.open) or any(each.in_use(now) for each in self.site.connections)

    def _sweep(self) -> None:
        self._sweep_timer.start(SWEEP_SECONDS, self._sweep)
        now = self.clock.seconds()
        late = [each for each in self.open if now - each.since > each.timeout]
        checks: list[Callable[[], None]] = [each.timed_out for each in late]
        checks += [partial(each.check, now) for each in self.http2]
        call_each(checks, _log, "the check of a connection's deadlines")
