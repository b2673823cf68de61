"""Where clients reach the gateway: what precedes a path of ours in a URL that an answer contains.

``http.public_url`` wins over ``X-Forwarded-Prefix``, which counts only from a trusted proxy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen

from gateway.web.auth import is_in

if TYPE_CHECKING:
    from gateway.web.auth import Network
    from gateway.web.values import Call

PREFIX_LIMIT = 255  # bytes; a longer prefix is ignored
# Segments of RFC 3986 without dot segments; never ``//host``, which would be another origin.
_PREFIX = re.compile(rb"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+")


@frozen
class PublicUrl:
    """The origin and the path prefix under which clients reach the gateway, and the longest URL that they may get."""

    origin: bytes = b""  # empty: that of the request
    prefix: bytes | None = None  # None: from X-Forwarded-Prefix
    max_bytes: int = 4096
    trusted_proxies: tuple[Network, ...] = ()

    @classmethod
    def from_settings(cls, url: str, max_bytes: int, trusted_proxies: tuple[Network, ...]) -> PublicUrl:
        """Return what the options ``http.public_url`` and ``http.max_stream_url`` name; an empty URL is none."""
        if not url:
            return cls(b"", None, max_bytes, trusted_proxies)
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}".encode()
        return cls(origin, parts.path.rstrip("/").encode(), max_bytes, trusted_proxies)

    def prefix_of(self, call: Call) -> bytes:
        """Return the path in front of ours for the client of ``call``; empty when the gateway is at the root."""
        if self.prefix is not None:
            return self.prefix
        if not self.trusted_proxies:
            return b""
        value = call.header(b"x-forwarded-prefix").rstrip(b"/")
        if not value or len(value) > PREFIX_LIMIT or not is_in(call.peer, self.trusted_proxies):
            return b""
        return value if _PREFIX.fullmatch(value) else b""

    def fits(self, path: bytes) -> bool:
        """Return whether the URL of ``path``, its prefix included, is short enough."""
        return len(self.origin) + len(path) <= self.max_bytes
