"""Which coding of a body a client wants (RFC 9110, 12.5.3).

It is the one with the highest weight.  Of equal weights brotli comes before gzip, and both before no coding; brotli is
only for clients that name it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

WEIGHT = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")  # RFC 9110, 12.4.2
CODINGS_LIMIT = 32  # codings of a request that are read; there are about ten registered ones


class WantedCodings(NamedTuple):
    """The codings that a client prefers to none; brotli only where it also prefers it to gzip."""

    gzip: bool
    brotli: bool


def read_accept_encoding(field: bytes) -> WantedCodings:
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
    return WantedCodings(gzip=gzipped > 0 and gzipped >= plain, brotli=brotli > 0 and brotli >= max(plain, gzipped))
