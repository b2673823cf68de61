"""Which addresses messages and batches may be posted to; pure.

The address that is connected to is checked, never the name: see ``gateway.http_client.agent``.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network

    Address = IPv4Address | IPv6Address
    Network = IPv4Network | IPv6Network

# Cloud services that return credentials to any caller; those on link-local addresses (AWS, GCP, Azure, …) are refused
# as link-local.
METADATA: Final = tuple(
    ip_address(text)
    for text in (
        "fd00:ec2::254",  # AWS over IPv6
        "fd20:ce::254",  # Google over IPv6
        "fd00:42::42",  # Scaleway over IPv6
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle, the older address
        "168.63.129.16",  # Azure's wire server
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")  # the last 32 bits are the IPv4 address that a NAT64 connects to
_COMPATIBLE: Final = IPv6Network("::/96")  # deprecated, but some systems still connect to the IPv4 address in it
_LOOPBACK: Final = IPv6Address("::1")


class AddressRefused(Exception):
    """No address of a host may be connected to; the text is the reason."""


@frozen
class Guard:
    """The rules; an empty ``allowed`` means all."""

    allowed: tuple[Network, ...] = ()
    denied: tuple[Network, ...] = ()

    @classmethod
    def from_settings(cls, allowed: Sequence[str], denied: Sequence[str]) -> Guard:
        """Parse networks such as ``10.0.0.0/8``.

        :raises ValueError: for a text that is no network
        """
        return cls(
            tuple(ip_network(text, strict=False) for text in allowed),
            tuple(ip_network(text, strict=False) for text in denied),
        )

    def refusal(self, address: str) -> str | None:
        """Return why ``address`` (a literal, also with a zone) must not be connected to; None when it may.

        An IPv6 address that embeds an IPv4 address counts as both: denied if either is, allowed if either is.
        """
        try:
            given = ip_address(address.partition("%")[0])
        except ValueError:
            return "not an address"
        for meant in _meanings(given):
            if meant.is_link_local or meant in METADATA:
                return "link-local and cloud metadata addresses are never called"
            if meant.is_multicast or meant.is_unspecified or meant == IPv4Address("255.255.255.255"):
                return "not the address of one machine"
            if any(meant in network for network in self.denied):
                return "in a network that delivery.denied_networks names"
        if self.allowed and not any(meant in network for meant in _meanings(given) for network in self.allowed):
            return "in no network that delivery.allowed_networks names"
        return None


def _meanings(address: Address) -> list[Address]:
    """Return the address, and the IPv4 address embedded in it, if any.

    Mapped and compatible (RFC 4291), 6to4 (RFC 3056), Teredo (RFC 4380), NAT64 (RFC 6052): a host or a router on the
    way may connect to the inner address.
    """
    found: list[Address] = [address]
    if isinstance(address, IPv6Address):
        teredo = address.teredo
        inner = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
        if inner is None and (address in _NAT64 or (address in _COMPATIBLE and address != _LOOPBACK)):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            found.append(inner)
    return found
