"""Compression: of each reply for small bodies, once per Snapshot for the config file.

The coding is the one with the highest weight in ``Accept-Encoding`` (RFC 9110, 12.5.3).  Of equal weights brotli comes
before gzip, and both before no coding; brotli is for the config file, and only for clients that name it.  A client that
refuses everything, no coding included, gets an answer without coding.
"""

from __future__ import annotations

import gzip
import re
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import brotli
from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Snapshot
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, HeaderLines, Reply

GZIP_LEVEL = 6  # gzip's default, which ConfigCat Proxy uses
BROTLI_QUALITY = 5  # about as fast as gzip's default and a tenth smaller; a config is encoded once per change
WEIGHT = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")  # RFC 9110, 12.4.2
PIECE = 64 * 1024  # bytes of a config file compressed per turn of the reactor: 1 to 3 ms
CODINGS_LIMIT = 32  # codings of a request that are read; there are about ten registered ones
CACHED_LENGTH = 256  # bytes of a field whose result is cached; browsers send some 30
CACHE_SIZE = 256

VARY = (b"Vary", b"Accept-Encoding")
GZIP_HEADERS: HeaderLines = ((b"Content-Encoding", b"gzip"), VARY)
BROTLI_HEADERS: HeaderLines = ((b"Content-Encoding", b"br"), VARY)


class Wanted(NamedTuple):
    """The codings that a client prefers to none; brotli only where it also prefers it to gzip."""

    gzip: bool
    brotli: bool


NOTHING = Wanted(gzip=False, brotli=False)


def wants_gzip(call: Call) -> bool:
    """Return whether the reply to ``call`` is gzipped, unless it is compressed by brotli."""
    return _wanted(call).gzip


def wants_brotli(call: Call) -> bool:
    """Return whether the reply to ``call`` is compressed by brotli, if the route has it."""
    return _wanted(call).brotli


def _wanted(call: Call) -> Wanted:
    fields = call.headers.get(b"accept-encoding")
    if not fields:
        return NOTHING
    field = fields[0] if len(fields) == 1 else b",".join(fields)
    return _read_cached(field) if len(field) <= CACHED_LENGTH else read_wanted(field)


def read_wanted(field: bytes) -> Wanted:
    """Return what the value of ``Accept-Encoding`` wants; a coding with a malformed weight counts as not listed."""
    weights: dict[bytes, float] = {}
    for element in field.lower().split(b",", CODINGS_LIMIT)[:CODINGS_LIMIT]:
        coding, semicolon, weight = (part.strip(b" \t") for part in element.partition(b";"))
        found = WEIGHT.fullmatch(weight) if semicolon else None
        if found is not None or not semicolon:
            weights[coding] = float(found[1]) if found is not None else 1.0
    others = weights.get(b"*")
    plain = weights.get(b"identity", 0.0)
    refuses_plain = weights.get(b"identity", others) == 0
    brotli = weights.get(b"br", 0.0)
    # To a client that only refuses to get none, gzip is the coding that all can read.
    unlisted = others if others is not None else float(refuses_plain)
    gzipped = weights.get(b"gzip", weights.get(b"x-gzip", unlisted))  # RFC 9110, 8.4.1.3
    return Wanted(gzip=gzipped > 0 and gzipped >= plain, brotli=brotli > 0 and brotli >= max(plain, gzipped))


_read_cached = lru_cache(CACHE_SIZE)(read_wanted)


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
