"""Encodes evaluations: one event as a line of JSON in three parts, and many events as the body of a batch.

    ↵{"kind":"feature","contextKind":"user","userKey":"anna" | ,"creationDate":1700000000, | "key":"checkout",…}
                                                       user  |                       time  |         outcome

The outcome part is equal for all users who get that outcome, so it is encoded once; the time part once per second.
The line feed separates the line from the one before it; the first line of a parcel goes without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.flags import encode_value
from gateway.text import json_digest, json_string

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.flags import Result, User

IDENTIFIER: Final = "Identifier"
CACHE_LIMIT: Final = 20_000  # encoded outcomes: two each of 10,000 flags, some 3 MB
_USER: Final = b'\n{"kind":"feature","contextKind":"user","userKey":'
_ANONYMOUS: Final = b'\n{"kind":"feature","contextKind":"anonymousUser","userKey":"%b"'
_TIME: Final = b',"creationDate":%d,'
_OUTCOME: Final = b'"key":%b,"variation":%b,"value":%b,"default":%b,"source":"SERVER"}'

_encode = msgspec.json.Encoder().encode


class OutcomeCache(dict["Result", bytes]):
    """The encoded part of each outcome, up to a bound; outcomes are few, and users share them."""

    def __missing__(self, result: Result) -> bytes:
        if len(self) >= CACHE_LIMIT:
            self.clear()
        encoded = self[result] = encode_outcome(result)
        return encoded


def encode_outcome(result: Result) -> bytes:
    """Return the last part of an event; after a failed evaluation ``default`` is true and the value null."""
    return _OUTCOME % (
        json_string(result.key),
        json_string(result.variation_id),
        encode_value(result.value),
        b"false" if result.error is None else b"true",
    )


def encode_user(user: User | None) -> bytes:
    """Return the first part of an event, with the ``Identifier``, or else with a digest of the attributes."""
    if user is not None:
        identifier = user.text.get(IDENTIFIER)
        if identifier:
            return _USER + _encode(identifier)
    return _ANONYMOUS % json_digest({} if user is None else dict(user.attributes)).encode()


def encode_time(at: float) -> bytes:
    """Return the middle part of an event, in whole Unix seconds."""
    return _TIME % at


def encode_count(minute: int, outcome: bytes, count: int) -> bytes:
    """Return the event of ``count`` equal outcomes, of whichever users, in the minute that began at ``minute``."""
    return b'%b""%b%b,"count":%d}' % (_USER[1:], encode_time(minute), outcome[:-1], count)


def batch_head(meta: Mapping[str, str]) -> bytes:
    """Return the beginning of a batch."""
    return b'{"meta":%b,"events":[' % msgspec.json.encode(dict(meta))


def encode_batch(head: bytes, events: Iterable[bytes]) -> bytes:
    """Return the body of a batch; each item of ``events`` is one event, or several separated by commas.

    Equal arguments must give equal bodies in every version: a batch is encoded again for each attempt to send it.
    """
    return b"%b%b]}" % (head, b",".join(events))
