"""The fast carrier: HTTP/1.1 on a bare protocol, for the requests that come by the thousand.

    bytes ──► head found ──► Plan ──► answer ──► bytes            streams ──► FastStream
                  └── anything unusual: the connection goes to the Klein site, bytes and all, for good

It answers what is plain: one head, one Host, a Content-Length or no body, a route of the table. Whatever is malformed,
too long, old or rare is judged by ``BoundedHttp1`` alone, so the two carriers never read one request differently.
Answers are the same functions of values, and the same bytes, as the reference carrier's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.deferreds import Timer
from gateway.web.answers.lookup import REQUEST_FAILED, SDK_NOT_LOADED
from gateway.web.errors import log_failure, shield
from gateway.web.server.fast_stream import FastStream
from gateway.web.server.http1 import BODY_DEADLINE, HEAD_DEADLINE, IDLE_TIMEOUT
from gateway.web.server.request_head import plain_so_far
from gateway.web.server.response_bytes import ResponseEncoder
from gateway.web.server.route_matcher import RouteMatcher
from gateway.web.server.write_batch import PlainWriter
from gateway.web.values import Call, Reply, StreamReply

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.web.server.route_matcher import Plan
    from gateway.web.server.site import GatewaySite
    from gateway.web.values import AnyReply, PendingReply

SWEEP_SECONDS = 1.0  # between two looks for connections that are idle or late
CLOSE_TIMEOUT = 15.0  # seconds after that in which a client may still read what was sent to it; as there
PIPELINE_LIMIT = 64 * 1024  # bytes of later requests that are held while one waits; no more is read then


@implementer(IPushProducer, IHandshakeListener)
class FastHttp(Protocol):
    """One connection of a client, until it opens a stream or is handed over."""

    transport: Any
    factory: FastHttpFactory

    def __init__(self) -> None:
        self._held: list[bytes] = []  # received, but not answered yet
        self._held_size = 0
        self._needed = 0  # bytes without which another look at what is held is in vain
        self._waiting = False  # for an upstream: later requests have to wait, too
        self._full = False  # the client does not read its answers: it gets no more of them
        self._lost = False
        self._shaking = False  # hands, under TLS
        self._peer = ""
        self.since = 0.0  # when the client was last heard, or began what it has not finished
        self.deadline = IDLE_TIMEOUT

    def connectionMade(self) -> None:
        """Begin to listen."""
        transport = self.transport
        transport.registerProducer(self, True)
        self._peer = transport.getPeer().host
        self.since = self.factory.clock.seconds()
        self.factory.open.add(self)
        if self.factory.writer.has_handshake:
            self._shaking = True
            self.deadline = HEAD_DEADLINE  # a handshake that does not come to its end holds 50 KB

    def handshakeCompleted(self) -> None:
        """Begin to listen, under TLS."""
        self._shaking = False
        self.since = self.factory.clock.seconds()
        self.deadline = IDLE_TIMEOUT

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002  (Twisted's signature)
        """Forget the connection; an answer that is still being waited for is thrown away when it comes."""
        self._lost = True
        self.factory.open.discard(self)

    def dataReceived(self, data: bytes) -> None:
        """Answer every request that is complete, in their order (RFC 9112, 9.3.2)."""
        if self._held:
            self._hold(data)
            if self._waiting or self._full or self._held_size < self._needed:
                return
            data = self._taken()
        elif self._waiting or self._full:
            self._hold(data)
            return
        self._answer_all(data)

    def late(self) -> None:
        """The client was silent, or slow, for too long: close if idle, else let the channel say 408."""
        transport = self.transport
        if self._waiting:
            return
        if transport.disconnecting or self._shaking:  # and it has not even read what it was sent
            transport.abortConnection()
        elif self._held and not self._full:
            self._hand_over(self._taken()).refuse(408)
        else:
            self.deadline += CLOSE_TIMEOUT
            transport.unregisterProducer()
            transport.loseConnection()

    def pauseProducing(self) -> None:
        """Answer no more requests, and read none, while the answers are not read."""
        self._full = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on where it stopped."""
        self._full = False
        self.since = self.factory.clock.seconds()
        self._go_on()

    def stopProducing(self) -> None:
        """Told that the connection goes away; ``connectionLost`` does the work."""

    def _answer_all(self, data: bytes) -> None:
        factory = self.factory
        now = factory.clock.seconds()
        matcher = factory.matcher
        if not factory.writer.speaks_http1(self.transport):
            self._hand_over(data)
            return
        start, size = 0, len(data)
        while start < size:
            end = data.find(b"\r\n\r\n", start) + 4
            if end == 3:  # not found: -1 + 4
                rest = data[start:]
                if plain_so_far(rest):
                    self._await(rest, 0, HEAD_DEADLINE, now)
                else:
                    self._hand_over(rest)
                return
            plan = matcher.plan(data[start:end])
            if plan is None:
                self._hand_over(data[start:])
                return
            stop = end + plan.length
            if size < stop:
                self._await(data[start:], stop - start, BODY_DEADLINE, now)
                return
            self.since = now
            self.deadline = IDLE_TIMEOUT
            start, body = stop, data[end:stop]
            if not self._answer(plan, body, now):
                if start < size and not self._lost:
                    self._hold(data[start:])
                return

    def _answer(self, plan: Plan, body: bytes, began: float) -> bool:
        """Answer one request; False when the next one has to wait, or the connection is a stream now."""
        bound = plan.bound
        call = Call(plan.method, plan.path, plan.parameters, plan.query, plan.headers, body, self._peer)
        try:
            outcome = bound.answer(call)
        except Exception:  # noqa: BLE001  (a fault of ours costs one request)
            log_failure(bound.route.pattern, Failure())
            outcome = REQUEST_FAILED
        if isinstance(outcome, Reply):
            self._reply(plan, outcome, began)
        elif isinstance(outcome, StreamReply):
            return self._stream(plan, outcome, began)
        else:
            self._wait_for(outcome, plan, began)
            return not self._waiting and not self._full and not self._lost  # some work has ended before one can wait
        return not self._full

    def _wait_for(self, work: PendingReply, plan: Plan, began: float) -> None:
        """Answer when ``work`` has ended; what the client sends meanwhile is held."""
        site = self.factory.site
        self._waiting = True
        site.answering += 1

        def failed(failure: Failure) -> AnyReply:
            log_failure(plan.bound.route.pattern, failure)
            return REQUEST_FAILED

        def done(answered: AnyReply) -> None:
            site.answering -= 1
            self._waiting = False
            if self._lost:
                return
            self.since = self.factory.clock.seconds()
            if isinstance(answered, Reply):
                self._reply(plan, answered, began)
            elif not self._stream(plan, answered, began):
                self.transport.resumeProducing()
                return
            self._go_on()

        shield(work).addErrback(failed).addCallback(done)

    def _go_on(self) -> None:
        """Read again, and answer what was held."""
        if not self._waiting and not self._full:
            self.transport.resumeProducing()
            if self._held:
                self._answer_all(self._taken())

    def _reply(self, plan: Plan, reply: Reply, began: float) -> None:
        factory = self.factory
        now = factory.clock.seconds()
        factory.writer.write(self.transport, factory.renderer.reply(reply, now))
        factory.site.metrics.answered(plan.bound.route.pattern, plan.method, reply.status, now - began)

    def _stream(self, plan: Plan, reply: StreamReply, began: float) -> bool:
        """Give the connection to a ``FastStream``; True when there is no stream and the connection goes on."""
        factory = self.factory
        context = plan.bound.context
        hub = context.hubs.get(reply.sdk.id)
        if hub is None:  # the SDK went away between the answer and now
            self._reply(plan, SDK_NOT_LOADED, began)
            return not self._full
        now = factory.clock.seconds()
        factory.site.metrics.answered(plan.bound.route.pattern, plan.method, 200, now - began)
        self._leave()
        stream = FastStream(self.transport, factory.writer, context.state.streams, reply.address)
        stream.open(hub, reply, factory.renderer.stream_head(reply.headers, now))
        return False

    def _await(self, data: bytes, needed: int, deadline: float, now: float) -> None:
        """Keep the beginning of a request; its head and its body have a deadline each."""
        self._hold(data)
        self._needed = needed
        if self.deadline != deadline:
            self.deadline = deadline
            self.since = now

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_size += len(data)
        if self._waiting and self._held_size > PIPELINE_LIMIT:
            self.transport.pauseProducing()

    def _taken(self) -> bytes:
        data = b"".join(self._held)
        self._held.clear()
        self._held_size = self._needed = 0
        return data

    def _leave(self) -> None:
        """Have nothing to do with the connection any more."""
        self._lost = True
        self.factory.open.discard(self)
        self.transport.unregisterProducer()

    def _hand_over(self, data: bytes) -> Any:
        """Let the reference carrier serve this connection from here on; return its channel."""
        self._leave()
        transport = self.transport
        self.factory.writer.flush()  # the channel writes past it
        protocol = self.factory.site.buildProtocol(transport.getPeer())
        self.factory.writer.switch_protocol(transport, protocol)
        protocol.makeConnection(transport)
        protocol.dataReceived(data)
        return protocol.connection


