"""One evaluation as it is told: who asked and when (the head), for what and what came (the tail).

    {"kind":"feature","contextKind":"user","userKey":"anna","creationDate":1700000000, | "key":"checkout","variation":…}

A tail is the same for everybody who gets that outcome, so it is made once; a head is the same for all flags of a call.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.flags.encoding import encode_text, encode_value

if TYPE_CHECKING:
    from gateway.flags import Result, User

IDENTIFIER: Final = "Identifier"
KNOWN_LIMIT: Final = 20_000  # outcomes whose tail is remembered: two each of 10,000 flags, some 3 MB
_DIGEST_LENGTH: Final = 32  # hex digits: 128 bits tell any two users apart
_USER: Final = b'{"kind":"feature","contextKind":"user","userKey":%b,"creationDate":%d,'
_ANONYMOUS: Final = b'{"kind":"feature","contextKind":"anonymousUser","userKey":"%b","creationDate":%d,'
_TAIL: Final = b'"key":%b,"variation":%b,"value":%b,"default":%b,"source":"SERVER"}'

_encode = msgspec.json.Encoder().encode


class Tails(dict["Result", bytes]):
    """The tail of each outcome that was ever asked for, up to a bound: outcomes are few, and users share them."""

    def __missing__(self, result: Result) -> bytes:
        if len(self) >= KNOWN_LIMIT:
            self.clear()
        tail = self[result] = tail_of(result)
        return tail


def tail_of(result: Result) -> bytes:
    """Return what is told of an outcome; ``default`` is true, and the value null, when evaluation failed."""
    return _TAIL % (
        encode_text(result.key),
        encode_text(result.variation_id),
        encode_value(result.value),
        b"false" if result.error is None else b"true",
    )


def head_of(user: User | None, at: float) -> bytes:
    """Return what is told of a user at ``at``, Unix seconds: the ``Identifier``, or a digest that shows nothing."""
    if user is not None:
        name = user.text.get(IDENTIFIER)
        if name:
            return _USER % (_encode(name), at)
    return _ANONYMOUS % (_digest(user), at)


def counted(minute: int, tail: bytes, count: int) -> bytes:
    """Return the event of ``count`` equal evaluations in the minute that began at ``minute``, whoever asked."""
    return (_USER % (b'""', minute)) + tail[:-1] + b',"count":%d}' % count


def _digest(user: User | None) -> bytes:
    attributes = {} if user is None else dict(user.attributes)
    plain = msgspec.json.encode(attributes, order="sorted")
    return sha256(plain, usedforsecurity=False).hexdigest()[:_DIGEST_LENGTH].encode()
