"""The conditions of targeting rules in words, without a user: what a change of a rule is described by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.flags.conditions.comparators import comparator_of, read_operand
from gateway.flags.definition import (
    Condition,
    Fault,
    PrerequisiteCondition,
    SegmentCondition,
    UserCondition,
    parse_flag,
)
from gateway.flags.encoding import encode_number
from gateway.text import amount, iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.flags.segment import Segment

VALUES_SHOWN: Final = 10  # comparison values of a condition; the rest is counted
DATES: Final = frozenset({"BEFORE", "AFTER"})  # comparators whose values are Unix seconds
EARLIEST, LATEST = 0, 253_402_300_799  # what is shown as a date: the years 1970 to 9999


class ConditionWords(NamedTuple):
    """A condition in two parts: ``Country is one of`` and ``DE, FR``; hashed values are counted, not shown."""

    subject: str
    operand: str

    def __str__(self) -> str:
        return f"{self.subject} {self.operand}".rstrip()


def rule_conditions(definition: object, segments: Sequence[Segment]) -> list[tuple[ConditionWords, ...]]:
    """Return the conditions of each rule of a flag's definition, as in the config JSON; none if it is malformed."""
    parsed = parse_flag(definition)
    if isinstance(parsed, Fault):
        return []
    return [tuple(_words(condition, segments) for condition in rule.conditions) for rule in parsed.rules]


def _words(condition: Condition, segments: Sequence[Segment]) -> ConditionWords:
    match condition:
        case UserCondition():
            return _user_words(condition)
        case SegmentCondition(index, negated):
            segment = segments[index].definition if 0 <= index < len(segments) else None
            name = f"number {index}" if segment is None or isinstance(segment, Fault) else segment.name
            return ConditionWords(f"the user is {'not ' if negated else ''}in segment", name)
        case PrerequisiteCondition(key, negated, raw):
            held = raw.get("v")
            values = [value for value in held.values() if value is not None] if isinstance(held, dict) else []
            return ConditionWords(f"flag {key} {'is not' if negated else 'is'}", _plain(values[0] if values else None))
        case _:
            return ConditionWords("a malformed condition", "")


def _user_words(condition: UserCondition) -> ConditionWords:
    comparator = comparator_of(condition)
    if comparator is None:
        return ConditionWords(f"{condition.attribute} comparator", str(condition.comparator))
    operand = read_operand(condition, comparator)
    if comparator.words in DATES and isinstance(operand, (int, float)) and EARLIEST <= operand <= LATEST:
        return ConditionWords(f"{condition.attribute} {comparator.words.lower()}", iso(operand))
    return ConditionWords(
        f"{condition.attribute} {comparator.words.lower()}", _operand(operand, hashed=comparator.hashed)
    )


def _operand(operand: object, *, hashed: bool) -> str:
    if isinstance(operand, tuple):
        if hashed:
            return amount(len(operand), "hashed value")
        more = len(operand) - VALUES_SHOWN
        return ", ".join([*operand[:VALUES_SHOWN], *([f"{more} more"] if more > 0 else [])]) or "nothing"
    if isinstance(operand, str) and hashed:
        return "a hashed value"
    return _plain(operand)


def _plain(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return encode_number(float(value)).decode()
        case str():
            return value or '""'
        case _:
            return "nothing"
