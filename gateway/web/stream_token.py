"""Tokens for OFREP event streams: a browser's ``EventSource`` sends no headers, so its path holds user and proof.

    token = base64url(effective context as JSON) "." base64url(HMAC-SHA256, first 16 bytes)

The HMAC's key is derived from the SDK (its key, id and default attributes) and the headers that OFREP's own routes
require. A token is therefore equal in every process and after every restart, was given only to a client that had both,
and becomes invalid when one of them changes.
"""

from __future__ import annotations

import binascii
import hmac
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from attrs import define, field, frozen

from gateway.flags import InvalidAttribute, User, attributes_from_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.web.ports import Sdk

PATH = "/ofrep/v1/streams/"
KEY_DOMAIN = b"flaggateway/ofrep-stream/key/1"
TOKEN_DOMAIN = b"flaggateway/ofrep-stream/token/1\0"
MAC_BYTES = 16  # 128 bits, too many to guess

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_encode = msgspec.json.Encoder(order="deterministic").encode  # one text for one context, whatever the order of its keys


@frozen
class TokenKey:
    """The key of one SDK's tokens, and the path in front of them."""

    sdk_key: str = field(repr=False)
    defaults: object = field(repr=False)
    keyed: hmac.HMAC = field(repr=False)  # copied for each token, which is faster than a new one
    path: bytes

    def mac(self, payload: bytes) -> bytes:
        """Return the proof that ``payload`` was issued under this key."""
        proof = self.keyed.copy()
        proof.update(payload)
        return proof.digest()[:MAC_BYTES]


@define
class StreamTokens:
    """Issues and checks tokens under one state of the settings."""

    _secret: bytes = field(repr=False)
    _keys: dict[str, TokenKey] = field(factory=dict)

    @classmethod
    def for_headers(cls, auth_headers: Mapping[str, str]) -> StreamTokens:
        """Return the tokens of clients that send the ``auth_headers``."""
        lines = sorted((name.lower(), value) for name, value in auth_headers.items())
        return cls(_joined(part.encode() for line in lines for part in line))

    def stream_path(self, sdk: Sdk, user: User | None) -> bytes:
        """Return the path of the stream for ``user``, an effective context."""
        payload = context_bytes(user)
        key = self._key(sdk)
        return b"%b%b.%b" % (key.path, _base64(payload), _base64(key.mac(payload)))

    def user(self, sdk: Sdk, token: str) -> User | None:
        """Return the effective context in ``token``.

        :raises ValueError: when the token was not issued for this SDK under these settings.
        """
        encoded, _, mac = token.encode().partition(b".")
        payload = _unbase64(encoded)
        if not hmac.compare_digest(_unbase64(mac), self._key(sdk).mac(payload)):
            raise ValueError("not a token of this SDK under these settings")
        value = msgspec.json.decode(payload)
        try:
            return None if value is None else User(attributes_from_json(value))
        except InvalidAttribute as error:
            raise ValueError(str(error)) from None

    def _key(self, sdk: Sdk) -> TokenKey:
        """Return the key for ``sdk``, cached as long as its SDK key and defaults stay."""
        known = self._keys.get(sdk.id)
        if known is None or known.sdk_key != sdk.key or known.defaults is not sdk.defaults:
            parts = (sdk.id.encode(), sdk.key.encode(), self._secret, context_bytes(User(sdk.defaults)))
            secret = sha256(KEY_DOMAIN + _joined(parts)).digest()
            path = f"{PATH}{quote(sdk.id, safe='')}/".encode()
            known = TokenKey(sdk.key, sdk.defaults, hmac.new(secret, TOKEN_DOMAIN, sha256), path)
            self._keys[sdk.id] = known
        return known


def context_bytes(user: User | None) -> bytes:
    """Return a context as JSON: equal for equal contexts, different for different ones."""
    return b"null" if user is None else _encode(user.values)


def _joined(parts: Iterable[bytes]) -> bytes:
    """Return the parts with their lengths, so that different sequences of parts give different bytes."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL)


def _unbase64(text: bytes) -> bytes:
    return binascii.a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4), strict_mode=True)
