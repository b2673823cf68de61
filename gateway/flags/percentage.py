"""Percentage options: everybody has one place among a hundred per flag, and every SDK finds the same one."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1
from struct import Struct
from typing import TYPE_CHECKING, TypeVar

import attrs

from gateway.flags.conditions.match import failing
from gateway.flags.definition import Fault, Option, Served
from gateway.flags.result import Result
from gateway.flags.user import User

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.flags.result import Results

T = TypeVar("T")

FIRST_WORD = Struct(">I").unpack_from
DIGEST = "I16x"  # a SHA-1, of which the first word counts

Choose = Callable[[User], Result | None]
"""What picks an option; None: the options are skipped."""


@attrs.frozen
class Share:
    """A flag of percentage options alone: ``table`` has an outcome for each place among the hundred."""

    attribute: str
    prefix: bytes
    table: Sequence[Result]
    absent: str | None  # what is hashed for a user without the attribute; None: the outcome is ``otherwise``
    otherwise: Result


def outcome(served: Served, results: Results, *, matched: bool) -> Result:
    """Return the Result of serving something; a failure when the value cannot be served."""
    if isinstance(served.value, Fault):
        return results.fail(served.value.reason)
    return results.serve(served.value, served.variation_id, matched=matched)


def bucket(key: bytes, text: str) -> int:
    """Return the place of an attribute's text among the hundred of a flag, from 0; the same in every SDK.

    ConfigCat's rule: SHA-1 of the key and then the text, its first 7 hex digits as a number, modulo 100.
    """
    number: int = FIRST_WORD(sha1(key + text.encode(), usedforsecurity=False).digest())[0]
    return (number >> 4) % 100  # the first 7 hex digits


def first_words(count: int) -> Callable[[bytes], tuple[int, ...]]:
    """Return what reads the first words of ``count`` digests that stand one behind the other."""
    return Struct(f">{DIGEST * count}").unpack


def spread(options: Iterable[Option]) -> tuple[Option | None, ...]:
    """Return, for each of the hundred places, the option that serves it; None where the shares end early."""
    places: list[Option | None] = []
    end = 0
    for option in options:
        end += option.percentage
        places.extend([option] * (min(end, 100) - len(places)))
    return (*places, *[None] * (100 - len(places)))


def chooser(options: tuple[Option, ...] | Fault, key: str, attribute: str, results: Results) -> Choose | None:
    """Return the function that picks an option, None when there are none; what it returns is None for "skipped"."""
    if isinstance(options, Fault):
        return failing(options.reason)  # type: ignore[return-value]
    if not options:
        return None
    return by_place(attribute, key.encode(), absent_text(attribute), outcomes(options, results), None)


def outcomes(options: tuple[Option, ...], results: Results) -> list[Result | None]:
    """Return what each of the hundred places gets; None where the shares end early."""
    made = {id(option): outcome(option.served, results, matched=True) for option in options}
    return [None if option is None else made[id(option)] for option in spread(options)]


def absent_text(attribute: str) -> str | None:
    """Return what is hashed for a user without the attribute; None: the options are skipped."""
    return "" if attribute == "Identifier" else None


def by_place(
    attribute: str, prefix: bytes, absent: str | None, table: Sequence[T], otherwise: T
) -> Callable[[User], T]:
    """Return what looks up a user's place among the hundred in ``table``; ``otherwise`` is for one who has none."""

    def find(user: User) -> T:
        text = user.text.get(attribute, absent)
        if text is None or not user.present:
            return otherwise
        return table[bucket(prefix, text)]

    return find


def by_share(share: Share) -> Callable[[User], Result]:
    """Return the function that decides a flag of percentage options alone; it never raises."""
    return by_place(share.attribute, share.prefix, share.absent, share.table, share.otherwise)


def same_share(before: Share, after: Share) -> Callable[[User], bool] | None:
    """Return whether a user gets the same from two versions of a flag, with one hash; None if they hash differently."""
    if (before.attribute, before.prefix, before.absent) != (after.attribute, after.prefix, after.absent):
        return None
    kept = [old is new for old, new in zip(before.table, after.table, strict=True)]
    return by_place(after.attribute, after.prefix, after.absent, kept, before.otherwise is after.otherwise)
