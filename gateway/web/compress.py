"""Compression: per answer for the small ones, once per Snapshot for the config file.

The rule is the replaced system's: compress when ``Accept-Encoding`` contains the letters ``gzip``, whatever its q says.
"""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import brotli
from attrs import define, field, frozen
from msgspec.structs import replace

if TYPE_CHECKING:
    from gateway.flags import Snapshot
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, HeaderLines, Reply

GZIP_LEVEL = 6  # the usual default: what the replaced system uses
BROTLI_QUALITY = 5  # about as fast as gzip's default and a tenth smaller; a config is encoded once per change
# ``br`` as a whole word, and not with q=0 (RFC 9110, 12.5.3): brotli is ours, so nobody relies on anything looser.
ACCEPTS_BROTLI = re.compile(rb"(?:^|,)[ \t]*br[ \t]*(?:$|,|;[ \t]*q=(?:1|0?\.0*[1-9]))", re.IGNORECASE)

VARY = (b"Vary", b"Accept-Encoding")
GZIPPED: HeaderLines = ((b"Content-Encoding", b"gzip"), VARY)
BROTLIED: HeaderLines = ((b"Content-Encoding", b"br"), VARY)


def wants_gzip(call: Call) -> bool:
    """Return whether an answer to ``call`` is gzipped."""
    return b"gzip" in call.header(b"accept-encoding")


def wants_brotli(call: Call) -> bool:
    """Return whether ``call`` names ``br`` among the encodings it accepts."""
    return ACCEPTS_BROTLI.search(call.header(b"accept-encoding")) is not None


def gzipped(reply: Reply) -> Reply:
    """Return ``reply`` with its body gzipped; one without a body only gets the headers."""
    body = gzip.compress(reply.body, GZIP_LEVEL, mtime=0) if reply.body else b""
    return replace(reply, headers=reply.headers + GZIPPED, body=body)


@frozen
class Encoded:
    """What was made of one Snapshot."""

    snapshot: Snapshot
    forms: dict[str, bytes] = field(factory=dict)


@define
class Encodings:
    """The config file's encodings, one Snapshot per SDK: a new Snapshot displaces the old one's."""

    _by_sdk: dict[str, Encoded] = field(factory=dict)

    def gzip(self, sdk: Sdk, snapshot: Snapshot) -> bytes:
        """Return the gzipped config body of ``snapshot``."""
        forms = self._forms(sdk, snapshot)
        if "gzip" not in forms:
            forms["gzip"] = gzip.compress(snapshot.body, GZIP_LEVEL, mtime=0)
        return forms["gzip"]

    def brotli(self, sdk: Sdk, snapshot: Snapshot) -> bytes:
        """Return the brotli form of the config body of ``snapshot``."""
        forms = self._forms(sdk, snapshot)
        if "br" not in forms:
            forms["br"] = brotli.compress(snapshot.body, quality=BROTLI_QUALITY)
        return forms["br"]

    def _forms(self, sdk: Sdk, snapshot: Snapshot) -> dict[str, bytes]:
        known = self._by_sdk.get(sdk.id)
        if known is None or known.snapshot is not snapshot:
            known = self._by_sdk[sdk.id] = Encoded(snapshot)
        return known.forms
