"""The 36 comparators: their numbers, names and operands; makes a Match from a user condition.

UserCondition ──► build() ──► Match
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import attrs

from gateway.flags.conditions import hashed, plain
from gateway.flags.conditions.match import Match, MatchParameters, failing, failing_for_users
from gateway.flags.definition import Fault, UserCondition, json_number

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Salt:
    """The suffix of hashed texts: the config's salt, then the setting key or the segment's name."""

    config: str | Fault
    context: str

    @property
    def suffix(self) -> bytes | Fault:
        """The bytes to append, or the fault why there are none."""
        if isinstance(self.config, Fault):
            return self.config
        return (self.config + self.context).encode()


def build(condition: UserCondition, salt: Salt) -> Match:
    """Return the Match of one user condition; never raises."""
    comparator = comparator_of(condition)
    if comparator is None:
        return failing("comparison operator is invalid")
    operand = read_operand(condition, comparator)
    if operand is None:
        return failing_for_users("comparison value '<nil>' is invalid")
    suffix = salt.suffix if comparator.hashed else b""
    if isinstance(suffix, Fault):
        return failing_for_users(suffix.reason)
    return comparator.build(condition.attribute, operand, MatchParameters(condition.comparator % 2 == 0, suffix))


def hash_lookup(condition: UserCondition, salt: Salt) -> hashed.HashLookup | None:
    """Return the lookup of a condition on a whole hashed text; None for other conditions and for a broken one."""
    comparator, suffix = comparator_of(condition), salt.suffix
    if comparator is None or comparator.build not in {hashed.one_of_hashed, hashed.equals_hashed}:
        return None
    operand = read_operand(condition, comparator)
    if isinstance(suffix, Fault) or not isinstance(operand, tuple | str):
        return None
    return hashed.whole_text(operand, MatchParameters(condition.comparator % 2 == 0, suffix))


Operand = tuple[str, ...] | str | float


@attrs.frozen
class Comparator:
    """A comparator: its name, the field of its operand, whether it compares hashes, and its builder."""

    words: str
    field: str  # "l" a list of texts, "s" a text, "d" a number
    build: Callable[..., Match]  # takes the attribute, the operand in the type of ``field``, and the MatchParameters
    hashed: bool = False


def comparator_of(condition: UserCondition) -> Comparator | None:
    """Return the comparator that a condition names, or None when there is no such comparator."""
    number = condition.comparator
    return COMPARATORS[number] if 0 <= number < len(COMPARATORS) else None


def read_operand(condition: UserCondition, comparator: Comparator) -> Operand | None:
    """Return the comparison value in the type of its comparator, or None if there is none of that type."""
    value = condition.raw.get(comparator.field)
    if comparator.field == "d":
        return json_number(value)
    if comparator.field == "s":
        return value if isinstance(value, str) else None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(value)


def _pair(
    words: tuple[str, str], field: str, build: Callable[..., Match], *, hashes: bool = False
) -> tuple[Comparator, ...]:
    return tuple(Comparator(word, field, build, hashes) for word in words)


_ONE_OF = ("IS ONE OF", "IS NOT ONE OF")
_EQUALS = ("EQUALS", "NOT EQUALS")
_STARTS = ("STARTS WITH ANY OF", "NOT STARTS WITH ANY OF")
_ENDS = ("ENDS WITH ANY OF", "NOT ENDS WITH ANY OF")
_ARRAY = ("ARRAY CONTAINS ANY OF", "ARRAY NOT CONTAINS ANY OF")

# The position is the number in the config JSON; the odd one of a pair is the negation.
COMPARATORS: tuple[Comparator, ...] = (
    *_pair(_ONE_OF, "l", plain.one_of),  # 0, 1
    *_pair(("CONTAINS ANY OF", "NOT CONTAINS ANY OF"), "l", plain.contains),  # 2, 3
    *_pair(_ONE_OF, "l", plain.version_one_of),  # 4, 5
    Comparator("<", "s", plain.version_order(operator.lt)),  # 6
    Comparator("<=", "s", plain.version_order(operator.le)),
    Comparator(">", "s", plain.version_order(operator.gt)),
    Comparator(">=", "s", plain.version_order(operator.ge)),  # 9
    Comparator("=", "d", plain.number_order(operator.eq)),  # 10
    Comparator("!=", "d", plain.number_order(operator.ne)),
    Comparator("<", "d", plain.number_order(operator.lt)),
    Comparator("<=", "d", plain.number_order(operator.le)),
    Comparator(">", "d", plain.number_order(operator.gt)),
    Comparator(">=", "d", plain.number_order(operator.ge)),  # 15
    *_pair(_ONE_OF, "l", hashed.one_of_hashed, hashes=True),  # 16, 17
    Comparator("BEFORE", "d", plain.number_order(operator.lt)),  # 18, in Unix seconds
    Comparator("AFTER", "d", plain.number_order(operator.gt)),  # 19
    *_pair(_EQUALS, "s", hashed.equals_hashed, hashes=True),  # 20, 21
    *_pair(_STARTS, "l", hashed.starts_hashed, hashes=True),  # 22, 23
    *_pair(_ENDS, "l", hashed.ends_hashed, hashes=True),  # 24, 25
    *_pair(_ARRAY, "l", hashed.items_hashed, hashes=True),  # 26, 27
    *_pair(_EQUALS, "s", plain.equals),  # 28, 29
    *_pair(_STARTS, "l", plain.starts),  # 30, 31
    *_pair(_ENDS, "l", plain.ends),  # 32, 33
    *_pair(_ARRAY, "l", plain.items),  # 34, 35
)
