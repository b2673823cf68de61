"""One evaluation as a line of JSON: who asked, when, and for what and what came (the tail).

    ↵{"kind":"feature","contextKind":"user","userKey":"anna" | ,"creationDate":1700000000, | "key":"checkout",…}

A tail is the same for everybody who gets that outcome, so it is made once, and a moment for all who ask in its second.
The line feed parts a line from the one before, and is no part of the first one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.flags.encoding import encode_value
from gateway.text import json_digest, json_string

if TYPE_CHECKING:
    from gateway.flags import Result, User

IDENTIFIER: Final = "Identifier"
KNOWN_LIMIT: Final = 20_000  # outcomes whose tail is remembered: two each of 10,000 flags, some 3 MB
_USER: Final = b'\n{"kind":"feature","contextKind":"user","userKey":'
_ANONYMOUS: Final = b'\n{"kind":"feature","contextKind":"anonymousUser","userKey":"%b"'
_MOMENT: Final = b',"creationDate":%d,'
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
        json_string(result.key),
        json_string(result.variation_id),
        encode_value(result.value),
        b"false" if result.error is None else b"true",
    )


def who_of(user: User | None) -> bytes:
    """Return what is told of a user, the ``Identifier`` or a digest that shows nothing; with it a line begins."""
    if user is not None:
        name = user.text.get(IDENTIFIER)
        if name:
            return _USER + _encode(name)
    return _ANONYMOUS % json_digest({} if user is None else dict(user.attributes)).encode()


def moment_of(at: float) -> bytes:
    """Return what is told of a moment, Unix seconds."""
    return _MOMENT % at


def counted(minute: int, tail: bytes, count: int) -> bytes:
    """Return the event of ``count`` equal evaluations in the minute that began at ``minute``, whoever asked."""
    return b'%b""%b%b,"count":%d}' % (_USER[1:], moment_of(minute), tail[:-1], count)
