"""The fast carrier: HTTP/1.1 on a bare protocol, for the requests that come by the thousand.

    bytes ──► head found ──► llhttp ──► Match ──► answer ──► bytes            streams ──► WireStream
                  └── anything unusual: the connection goes to the Klein site, bytes and all, for good

It answers what is plain: one head, one Host, a Content-Length or no body, a route of the table. Whatever is malformed,
too long, old or rare is judged by ``Channel`` alone, so the two carriers never read one request differently.
Answers are the same functions of values, and the same bytes, as the reference carrier's.
"""

# mypy: allow-untyped-calls
# twisted.web.http is not annotated.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httptools
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.web.carrier import BROKEN, shielded, tell
from gateway.web.channel import (
    BODY_DEADLINE,
    BODY_LIMIT,
    HEAD_DEADLINE,
    HEADER_COUNT_LIMIT,
    HEADER_LIMIT,
    LENGTH_DIGITS,
    REQUEST_LINE_LIMIT,
)
from gateway.web.locate import INVALID
from gateway.web.matching import Match, Matcher
from gateway.web.rendering import Renderer
from gateway.web.values import Call, Reply, StreamReply
from gateway.web.wirestream import Chunks, WireStream, send

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from gateway.web.site import GatewaySite
    from gateway.web.values import Answered

IDLE_TIMEOUT = 75.0  # seconds a kept-alive connection may be silent; as on the reference carrier
SWEEP_SECONDS = 1.0  # between two looks for connections that are idle or late
PIPELINE_LIMIT = 64 * 1024  # bytes of later requests that are held while one waits for an upstream
PLAIN_STARTS = (b"POST /", b"GET /", b"OPTIONS /")
HANDED_OVER = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade", b"te", b"trailer"})
"""Header fields that change how a message is framed or answered: such requests are the reference carrier's."""


class Head:
    """The request that is being parsed; llhttp calls back."""

    __slots__ = ("count", "headers", "plain", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, list[bytes]] = {}
        self.count = 0
        self.plain = True

    def on_url(self, url: bytes) -> None:
        """Take the request target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header field."""
        self.count += 1
        name = name.lower()
        if name in HANDED_OVER and not (name == b"connection" and value.lower() == b"keep-alive"):
            self.plain = False
        known = self.headers.get(name)
        if known is None:
            self.headers[name] = [value.strip(b" \t")]
        else:
            known.append(value.strip(b" \t"))


