"""Conditions on hashed values: SHA-256 of the attribute's bytes, the config's salt and the context.

Each function takes the attribute's name, the operand and the parameters, and returns a Match.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import TYPE_CHECKING

import attrs

from gateway.flags.coercion import SPACES
from gateway.flags.conditions.match import Match, MatchParameters, failing_for_users
from gateway.flags.digests import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.flags.user import User

DIGEST_SIZE = 32  # bytes of a SHA-256
_HEX = frozenset("0123456789abcdef")


def _digest(text: str) -> bytes | None:
    try:
        digest = unhexlify(text)
    except ValueError:
        return None
    return digest[:DIGEST_SIZE].ljust(DIGEST_SIZE, b"\0")


def _exact_digest(text: str) -> bytes:
    """Return the digest of a lower-case hexadecimal text; one that no text has if it is none."""
    return unhexlify(text) if len(text) == 2 * DIGEST_SIZE and _HEX.issuperset(text) else b""


def _digests(operand: Iterable[str]) -> frozenset[bytes]:
    return frozenset(digest for digest in map(_digest, operand) if digest is not None)


@attrs.frozen
class HashLookup:
    """A condition on a hashed text: holds if it is among ``digests``, or with ``wanted`` False if it is not."""

    suffix: bytes  # hashed after the text
    digests: frozenset[bytes]
    wanted: bool


def whole_text(operand: tuple[str, ...] | str, terms: MatchParameters) -> HashLookup:
    """Return the lookup of ``one_of_hashed`` (a tuple) and ``equals_hashed`` (a text)."""
    known = frozenset({_exact_digest(operand)}) if isinstance(operand, str) else _digests(operand)
    return HashLookup(terms.suffix, known, terms.wanted)


def one_of_hashed(name: str, operand: tuple[str, ...], terms: MatchParameters) -> Match:
    """Text has one of the digests."""
    return _looked_up(name, whole_text(operand, terms))


def equals_hashed(name: str, operand: str, terms: MatchParameters) -> Match:
    """Text has the digest."""
    return _looked_up(name, whole_text(operand, terms))


def _looked_up(name: str, lookup: HashLookup) -> Match:
    known, suffix, wanted = lookup.digests, lookup.suffix, lookup.wanted

    def match(user: User) -> bool | None:
        text = user.text.get(name)
        return None if text is None else (sha256(text.encode() + suffix).digest() in known) is wanted

    return match


def _lengths(operand: tuple[str, ...]) -> tuple[tuple[int, frozenset[bytes]], ...] | None:
    """Return the digests by the number of hashed bytes, or None if an entry is malformed."""
    found: dict[int, set[bytes]] = {}
    for entry in operand:
        length, _, rest = entry.partition("_")
        number = length.strip(SPACES)
        digest = rest.partition("_")[0]
        if not digest or not number.isascii() or not number.removeprefix("+").isdigit() or len(number) > 18:
            return None
        found.setdefault(int(number), set()).add(_exact_digest(digest))
    return tuple((length, frozenset(digests)) for length, digests in sorted(found.items()))


def starts_hashed(name: str, operand: tuple[str, ...], terms: MatchParameters) -> Match:
    """A prefix of the text has one of the digests; each entry names its length in bytes."""
    return _chunk_hashed(name, operand, terms, lambda data, length: data[:length])


def ends_hashed(name: str, operand: tuple[str, ...], terms: MatchParameters) -> Match:
    """A suffix of the text has one of the digests; each entry names its length in bytes."""
    return _chunk_hashed(name, operand, terms, lambda data, length: data[len(data) - length :])


def _chunk_hashed(
    name: str, operand: tuple[str, ...], terms: MatchParameters, chunk: Callable[[bytes, int], bytes]
) -> Match:
    lengths, wanted, suffix = _lengths(operand), terms.wanted, terms.suffix
    if lengths is None:
        return failing_for_users("comparison value '<nil>' is invalid")

    def match(user: User) -> bool | None:
        text = user.text.get(name)
        if text is None:
            return None
        data = text.encode()
        for length, digests in lengths:
            if length > len(data):
                break
            if sha256(chunk(data, length) + suffix).digest() in digests:
                return wanted
        return not wanted

    return match


def items_hashed(name: str, operand: tuple[str, ...], terms: MatchParameters) -> Match:
    """An item of the list has one of the digests."""
    digests, wanted, suffix = _digests(operand), terms.wanted, terms.suffix

    def match(user: User) -> bool | None:
        items = user.items(name)
        if items is None:
            return None
        for item in items:
            if sha256(item.encode() + suffix).digest() in digests:
                return wanted
        return not wanted

    return match
