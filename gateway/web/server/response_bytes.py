"""From a ``Reply`` to the bytes of an HTTP/1.1 answer, as the reference carrier writes them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from twisted.web.http import datetimeToString

if TYPE_CHECKING:
    from gateway.web.values import HeaderLines, Reply

KNOWN_LIMIT = 256  # heads that are remembered within a second; of more all are forgotten
BODILESS = frozenset({204, 304})
STREAM_END: HeaderLines = ((b"Connection", b"keep-alive"), (b"Transfer-Encoding", b"chunked"))


class ResponseEncoder:
    """Writes answers; remembers the heads of the current second, which come again and again."""

    def __init__(self) -> None:
        self._second = -1
        self._date = b""
        self._heads: dict[tuple[int, HeaderLines], bytes] = {}

    def reply(self, reply: Reply, now: float) -> bytes:
        """Return the whole answer at ``now`` (Unix seconds)."""
        head = self._head(reply.status, reply.headers, now)
        if reply.status in BODILESS:
            return head + b"\r\n"
        body = reply.body
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)

    def stream_head(self, headers: HeaderLines, now: float) -> bytes:
        """Return the head of an event stream, which is sent in chunks."""
        return self._head(200, headers + STREAM_END, now) + b"\r\n"

    def _head(self, status: int, headers: HeaderLines, now: float) -> bytes:
        if int(now) != self._second:
            self._second = int(now)
            self._date = datetimeToString(now)
            self._heads.clear()
        if headers and headers[-1][0] == b"Etag":  # as a rule no two users have the same one, and all else is alike
            return b"%bEtag: %b\r\n" % (self._head(status, headers[:-1], now), headers[-1][1])
        known = self._heads.get((status, headers))
        if known is None:
            phrase = HTTPStatus(status).phrase.encode()
            known = b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b" % (status, phrase, self._date, _lines(headers))
            if len(self._heads) >= KNOWN_LIMIT:
                self._heads.clear()
            self._heads[status, headers] = known
        return known


def _lines(headers: HeaderLines) -> bytes:
    """Return header lines; lines of one name stand together where the first of them stood."""
    if len({name for name, _ in headers}) == len(headers):
        return b"".join([b"%b: %b\r\n" % line for line in headers])
    grouped: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        grouped.setdefault(name, []).append(value)
    return b"".join(b"%b: %b\r\n" % (name, value) for name, values in grouped.items() for value in values)
