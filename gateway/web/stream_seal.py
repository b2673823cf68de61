"""Encrypted texts for the addresses of streams: only a gateway with the same secrets can read or make one.

    text = base64url(nonce | AES-256-GCM(content) | tag)          nonce = BLAKE2b(content), keyed, 12 bytes
    content = 0 | bytes   or   1 | raw DEFLATE of the bytes

The nonce depends on the content alone (a synthetic nonce, as in RFC 5297), so that equal contents have equal texts in
every process and on every node, and no two contents share a nonce.  A text reveals the length of its content, and
whether two contents are equal, nothing else.
"""

from __future__ import annotations

import binascii
import hmac
import zlib
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING

import msgspec
from attrs import define, field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.flags import User

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.web.ports import Sdk

NONCE_BYTES = 12
DEFLATE_FROM = 512  # bytes; less is not deflated: it takes 20 µs and more, and saves little
CONTENT_LIMIT = 128 * 1024  # bytes, inflated; the limit of a request line, and 4 ms of deflation

_AS_IT_IS, _DEFLATED = b"\0", b"\1"
_RAW = -zlib.MAX_WBITS  # without a header and a check sum, which the tag makes superfluous
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_encode = msgspec.json.Encoder(order="deterministic").encode  # one text for one context, whatever the order of its keys


class NotSealed(ValueError):
    """A text was not made by this seal, or was changed."""


@frozen
class Seal:
    """Seals contents with one key."""

    _cipher: AESGCM = field(repr=False)
    _nonces: blake2b = field(repr=False)  # copied for each content, a third of the time of an HMAC

    @classmethod
    def from_secrets(cls, domain: bytes, secrets: Iterable[bytes]) -> Seal:
        """Return the seal of these ``secrets``, whose order counts; texts of other domains are not its own."""
        root = sha256(domain + joined(secrets)).digest()
        cipher = AESGCM(hmac.digest(root, b"encryption", "sha256"))
        return cls(cipher, blake2b(digest_size=NONCE_BYTES, key=hmac.digest(root, b"nonce", "sha256")))

    def close(self, content: bytes) -> bytes:
        """Return the text of ``content``, of ``CONTENT_LIMIT`` bytes at most: ``open`` refuses longer ones."""
        marked = _AS_IT_IS + content
        if len(content) >= DEFLATE_FROM:
            marked = min(marked, _DEFLATED + zlib.compress(content, wbits=_RAW), key=len)
        keyed = self._nonces.copy()
        keyed.update(content)
        nonce = keyed.digest()
        return _base64(nonce + self._cipher.encrypt(nonce, marked, None))

    def open(self, text: str) -> bytes:
        """Return the content of ``text``.

        :raises NotSealed: when ``close`` of this seal did not return exactly this text.
        """
        encoded = text.encode("utf-8", "replace")
        try:
            sealed = _unbase64(encoded)
            marked = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
        except (ValueError, InvalidTag):
            raise NotSealed("not made under this key") from None
        if _base64(sealed) != encoded:  # base64 has several texts for some bytes
            raise NotSealed("not in the form that is issued")
        return _inflated(marked[1:]) if marked[:1] == _DEFLATED else marked[1:]


@define
class SdkSeals:
    """The seal of each SDK, derived from its id and key, the ``secrets``, and maybe its default attributes.

    Equal in every process and on every node with equal settings; kept as long as key and defaults stay.
    """

    _domain: bytes
    _secrets: tuple[bytes, ...] = field(repr=False)
    _of_defaults: bool = False
    _known: dict[str, tuple[str, object, Seal]] = field(factory=dict, init=False, repr=False)

    def of(self, sdk: Sdk) -> Seal:
        """Return the seal of ``sdk``."""
        known = self._known.get(sdk.id)
        if known is None or known[0] != sdk.key or (self._of_defaults and known[1] is not sdk.defaults):
            defaults = (context_bytes(User(sdk.defaults)),) if self._of_defaults else ()
            parts = (sdk.id.encode(), sdk.key.encode(), *self._secrets, *defaults)
            known = self._known[sdk.id] = (sdk.key, sdk.defaults, Seal.from_secrets(self._domain, parts))
        return known[2]


def context_bytes(user: User | None) -> bytes:
    """Return a context as JSON: equal for equal contexts, different for different ones."""
    return b"null" if user is None else _encode(user.values)


def joined(parts: Iterable[bytes]) -> bytes:
    """Return the parts with their lengths, so that different sequences of parts give different bytes."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _inflated(data: bytes) -> bytes:
    """Return the inflated ``data``, which only a holder of the key can have made; bounded all the same.

    :raises NotSealed: when it is longer than ``CONTENT_LIMIT``, or not DEFLATE.
    """
    stream = zlib.decompressobj(_RAW)
    try:
        content = stream.decompress(data, CONTENT_LIMIT)
    except zlib.error:
        raise NotSealed("not DEFLATE") from None
    if not stream.eof or stream.unused_data:
        raise NotSealed("too long")
    return content


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL)


def _unbase64(text: bytes) -> bytes:
    return binascii.a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4), strict_mode=True)
