"""The head of a request, read by llhttp; what is anything but plain is left to the reference carrier."""

from __future__ import annotations

import httptools

from gateway.web.server.http1 import (
    BODY_LIMIT,
    HEADER_COUNT_LIMIT,
    HEADER_LIMIT,
    LENGTH_DIGITS,
    REQUEST_LINE_LIMIT,
)

METHODS = {b"POST": "POST", b"GET": "GET", b"OPTIONS": "OPTIONS"}
STARTS = tuple(method + b" /" for method in METHODS)
HANDED_OVER = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade", b"te", b"trailer"})
"""Header fields that change how a message is framed or answered: such requests are the reference carrier's."""


class RequestHead:
    """A request's head: ``url`` is the raw target, ``headers`` maps lower-case names to values, in their order."""

    __slots__ = ("headers", "plain", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, list[bytes]] = {}
        self.plain = True

    def on_url(self, url: bytes) -> None:
        """Take the request target from llhttp."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header field from llhttp."""
        name = name.lower()
        if name in self.headers:
            self.headers[name].append(value.strip(b" \t"))
        else:
            self.headers[name] = [value.strip(b" \t")]
        if name in HANDED_OVER and not (name == b"connection" and value.lower() == b"keep-alive"):
            self.plain = False

    @property
    def length(self) -> int | None:
        """The number of bytes of the body; None when that is not plain, or over the limit."""
        given = self.headers.get(b"content-length")
        if given is None:
            return 0
        if len(given) != 1 or not given[0].isdigit() or len(given[0]) > LENGTH_DIGITS:
            return None
        length = int(given[0])
        return length if length <= BODY_LIMIT else None


def parse_head(raw: bytes) -> RequestHead | None:
    """Return a request's head (blank line included), or None when it is anything but plain."""
    lines = raw.count(b"\n")
    if lines != raw.count(b"\r\n") or lines != raw.count(b"\r") or b"\r\n " in raw or b"\r\n\t" in raw:
        return None  # a bare CR or LF, or a folded line
    if not plain_so_far(raw) or lines - 2 > HEADER_COUNT_LIMIT:
        return None
    head = RequestHead()
    try:
        httptools.HttpRequestParser(head).feed_data(raw)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    return head if head.plain and len(head.headers.get(b"host", ())) == 1 else None


def plain_so_far(data: bytes) -> bool:
    """Return whether ``data``, the beginning of a head or all of it, can be that of a plain one within the limits."""
    if len(data) < 9:  # shorter than the longest start, ``OPTIONS /``
        return any(start.startswith(data) or data.startswith(start) for start in STARTS)
    if not data.startswith(STARTS):
        return False
    end = data.find(b"\r\n")
    if end < 0:
        return len(data) <= REQUEST_LINE_LIMIT
    plain = data.endswith(b" HTTP/1.1", 0, end) and data.count(b" ", 0, end) == 2
    return plain and end <= REQUEST_LINE_LIMIT and len(data) - end <= HEADER_LIMIT
