"""Who may call: configured headers, Basic credentials, networks. Every comparison of a secret takes constant time."""

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

HOPS = 32  # entries of X-Forwarded-For that are looked at, from the right; no honest chain of proxies is that long


@frozen
class HeaderAuth:
    """Headers that must have given values; kept as digests, so that lengths leak nothing either."""

    required: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> HeaderAuth:
        """Return the rule for the configured ``headers``; their names are matched in any case."""
        return cls(tuple((name.lower().encode(), _digest(value.encode())) for name, value in headers.items()))

    def admits(self, call: Call) -> bool:
        """Return whether every required header's first value is right; all are compared, whatever the first says."""
        wrong = 0
        for name, digest in self.required:
            wrong += not compare_digest(_digest(call.header(name)), digest)
        return not wrong


@frozen
class Basic:
    """One user and password, as RFC 7617 sends them."""

    user: bytes
    password: bytes

    @classmethod
    def of(cls, auth: BasicAuth) -> Basic | None:
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


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks (or single addresses) that ``texts`` name.

    :raises ValueError: for a text that is neither; settings validation has refused those before.
    """
    return tuple(ip_network(text, strict=False) for text in texts)


def inside(address: str, allowed: tuple[Network, ...]) -> bool:
    """Return whether ``address`` lies in one of ``allowed``; what is not an IP address lies nowhere."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in allowed)


def caller(call: Call, trusted: tuple[Network, ...]) -> str:
    """Return the true caller's address: the peer, or through trusted proxies the right-most address that is not one.

    ``X-Forwarded-For`` is believed only as far as trusted proxies wrote it; a part that is no address ends the search.
    """
    address = call.peer
    if not trusted or not inside(address, trusted):
        return address
    chain = b",".join(call.headers.get(b"x-forwarded-for", ())).split(b",")
    for hop in reversed(chain[-HOPS:]):
        candidate = _host(hop.decode("latin-1").strip())
        if _parsed(candidate) is None:
            return address
        address = candidate
        if not inside(address, trusted):
            return address
    return address


def _host(text: str) -> str:
    """Return the address of an entry that may carry a port: ``1.2.3.4:5``, ``[::1]:5``."""
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
