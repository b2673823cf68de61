"""Fingerprints of what somebody is shown that can follow a change without looking at what did not change.

A view is a set of items, one per flag; its number is the sum of the items' 64-bit SHA-256 prefixes and of its scope's,
modulo 2**64. The order does not matter, one item is exchanged by one subtraction and one addition, and equal views have
equal numbers on every node, whichever way they came about.
"""

from __future__ import annotations

from hashlib import sha256

DIGEST_BYTES = 8  # 64 bits: it distinguishes what one subscriber was sent from what it would be sent now, no more
MASK = (1 << 8 * DIGEST_BYTES) - 1


def number_of(item: bytes) -> int:
    """Return the number of one item."""
    return int.from_bytes(sha256(item, usedforsecurity=False).digest()[:DIGEST_BYTES], "big")


def text_of(number: int) -> str:
    """Return a view's number, of any size or sign, as 16 hexadecimal digits."""
    return f"{number & MASK:016x}"
