"""Digests of what somebody is shown that can follow a change without looking at what did not change.

A view is a set of items, one per flag; its number is the sum of the items' 64-bit BLAKE2b digests and of its scope's,
modulo 2**64. The order does not matter, one item is exchanged by one subtraction and one addition, and equal views have
equal numbers on every node, whichever way they came about.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

DIGEST_BYTES = 8  # 64 bits: it distinguishes what one subscriber was sent from what it would be sent now, no more
MASK = (1 << 8 * DIGEST_BYTES) - 1
KNOWN_LIMIT = 50_000  # items whose digest is remembered: some outcomes each of 10,000 flags, 5 MB beside them at most


class Fingerprints(dict[bytes, int]):
    """The digest of each item that was ever asked for, up to a bound: outcomes are few, and users share them."""

    def __missing__(self, item: bytes) -> int:
        if len(self) >= KNOWN_LIMIT:
            self.clear()
        number = self[item] = number_of(item)
        return number

    def total(self, items: Iterable[bytes]) -> int:
        """Return the sum of the digests of ``items``."""
        return sum(map(self.__getitem__, items))


def number_of(item: bytes) -> int:
    """Return the digest of one item."""
    return int.from_bytes(blake2b(item, digest_size=DIGEST_BYTES).digest(), "big")


def text_of(number: int) -> str:
    """Return a view's number, of any size or sign, as 16 hexadecimal digits."""
    return f"{number & MASK:016x}"