@implementer(IPushProducer)
class Wire(Protocol):
    """One connection of a client, until it opens a stream or is handed over."""

    transport: Any
    factory: WireFactory

    def __init__(self) -> None:
        self._buffer = b""
        self._waiting = False
        self._producing = False
        self._lost = False
        self.since = 0.0  # when the client was last heard, or began what it has not finished
        self.deadline = IDLE_TIMEOUT

    def connectionMade(self) -> None:
        """Begin to listen."""
        self.transport.setTcpNoDelay(True)
        self.since = self.factory.clock.seconds()
        self.factory.open.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002  (Twisted's signature)
        """Forget the connection; an answer that is still being waited for is thrown away when it comes."""
        self._lost = True
        self.factory.open.discard(self)

    def dataReceived(self, data: bytes) -> None:
        """Answer every request that is complete."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if self._waiting:
            self._hold(data)
            return
        self._answer_all(data)

    def late(self) -> None:
        """The client was silent, or slow, for too long: close if idle, else let the channel say 408."""
        if self._waiting:
            return
        if self._buffer:
            self._hand_over(self._buffer).refuse(408)
        else:
            self.transport.loseConnection()

    def pauseProducing(self) -> None:
        """Read no more requests while their answers are not read."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read requests again."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Told that the connection goes away; ``connectionLost`` does the work."""

    def _answer_all(self, data: bytes) -> None:
        now = self.since = self.factory.clock.seconds()
        self.deadline = IDLE_TIMEOUT
        while data and not self._waiting:
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                self._await_more(data, HEAD_DEADLINE)
                return
            head = parsed(data[:end])
            if head is None:
                self._hand_over(data)
                return
            match = self.factory.matcher.find(head.url)
            length = body_length(head)
            method = data[: data.find(b" ")].decode()
            if match is None or length is None or method not in match.bound.route.methods:
                self._hand_over(data)
                return
            if len(data) < end + length:
                self._await_more(data, BODY_DEADLINE)
                return
            body = data[end : end + length]
            data = data[end + length :]
            if not self._answer(match, method, head, body, now):
                return
        if data:
            self._hold(data)

    def _answer(self, match: Match, method: str, head: Head, body: bytes, began: float) -> bool:
        """Answer one request; False when the connection is a stream now, or waits."""
        bound = match.bound
        target = match.target
        call = Call(method, target.path, match.parameters, target.query, head.headers, body, self.transport.client[0])
        try:
            outcome = bound.answer(call)
        except Exception:  # noqa: BLE001  (a fault of ours costs one request)
            tell(bound.route.pattern, Failure())
            outcome = BROKEN
        if isinstance(outcome, Reply):
            self._reply(match, method, outcome, began)
            return True
        if isinstance(outcome, StreamReply):
            return self._stream(match, method, outcome, began)
        self._wait_for(outcome, match, method, began)
        return False

    def _wait_for(self, work: Awaitable[Answered], match: Match, method: str, began: float) -> None:
        """Answer when ``work`` has ended; what the client sends meanwhile is held."""
        site = self.factory.site
        self._waiting = True
        site.answering += 1

        def failed(failure: Failure) -> Answered:
            tell(match.bound.route.pattern, failure)
            return BROKEN

        def done(answered: Answered) -> None:
            site.answering -= 1
            self._waiting = False
            if self._lost:
                return
            if isinstance(answered, StreamReply):
                self._stream(match, method, answered, began)
                return
            self._reply(match, method, answered, began)
            data, self._buffer = self._buffer, b""
            self.transport.resumeProducing()
            if data:
                self._answer_all(data)

        shielded(work).addErrback(failed).addCallback(done)

    def _reply(self, match: Match, method: str, reply: Reply, began: float) -> None:
        factory = self.factory
        now = factory.clock.seconds()
        self._send(factory.renderer.reply(reply, now))
        factory.site.metrics.answered(match.bound.route.pattern, method, reply.status, now - began)

    def _stream(self, match: Match, method: str, reply: StreamReply, began: float) -> bool:
        """Give the connection to a ``WireStream``; True when there is no stream and the connection goes on."""
        factory = self.factory
        context = match.bound.context
        hub = context.hubs.get(reply.sdk.id)
        if hub is None:  # the SDK went away between the answer and now
            self._reply(match, method, INVALID, began)
            return True
        now = factory.clock.seconds()
        factory.site.metrics.answered(match.bound.route.pattern, method, 200, now - began)
        self._leave()
        self._lost = True
        stream = WireStream(self.transport, factory.chunks, context.memory.streams, reply.address)
        stream.open(hub, reply, factory.renderer.stream_head(reply.headers, now))
        return False

    def _send(self, data: bytes) -> None:
        send(self.transport, data)
        unsent = self.transport.dataBuffer or self.transport._tempDataBuffer  # noqa: SLF001  (see ``send``)
        if unsent and not self._producing:
            self._producing = True
            self.transport.registerProducer(self, True)

    def _await_more(self, data: bytes, deadline: float) -> None:
        if len(data) > REQUEST_LINE_LIMIT + HEADER_LIMIT + BODY_LIMIT:
            self._hand_over(data)
            return
        self._buffer = data
        self.deadline = deadline

    def _hold(self, data: bytes) -> None:
        """Keep later requests until the one that waits is answered; read no more than the limit of them."""
        self._buffer = data
        if len(data) > PIPELINE_LIMIT:
            self.transport.pauseProducing()

    def _leave(self) -> None:
        self.factory.open.discard(self)
        if self._producing:
            self.transport.unregisterProducer()
            self._producing = False

    def _hand_over(self, data: bytes) -> Any:
        """Let the reference carrier serve this connection from here on; return its channel."""
        self._leave()
        self._lost = True
        transport = self.transport
        protocol = self.factory.site.buildProtocol(transport.getPeer())
        transport.protocol = protocol
        protocol.makeConnection(transport)
        protocol.dataReceived(data)
        return protocol._channel  # noqa: SLF001  (Twisted's generic protocol has no public name for it)


def parsed(raw: bytes) -> Head | None:
    """Return a request's head, or None when it is anything but plain."""
    lines = raw.count(b"\n")
    if lines != raw.count(b"\r\n") or lines != raw.count(b"\r") or b"\r\n " in raw or b"\r\n\t" in raw:
        return None  # a bare CR or LF, or a folded line
    first = raw.find(b"\r\n")
    if not raw.startswith(PLAIN_STARTS) or not raw.endswith(b" HTTP/1.1", 0, first) or len(raw) - first > HEADER_LIMIT:
        return None
    head = Head()
    try:
        httptools.HttpRequestParser(head).feed_data(raw)
    except httptools.HttpParserError:
        return None
    if not head.plain or head.count > HEADER_COUNT_LIMIT or len(head.headers.get(b"host", ())) != 1:
        return None
    return head


def body_length(head: Head) -> int | None:
    """Return the number of bytes of the body, or None when that is not plain or over the limit."""
    given = head.headers.get(b"content-length")
    if given is None:
        return 0
    if len(given) != 1 or not given[0].isdigit() or len(given[0]) > LENGTH_DIGITS:
        return None
    length = int(given[0])
    return length if length <= BODY_LIMIT else None


class WireFactory(ServerFactory):
    """The main port's factory on plain TCP: each connection begins on the wire; ``site`` takes what it hands over."""

    noisy = False
    protocol: Any = Wire

    def __init__(self, site: GatewaySite, clock: IReactorTime) -> None:
        self.site = site
        self.clock = clock
        self.renderer = Renderer()
        self.chunks = Chunks()
        self.open: set[Wire] = set()
        self._page: Any = None
        self._matcher: Matcher | None = None
        self._sweep: IDelayedCall | None = None

    @property
    def matcher(self) -> Matcher:
        """The routes under the settings of the moment."""
        page = self.site.page
        if page is not self._page or self._matcher is None:
            self._page = page
            self._matcher = Matcher(page.web)
        return self._matcher

    def startFactory(self) -> None:
        """Begin to look for idle and late connections."""
        self._sweep = self.clock.callLater(SWEEP_SECONDS, self._look)

    def stopFactory(self) -> None:
        """Stop looking."""
        if self._sweep is not None and self._sweep.active():
            self._sweep.cancel()
        self._sweep = None

    def _look(self) -> None:
        self._sweep = self.clock.callLater(SWEEP_SECONDS, self._look)
        now = self.clock.seconds()
        for wire in [wire for wire in self.open if now - wire.since > wire.deadline]:
            wire.late()
