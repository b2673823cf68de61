"""Authentication by headers, Basic credentials and networks. Every comparison of a secret takes constant time."""

from __future__ import annotations

import binascii
from hashlib import sha256
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address, IPv4Network, IPv6Network

    from gateway.settings import BasicAuth
    from gateway.web.values import Call

    Network = IPv4Network | IPv6Network

HOP_LIMIT = 32  # entries of X-Forwarded-For that are read, from the right; no real chain of proxies is that long


@frozen
class HeaderAuth:
    """Headers that must have given values, kept as digests, so that comparing them does not reveal their lengths."""

    required: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def from_settings(cls, headers: Mapping[str, str]) -> HeaderAuth:
        """Return the rule for the configured ``headers``; the case of their names does not matter."""
        return cls(tuple((name.lower().encode(), _digest(value.encode())) for name, value in headers.items()))

    def admits(self, call: Call) -> bool:
        """Return whether the first value of every required header is right; all are compared in any case."""
        wrong = 0
        for name, digest in self.required:
            wrong += not compare_digest(_digest(call.header(name)), digest)
        return not wrong


@frozen
class BasicCredentials:
    """One user and password (RFC 7617), kept as digests."""

    user: bytes
    password: bytes

    @classmethod
    def from_settings(cls, auth: BasicAuth) -> BasicCredentials | None:
        """Return the rule, or None unless both user and password are configured."""
        if not auth.user or not auth.password:
            return None
        return cls(_digest(auth.user.encode()), _digest(auth.password.encode()))

    def admits(self, call: Call) -> bool:
        """Return whether the call carries these credentials."""
        scheme, _, encoded = call.header(b"authorization").partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            user, colon, password = binascii.a2b_base64(encoded, strict_mode=True).partition(b":")
        except binascii.Error:
            return False
        right_user = compare_digest(_digest(user), self.user)
        right_password = compare_digest(_digest(password), self.password)
        return bool(colon) and right_user and right_password


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks, or single addresses, that ``texts`` name.

    :raises ValueError: for a text that is neither, which the validation of the settings has excluded.
    """
    return tuple(ip_network(text, strict=False) for text in texts)


def is_in(address: str, allowed: tuple[Network, ...]) -> bool:
    """Return whether ``address`` is an IP address in one of the ``allowed`` networks."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in allowed)


def client_address(call: Call, trusted: tuple[Network, ...]) -> str:
    """Return the client's address: the connection's, or behind trusted proxies the right-most one that is not theirs.

    ``X-Forwarded-For`` counts only as far as trusted proxies wrote it; an entry that is no address ends the search.
    """
    address = call.peer
    if not trusted or not is_in(address, trusted):
        return address
    chain = b",".join(call.headers.get(b"x-forwarded-for", ())).split(b",")
    for hop in reversed(chain[-HOP_LIMIT:]):
        candidate = _without_port(hop.decode("latin-1").strip())
        if _parsed(candidate) is None:
            return address
        address = candidate
        if not is_in(address, trusted):
            return address
    return address


def _without_port(text: str) -> str:
    """Return the address of an entry such as ``1.2.3.4:5`` or ``[::1]:5``."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _digest(value: bytes) -> bytes:
    return sha256(value).digest()
