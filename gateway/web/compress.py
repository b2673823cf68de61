"""Compression: of each reply for small bodies, once per Snapshot for the config file.

Brotli is for the config file.  A client that refuses everything, no coding included, gets an answer without coding.
"""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

import brotli
from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from gateway.text import WantedCodings, read_accept_encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Snapshot
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, HeaderLines, Reply

GZIP_LEVEL = 6  # gzip's default, which ConfigCat Proxy uses
BROTLI_QUALITY = 5  # about as fast as gzip's default and a tenth smaller; a config is encoded once per change
PIECE = 64 * 1024  # bytes of a config file compressed per turn of the reactor: 1 to 3 ms
CACHED_LENGTH = 256  # bytes of a field whose result is cached; browsers send some 30
CACHE_SIZE = 256

VARY = (b"Vary", b"Accept-Encoding")
GZIP_HEADERS: HeaderLines = ((b"Content-Encoding", b"gzip"), VARY)
BROTLI_HEADERS: HeaderLines = ((b"Content-Encoding", b"br"), VARY)


NOTHING = WantedCodings(gzip=False, brotli=False)


def wants_gzip(call: Call) -> bool:
    """Return whether the reply to ``call`` is gzipped, unless it is compressed by brotli."""
    return _wanted(call).gzip


def wants_brotli(call: Call) -> bool:
    """Return whether the reply to ``call`` is compressed by brotli, if the route has it."""
    return _wanted(call).brotli


def _wanted(call: Call) -> WantedCodings:
    fields = call.headers.get(b"accept-encoding")
    if not fields:
        return NOTHING
    field = fields[0] if len(fields) == 1 else b",".join(fields)
    return _read_cached(field) if len(field) <= CACHED_LENGTH else read_accept_encoding(field)


_read_cached = lru_cache(CACHE_SIZE)(read_accept_encoding)


def gzipped(reply: Reply) -> Reply:
    """Return ``reply`` with its body gzipped; a reply without a body only gets the headers."""
    body = gzip.compress(reply.body, GZIP_LEVEL, mtime=0) if reply.body else b""
    return replace(reply, headers=reply.headers + GZIP_HEADERS, body=body)


@define
class ConfigEncodings:
    """The compressed config files, of the current Snapshot of each SDK."""

    _by_sdk: dict[str, tuple[Snapshot, dict[bytes, bytes]]] = field(factory=dict)
    _waiting: dict[tuple[bytes, bytes], list[Deferred[bytes]]] = field(factory=dict)  # by coding and body

    def body(self, sdk: Sdk, snapshot: Snapshot, encoding: HeaderLines, clock: IReactorTime) -> bytes | Deferred[bytes]:
        """Return the config of ``snapshot`` in ``encoding``: ``GZIP_HEADERS`` or ``BROTLI_HEADERS``.

        A large one is compressed a piece per turn of the reactor, once for all requests; a Deferred stands for it,
        which never fails, and may be cancelled.
        """
        known = self._by_sdk.get(sdk.id)
        if known is None or known[0] is not snapshot:
            known = self._by_sdk[sdk.id] = snapshot, {}
        bodies, name = known[1], encoding[0][1]
        if name in bodies:
            return bodies[name]
        steps = _compressed_in_steps(snapshot.body, name)
        if len(snapshot.body) <= PIECE:
            bodies[name] = b"".join(steps)
            return bodies[name]
        place = name, snapshot.body
        waiting = self._waiting.get(place)
        if waiting is None:
            waiting = self._waiting[place] = []
            clock.callLater(0, self._continue, place, steps, [], bodies, clock)
        answer: Deferred[bytes] = Deferred()
        waiting.append(answer)
        return answer

    def _continue(
        self,
        place: tuple[bytes, bytes],
        steps: Iterator[bytes],
        parts: list[bytes],
        bodies: dict[bytes, bytes],
        clock: IReactorTime,
    ) -> None:
        part = next(steps, None)
        if part is not None:
            parts.append(part)
            clock.callLater(0, self._continue, place, steps, parts, bodies, clock)
            return
        body = bodies[place[0]] = b"".join(parts)
        for answer in self._waiting.pop(place):
            if not answer.called:
                answer.callback(body)


def _compressed_in_steps(body: bytes, name: bytes) -> Iterator[bytes]:
    pieces = (body[start : start + PIECE] for start in range(0, len(body), PIECE))
    if name == b"br":
        compressor = brotli.Compressor(quality=BROTLI_QUALITY)
        for piece in pieces:
            yield compressor.process(piece)
        yield compressor.finish()
        return
    gzipper = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)  # with the header of gzip
    for piece in pieces:
        yield gzipper.compress(piece)
    yield gzipper.flush()
