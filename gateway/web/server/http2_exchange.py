"""One request on an HTTP/2 connection, and the event stream that its answer may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct

from gateway.text import is_host
from gateway.web.server.http1 import BODY_DEADLINE, HEADER_COUNT_LIMIT, HEADER_LIMIT, REQUEST_LINE_LIMIT
from gateway.web.server.stream_outlet import StreamOutlet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from gateway.streams import Hub
    from gateway.web.callers import StreamCounter
    from gateway.web.server.http2_heads import Http2HeadEncoder
    from gateway.web.server.route_matcher import RouteMatcher
    from gateway.web.server.site import GatewaySite
    from gateway.web.server.write_batch import PlainWriter
    from gateway.web.values import StreamReply


class Head(Struct, frozen=True):
    """The head of a request; a connection shares it among requests with equal heads."""

    method: str
    target: bytes
    fields: dict[bytes, list[bytes]]  # names in lower case; ``host`` is the authority
    fault: int = 0  # the status to refuse the request with
    expects_continue: bool = False


NO_HEAD = Head("", b"", {})


def parse_head(headers: Sequence[tuple[bytes, bytes]]) -> Head:
    """Return the head that these header fields make; h2 has checked that they are well-formed."""
    fields: dict[bytes, list[bytes]] = {}
    pseudo = {b":method": b"", b":path": b"", b":authority": b""}
    for name, value in headers:
        if name in pseudo:
            pseudo[name] = value
        elif not name.startswith(b":"):
            fields.setdefault(name, []).append(value.strip(b" \t"))
    method, target = pseudo[b":method"].decode("ascii", "replace"), pseudo[b":path"]
    fault = _fault(method, target, fields)
    if pseudo[b":authority"]:
        fields[b"host"] = [pseudo[b":authority"]]
    if not fault and not all(is_host(host) for host in fields.get(b"host", ())):
        fault = 400
    expects_continue = fields.get(b"expect", [b""])[0].lower() == b"100-continue"
    return Head(method, target, fields, fault, expects_continue)


def _fault(method: str, target: bytes, fields: dict[bytes, list[bytes]]) -> int:
    """Return the status to refuse the head with, or 0."""
    if len(target) > REQUEST_LINE_LIMIT:
        return 414
    count = size = 0
    for name, values in fields.items():
        count += len(values)
        size += sum(len(name) + len(value) for value in values)
    if size > HEADER_LIMIT or count > HEADER_COUNT_LIMIT:
        return 431
    return 0 if target.startswith(b"/") or (target == b"*" and method == "OPTIONS") else 400


class Exchange:
    """One request of a connection and its answer, which may be an event stream."""

    __slots__ = (
        "answering", "began", "body", "deadline", "head", "last", "moved", "number", "outlet", "size", "unsent",
        "withheld",
    )  # fmt: skip

    def __init__(self, number: int, head: Head, now: float) -> None:
        self.number: Final = number  # h2's stream id
        self.head = head
        self.body: list[bytes] = []
        self.size = 0  # bytes of the body so far
        self.withheld = 0  # of them, bytes for which the client was given no new window
        self.deadline = now + BODY_DEADLINE
        self.began = self.moved = now  # ``moved``: when a part of the answer was last sent
        self.unsent = bytearray()
        self.last = False  # whether the answer ends behind ``unsent``
        self.answering = False  # whether a shutdown waits for it
        self.outlet: EventStream | None = None

    def end_answering(self, site: GatewaySite) -> None:
        """Leave the answers that a shutdown waits for."""
        if self.answering:
            self.answering = False
            site.answering -= 1


class Server(Protocol):
    """What the connections of one port share; see ``FastHttpFactory``."""

    site: GatewaySite
    clock: IReactorTime
    wall: Callable[[], float]  # Unix seconds
    writer: PlainWriter
    http2_encoder: Http2HeadEncoder
    http2: set[Any]  # the open connections

    @property
    def matcher(self) -> RouteMatcher:
        """The routes under the current settings."""


class Connection(Protocol):
    """The connection of an exchange; see ``Http2Connection``."""

    transport: Any

    def is_open(self, exchange: Exchange) -> bool:
        """Return whether the request can still be answered."""

    def take_body(self, exchange: Exchange) -> bytes:
        """Return the body and hold it no more."""

    def begin_answer(self, exchange: Exchange, head: bytes, *, last: bool = False) -> None:
        """Send the compressed head of an answer; ``last`` if it has no body."""

    def send(self, exchange: Exchange, data: bytes, *, last: bool = False) -> None:
        """Send ``data`` as the client's windows allow; ``last`` ends the answer behind it."""

    def pump(self) -> None:
        """Write what is ready."""

    def drop(self, exchange: Exchange) -> None:
        """Drop an event stream and what is unsent of it."""


class EventStream(StreamOutlet):
    """An open event stream."""

    __slots__ = ("_connection", "_exchange")

    def __init__(self, connection: Connection, exchange: Exchange, streams: StreamCounter, address: str) -> None:
        super().__init__(streams, address)
        exchange.head = NO_HEAD  # what a stream needs of it is in its subscription
        self._connection = connection
        self._exchange: Exchange | None = exchange

    @property
    def is_gone(self) -> bool:
        """See ``StreamOutlet``."""
        return self._exchange is None

    def open(self, hub: Hub, reply: StreamReply) -> None:
        """Subscribe; the head and the first event leave in one write."""
        self._streams.opened(self._address)
        self._subscribe(hub, reply)

    def write(self, data: bytes) -> None:
        """Send ``data``, unless the stream has ended."""
        if self._exchange is not None and not self._exchange.last:
            self._connection.send(self._exchange, data)

    def finish(self) -> None:
        """End the answer behind what is unsent; the connection stays open."""
        if self._exchange is not None:
            self._connection.send(self._exchange, b"", last=True)

    def abort(self) -> None:
        """Drop the stream and what is unsent."""
        if self._exchange is not None:
            self._connection.drop(self._exchange)

    def ended(self) -> None:
        """End the subscription: the client has left, or everything is sent."""
        if self._exchange is not None:
            self._exchange = None
            self._unsubscribe()
