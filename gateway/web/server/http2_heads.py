"""Heads of HTTP/2 answers, compressed by HPACK (RFC 7541) in a form that does not depend on the connection.

Fields are literals, or entries of the static table, and never enter a connection's dynamic table.  Heads can therefore
be kept for all connections together: encoding a head for one connection takes longer than evaluating a flag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpack.hpack import encode_integer
from hpack.table import HeaderTable

from gateway.web.server.response_bytes import ResponseEncoder

if TYPE_CHECKING:
    from gateway.web.values import HeaderLines

INDEXES = {field: number for number, field in enumerate(HeaderTable.STATIC_TABLE, 1)}
NAMES = {name: number for (name, _), number in reversed(INDEXES.items())}  # the first of several


class Http2HeadEncoder(ResponseEncoder):
    """Compresses the heads of answers; keeps those of the current second, because most repeat."""

    def compress(self, status: int, headers: HeaderLines, length: int | None, now: float) -> bytes:
        """Return the head of an answer that is sent at ``now``, seconds of the reactor's clock."""
        head = self._head(status, headers, now)
        return head if length is None else head + literal(b"content-length", b"%d" % length)

    def _new(self, status: int, headers: HeaderLines) -> bytes:
        fields = [(b":status", b"%d" % status), (b"date", self._date)]
        fields += [(name.lower(), value) for name, value in headers]
        return b"".join([encoded(*field) for field in fields])

    def _etag(self, value: bytes) -> bytes:
        return literal(b"etag", value)


def encoded(name: bytes, value: bytes) -> bytes:
    """Return a field, ``name`` in lower case, as an entry of the static table (6.1) or as a literal."""
    index = INDEXES.get((name, value))
    return literal(name, value) if index is None else bytes((0x80 | index,))


def literal(name: bytes, value: bytes) -> bytes:
    """Return a field as a literal without indexing (6.2.2), not compressed by Huffman's code."""
    index = NAMES.get(name)
    start = b"\0" + _text(name) if index is None else bytes(encode_integer(index, 4))
    return start + _text(value)


def _text(text: bytes) -> bytes:
    return bytes(encode_integer(len(text), 7)) + text
