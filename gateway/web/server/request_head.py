"""Parse the head of a simple request by llhttp; every other head, and its limits (``http1``), is left to Klein."""

import re

import httptools

from gateway.text import is_host
from gateway.web.server.http1 import (
    BODY_LIMIT,
    HEADER_COUNT_LIMIT,
    HEADER_LIMIT,
    LENGTH_DIGITS,
    REQUEST_LINE_LIMIT,
)

METHODS = {b"POST": "POST", b"GET": "GET", b"OPTIONS": "OPTIONS"}
SIMPLE_STARTS = tuple(method + b" /" for method in METHODS)
KLEIN_ONLY_FIELDS = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade", b"te", b"trailer"})
"""Header fields that change how a message is framed or answered."""
# A request line that llhttp accepts in front of any fields: its target has only characters that need no look at them.
PLAIN_LINE = re.compile(rb"(GET|POST|OPTIONS) (/[A-Za-z0-9/_.~=%&?+,:;@!*-]*) HTTP/1\.1(?=\r\n)")


class RequestHead:
    """A request's head: ``url`` is the raw target, ``headers`` maps lower-case names to their values in order."""

    __slots__ = ("headers", "is_simple", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, list[bytes]] = {}
        self.is_simple = True

    def on_url(self, url: bytes) -> None:
        """Add a piece of the request target; called by llhttp."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add one header field; called by llhttp."""
        name = name.lower()
        if name in self.headers:
            self.headers[name].append(value.strip(b" \t"))
        else:
            self.headers[name] = [value.strip(b" \t")]
        if name in KLEIN_ONLY_FIELDS and not (name == b"connection" and value.lower() == b"keep-alive"):
            self.is_simple = False

    @property
    def length(self) -> int | None:
        """The body's length in bytes; None if it is malformed or over the limit."""
        given = self.headers.get(b"content-length")
        if given is None:
            return 0
        if len(given) != 1 or not given[0].isdigit() or len(given[0]) > LENGTH_DIGITS:
            return None
        length = int(given[0])
        return length if length <= BODY_LIMIT else None


def parse_head(raw: bytes) -> RequestHead | None:
    """Return the parsed head (``raw`` includes the blank line), or None if the request is not simple."""
    lines = raw.count(b"\n")
    if lines != raw.count(b"\r\n") or lines != raw.count(b"\r") or b"\r\n " in raw or b"\r\n\t" in raw:
        return None  # a bare CR or LF, or a folded line
    if not may_be_simple(raw) or lines - 2 > HEADER_COUNT_LIMIT:
        return None
    head = RequestHead()
    try:
        httptools.HttpRequestParser(head).feed_data(raw)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    hosts = head.headers.get(b"host", ())
    return head if head.is_simple and len(hosts) == 1 and is_host(hosts[0]) else None


def may_be_simple(data: bytes) -> bool:
    """Return whether ``data``, a head or its beginning, can belong to a simple request within the limits."""
    if len(data) < 9:  # shorter than the longest start, ``OPTIONS /``
        return any(start.startswith(data) or data.startswith(start) for start in SIMPLE_STARTS)
    if not data.startswith(SIMPLE_STARTS):
        return False
    end = data.find(b"\r\n")
    if end < 0:
        return len(data) <= REQUEST_LINE_LIMIT
    simple = data.endswith(b" HTTP/1.1", 0, end) and data.count(b" ", 0, end) == 2
    return simple and end <= REQUEST_LINE_LIMIT and len(data) - end <= HEADER_LIMIT
