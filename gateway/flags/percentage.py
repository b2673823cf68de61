"""Percentage options: each user has one of a hundred buckets per flag, the same in every SDK."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, TypeVar

from gateway.flags.conditions.match import failing
from gateway.flags.definition import Fault, PercentageOption, ServedValue
from gateway.flags.digests import sha1
from gateway.flags.result import Result
from gateway.flags.user import User

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.flags.result import ResultTable

T = TypeVar("T")

FIRST_WORD = Struct(">I").unpack_from
DIGEST = "I16x"  # of a SHA-1 digest only the first word is used

PickOption = Callable[[User], Result | None]
"""Returns the result of the user's option; None if the options are skipped."""


def result_for(served: ServedValue, results: ResultTable, *, matched: bool) -> Result:
    """Return the Result of a served value; a failure if the value is broken."""
    if isinstance(served.value, Fault):
        return results.fail(served.value.reason)
    return results.serve(served.value, served.variation_id, matched=matched)


def bucket(key: bytes, text: str) -> int:
    """Return the bucket, 0 to 99, of an attribute's text for a flag.

    ConfigCat's rule: the first 7 hex digits of SHA-1(key + text) as a number, modulo 100.
    """
    number: int = FIRST_WORD(sha1(key + text.encode()).digest())[0]
    return (number >> 4) % 100  # the first 7 hex digits


def first_words(count: int) -> Callable[[bytes], tuple[int, ...]]:
    """Return a function that returns the first word of each of ``count`` concatenated SHA-1 digests."""
    return Struct(f">{DIGEST * count}").unpack


def options_by_bucket(options: Iterable[PercentageOption]) -> tuple[PercentageOption | None, ...]:
    """Return the option of each bucket; None where the percentages add up to less than 100."""
    buckets: list[PercentageOption | None] = []
    end = 0
    for option in options:
        end += option.percentage
        buckets.extend([option] * (min(end, 100) - len(buckets)))
    return (*buckets, *[None] * (100 - len(buckets)))


def option_picker(
    options: tuple[PercentageOption, ...] | Fault, key: str, attribute: str, results: ResultTable
) -> PickOption | None:
    """Return the function that picks a user's option; None if there are no options."""
    if isinstance(options, Fault):
        return failing(options.reason)  # type: ignore[return-value]  # it never returns, whatever the type
    if not options:
        return None
    return by_bucket(attribute, key.encode(), default_text(attribute), results_by_bucket(options, results), None)


def results_by_bucket(options: tuple[PercentageOption, ...], results: ResultTable) -> list[Result | None]:
    """Return the result of each bucket; None where the percentages add up to less than 100."""
    made = {id(option): result_for(option.served, results, matched=True) for option in options}
    return [None if option is None else made[id(option)] for option in options_by_bucket(options)]


def default_text(attribute: str) -> str | None:
    """Return the text that is hashed for users without the attribute; None: their options are skipped."""
    return "" if attribute == "Identifier" else None


def by_bucket(
    attribute: str, prefix: bytes, default_text: str | None, table: Sequence[T], skipped: T
) -> Callable[[User], T]:
    """Return a function that returns the item of ``table`` for a user's bucket; ``skipped`` if there is none."""

    def find(user: User) -> T:
        text = user.text.get(attribute, default_text)
        if text is None or not user.present:
            return skipped
        return table[bucket(prefix, text)]

    return find
