"""What goes into an answer and what comes out of it: plain values, independent of sockets, Klein and Twisted requests.

    server ──Call──► answer ──Reply | StreamReply (or a coroutine for one)──► server

Both servers, the fast one and Klein's, therefore send the same bytes.
Values that every request needs are msgspec Structs: a frozen attrs object takes eight times as long to create.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from gateway.streams import StreamOptions

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from typing import Any

    from gateway.flags import User
    from gateway.identity import Identity
    from gateway.web.callers import StreamCounter
    from gateway.web.ports import Sdk

HeaderLines = tuple[tuple[bytes, bytes], ...]

PLAIN = StreamOptions()


class Call(Struct, frozen=True):
    """One request.

    ``path`` is the raw, still escaped path; ``parameters`` are the parts of it that the pattern names, percent-decoded.
    ``headers`` maps lower-case names to their values in the order received.
    ``peer`` is the address of the other end of the connection, without a port.
    ``identity`` is who the user is, on routes that verify it; None where a request names its user.
    """

    method: str
    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    headers: Mapping[bytes, Sequence[bytes]] = field(default_factory=dict)
    body: bytes = b""
    peer: str = ""
    identity: Identity | None = None

    def header(self, name: bytes) -> bytes:
        """Return the first value of the header ``name`` (lower case); empty when it is absent."""
        values = self.headers.get(name)
        return values[0] if values else b""


class Reply(Struct, frozen=True):
    """One complete response. ``headers`` are in canonical case and in the order they are sent."""

    status: int
    headers: HeaderLines = ()
    body: bytes = b""


class StreamReply(Struct, frozen=True):
    """An event stream to open: status 200, ``headers``, then a subscription to ``key`` (None: all flags) of ``sdk``.

    The stream counts for ``address``, the client's address behind trusted proxies.
    """

    sdk: Sdk
    key: str | None
    user: User | None
    address: str
    headers: HeaderLines = ()
    options: StreamOptions = PLAIN
    counter: StreamCounter | None = None  # of a caller with a key; None: that of the process


if TYPE_CHECKING:
    AnyReply: TypeAlias = Reply | StreamReply
    PendingReply: TypeAlias = Coroutine[Any, Any, AnyReply]
    EventualReply: TypeAlias = AnyReply | PendingReply  # pending where the answer waits for an upstream

TEXT_HEADERS: HeaderLines = (
    (b"Content-Type", b"text/plain; charset=utf-8"),
    (b"X-Content-Type-Options", b"nosniff"),
)
JSON_HEADERS: HeaderLines = ((b"Content-Type", b"application/json"),)


def text(status: int, message: str) -> Reply:
    """Return a plain text reply that ends in a line feed, as every text error does."""
    return Reply(status, TEXT_HEADERS, message.encode("utf-8", "replace") + b"\n")


def json(body: bytes, status: int = 200) -> Reply:
    """Return a reply whose body is the JSON text ``body``."""
    return Reply(status, JSON_HEADERS, body)
