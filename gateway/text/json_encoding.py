"""JSON in two forms: as Go's ``encoding/json`` writes strings, and canonical, for comparison and digests."""

from codecs import BOM_UTF8
from hashlib import sha256
from typing import Final

import msgspec

# ``<``, ``>`` and ``&`` never occur in JSON syntax, and the two separators only inside strings: replacing is safe.
_ESCAPES: Final = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)
_DIGEST_LENGTH: Final = 32  # hex digits: 128 bits, enough that two values never share a digest


def without_bom(text: bytes) -> bytes:
    """Return UTF-8 without the mark that some editors and tools write in front (RFC 8259, 8.1, allows to ignore it)."""
    return text.removeprefix(BOM_UTF8)


def json_string(text: str) -> bytes:
    """Return ``text`` as a JSON string that is safe inside HTML.

    :raises UnicodeEncodeError: when ``text`` contains a lone surrogate
    """
    encoded = msgspec.json.encode(text)
    for plain, escaped in _ESCAPES:
        if plain in encoded:
            encoded = encoded.replace(plain, escaped)
    return encoded


def canonical_json(value: object) -> bytes:
    """Return bytes that are equal exactly when two plain JSON values are, types included (``1`` is not ``1.0``)."""
    return msgspec.json.encode(value, order="sorted")


def json_digest(value: object) -> str:
    """Return a digest that is equal exactly when ``canonical_json`` is, and does not reveal the value."""
    return sha256(msgspec.json.encode(value, order="sorted"), usedforsecurity=False).hexdigest()[:_DIGEST_LENGTH]
