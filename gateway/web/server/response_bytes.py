"""From a ``Reply`` to the bytes of an HTTP/1.1 answer, the same bytes that the Klein path sends."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from twisted.web.http import datetimeToString

from gateway.web.values import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.web.values import HeaderLines

CACHE_LIMIT = 256  # heads that are cached within a second; a full cache is emptied
BODILESS = frozenset({204, 304})
CLOSE = (b"Connection", b"close")
CHUNKED = (b"Transfer-Encoding", b"chunked")
STREAM_END: HeaderLines = ((b"Connection", b"keep-alive"), CHUNKED)


class ResponseEncoder:
    """Encodes answers; caches the heads of the current second, because most repeat.

    ``wall`` returns the Unix seconds for ``Date``; without it those are ``now``.
    """

    def __init__(self, wall: Callable[[], float] | None = None) -> None:
        self._wall = wall
        self._from = self._until = 0.0  # the times between which ``_date`` is right
        self._date = b""
        self._heads: dict[tuple[int, HeaderLines], bytes] = {}

    def encode(self, reply: Reply, now: float) -> bytes:
        """Return the bytes of an answer that is sent at ``now``, seconds of the reactor's clock."""
        head = self._head(reply.status, reply.headers, now)
        if reply.status in BODILESS:
            return head + b"\r\n"
        body = reply.body
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)

    def encode_stream_head(self, headers: HeaderLines, now: float) -> bytes:
        """Return the bytes of the head of an event stream, which is sent in chunks."""
        return self._head(200, headers + STREAM_END, now) + b"\r\n"

    def _head(self, status: int, headers: HeaderLines, now: float) -> bytes:
        if not self._from <= now < self._until:
            wall = now if self._wall is None else self._wall()
            self._from, self._until = now, now + 1 - wall % 1
            self._date = datetimeToString(wall)
            self._heads.clear()
        if headers and headers[-1][0] == b"Etag":  # often the only header in which two answers differ
            return self._head(status, headers[:-1], now) + self._etag(headers[-1][1])
        cached = self._heads.get((status, headers))
        if cached is None:
            cached = self._new(status, headers)
            if len(self._heads) >= CACHE_LIMIT:
                self._heads.clear()
            self._heads[status, headers] = cached
        return cached

    def _new(self, status: int, headers: HeaderLines) -> bytes:
        """Return a head that is not cached."""
        phrase = HTTPStatus(status).phrase.encode()
        return b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b" % (status, phrase, self._date, _lines(headers))

    def _etag(self, value: bytes) -> bytes:
        return b"Etag: %b\r\n" % value


class LastResponseEncoder(ResponseEncoder):
    """Encodes answers after which the connection is closed."""

    def encode(self, reply: Reply, now: float) -> bytes:
        """Return the bytes of the last answer of a connection."""
        return super().encode(Reply(reply.status, (CLOSE, *reply.headers), reply.body), now)

    def encode_stream_head(self, headers: HeaderLines, now: float) -> bytes:
        """Return the bytes of the head of an event stream, after which the connection is closed."""
        return self._head(200, (*headers, CLOSE, CHUNKED), now) + b"\r\n"


def _lines(headers: HeaderLines) -> bytes:
    """Return header lines; lines of one name are grouped at the place of the first."""
    if len({name for name, _ in headers}) == len(headers):
        return b"".join([b"%b: %b\r\n" % line for line in headers])
    grouped: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        grouped.setdefault(name, []).append(value)
    return b"".join(b"%b: %b\r\n" % (name, value) for name, values in grouped.items() for value in values)
