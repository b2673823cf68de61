"""Compression: of each reply for small bodies, once per Snapshot for the config file.

ConfigCat Proxy compresses when ``Accept-Encoding`` contains the letters ``gzip``, whatever its q says; so do we.
"""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import brotli
from attrs import define, field
from msgspec.structs import replace

if TYPE_CHECKING:
    from gateway.flags import Snapshot
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, HeaderLines, Reply

GZIP_LEVEL = 6  # gzip's default, which ConfigCat Proxy uses
BROTLI_QUALITY = 5  # about as fast as gzip's default and a tenth smaller; a config is encoded once per change
# ``br`` as a whole word, and not with q=0 (RFC 9110, 12.5.3); ConfigCat Proxy has no brotli to be compatible with.
ACCEPTS_BROTLI = re.compile(rb"(?:^|,)[ \t]*br[ \t]*(?:$|,|;[ \t]*q=(?:1|0?\.0*[1-9]))", re.IGNORECASE)

VARY = (b"Vary", b"Accept-Encoding")
GZIP_HEADERS: HeaderLines = ((b"Content-Encoding", b"gzip"), VARY)
BROTLI_HEADERS: HeaderLines = ((b"Content-Encoding", b"br"), VARY)


def wants_gzip(call: Call) -> bool:
    """Return whether the reply to ``call`` is gzipped."""
    return b"gzip" in call.header(b"accept-encoding")


def wants_brotli(call: Call) -> bool:
    """Return whether ``call`` lists ``br`` among the encodings it accepts."""
    return ACCEPTS_BROTLI.search(call.header(b"accept-encoding")) is not None


def gzipped(reply: Reply) -> Reply:
    """Return ``reply`` with its body gzipped; a reply without a body only gets the headers."""
    body = gzip.compress(reply.body, GZIP_LEVEL, mtime=0) if reply.body else b""
    return replace(reply, headers=reply.headers + GZIP_HEADERS, body=body)


@define
class ConfigEncodings:
    """The compressed config files, of the current Snapshot of each SDK."""

    _by_sdk: dict[str, tuple[Snapshot, dict[bytes, bytes]]] = field(factory=dict)

    def body(self, sdk: Sdk, snapshot: Snapshot, encoding: HeaderLines) -> bytes:
        """Return the config of ``snapshot`` in ``encoding``: ``GZIP_HEADERS`` or ``BROTLI_HEADERS``."""
        known = self._by_sdk.get(sdk.id)
        if known is None or known[0] is not snapshot:
            known = self._by_sdk[sdk.id] = snapshot, {}
        bodies, name = known[1], encoding[0][1]
        if name not in bodies:
            if encoding is BROTLI_HEADERS:
                bodies[name] = brotli.compress(snapshot.body, quality=BROTLI_QUALITY)
            else:
                bodies[name] = gzip.compress(snapshot.body, GZIP_LEVEL, mtime=0)
        return bodies[name]