class FastHttpFactory(ServerFactory):
    """The main port's factory: each connection begins on the wire; ``site`` takes what it hands over.

    ``writer`` is a ``TlsWriter`` where a TLS factory is wrapped around this one.
    """

    noisy = False
    protocol: Any = FastHttp

    def __init__(self, site: GatewaySite, clock: IReactorTime, writer: PlainWriter | None = None) -> None:
        self.site = site
        self.clock = clock
        self.renderer = ResponseEncoder()
        self.writer = PlainWriter() if writer is None else writer
        self.open: set[FastHttp] = set()
        self._page: Any = None
        self._matcher: RouteMatcher | None = None
        self._sweep = Timer(clock)

    @property
    def matcher(self) -> RouteMatcher:
        """The routes under the settings of the moment."""
        page = self.site.page
        if page is not self._page or self._matcher is None:
            self._page = page
            self._matcher = RouteMatcher(page.dispatcher)
        return self._matcher

    def startFactory(self) -> None:
        """Begin to look for idle and late connections."""
        self._sweep.start(SWEEP_SECONDS, self._look)

    def stopFactory(self) -> None:
        """Stop looking."""
        self._sweep.cancel()

    def _look(self) -> None:
        self._sweep.start(SWEEP_SECONDS, self._look)
        now = self.clock.seconds()
        for wire in [wire for wire in self.open if now - wire.since > wire.deadline]:
            wire.late()
