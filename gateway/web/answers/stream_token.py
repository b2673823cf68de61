"""Who may open an OFREP event stream: a browser's ``EventSource`` sends no headers, so the address carries it all.

    token = base64url(effective context as JSON) "." base64url(HMAC-SHA256, first 16 bytes)

The key of the HMAC comes from the SDK (its key, id and default attributes) and the headers that OFREP's own routes
require. So a token is the same in every process and after every restart, was given only to a caller who had both, and
ends when one of them changes.
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
MAC_BYTES = 16  # 128 bits, as much as an attacker could guess at
TARGET_LIMIT = 64 * 1024  # bytes of an address that is offered; a larger context is left to poll

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_encode = msgspec.json.Encoder(order="deterministic").encode  # keys in their order, whatever order they came in


@frozen
class Seal:
    """What the tokens of one SDK are made with, and the path in front of them."""

    key: str = field(repr=False)
    defaults: object = field(repr=False)
    keyed: hmac.HMAC = field(repr=False)  # copied for each token, which takes less than to begin anew
    head: bytes

    def mac(self, payload: bytes) -> bytes:
        """Return the proof that ``payload`` comes from here."""
        proof = self.keyed.copy()
        proof.update(payload)
        return proof.digest()[:MAC_BYTES]


@define
class StreamTokens:
    """Makes and checks tokens under one state of the settings."""

    _secret: bytes = field(repr=False)
    _seals: dict[str, Seal] = field(factory=dict)

    @classmethod
    def of(cls, auth_headers: Mapping[str, str]) -> StreamTokens:
        """Return the authority of callers who have the ``auth_headers``."""
        lines = sorted((name.lower(), value) for name, value in auth_headers.items())
        return cls(_joined(part.encode() for line in lines for part in line))

    def target(self, sdk: Sdk, user: User | None) -> bytes | None:
        """Return the path of the stream for ``user``, an effective context; None when it would be too long."""
        payload = context_bytes(user)
        seal = self._seal(sdk)
        path = b"%b%b.%b" % (seal.head, _base64(payload), _base64(seal.mac(payload)))
        return path if len(path) <= TARGET_LIMIT else None

    def user(self, sdk: Sdk, token: str) -> User | None:
        """Return the effective context that ``token`` stands for.

        :raises ValueError: when it was not made by this authority.
        """
        encoded, _, mac = token.encode().partition(b".")
        payload = _unbase64(encoded)
        if not hmac.compare_digest(_unbase64(mac), self._seal(sdk).mac(payload)):
            raise ValueError("not a token of this authority")
        value = msgspec.json.decode(payload)
        try:
            return None if value is None else User(attributes_from_json(value))
        except InvalidAttribute as error:
            raise ValueError(str(error)) from None

    def _seal(self, sdk: Sdk) -> Seal:
        """Return what tokens of ``sdk`` are made with; it is remembered while key and defaults stay."""
        known = self._seals.get(sdk.id)
        if known is None or known.key != sdk.key or known.defaults is not sdk.defaults:
            parts = (sdk.id.encode(), sdk.key.encode(), self._secret, context_bytes(User(sdk.defaults)))
            secret = sha256(KEY_DOMAIN + _joined(parts)).digest()
            head = f"{PATH}{quote(sdk.id, safe='')}/".encode()
            keyed = hmac.new(secret, TOKEN_DOMAIN, sha256)
            known = self._seals[sdk.id] = Seal(sdk.key, sdk.defaults, keyed, head)
        return known


def context_bytes(user: User | None) -> bytes:
    """Return a context as JSON: equal for equal contexts, different for different ones."""
    return b"null" if user is None else _encode(user.given)


def _joined(parts: Iterable[bytes]) -> bytes:
    """Return the parts with their lengths, so that no two sequences of parts are joined to the same bytes."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL)


def _unbase64(text: bytes) -> bytes:
    return binascii.a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4), strict_mode=True)
