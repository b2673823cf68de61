"""Conditions on readable values: texts, versions, numbers, times and lists.

Each function takes the attribute's name, the operand and the parameters, and returns a Match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags.coercion import SPACES, VersionKey, parse_version
from gateway.flags.conditions.match import Match, MatchParameters, skipping

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.flags.user import User


def one_of(name: str, operand: tuple[str, ...], terms: MatchParameters) -> Match:
    """Text is one of the values."""
    values, wanted = frozenset(operand), terms.wanted

    def match(user: User) -> bool | None:
        text = user.text.get(name)
        return None if text is None else (text in values) is wanted

    return match


def equals(name: str, operand: str, terms: MatchParameters) -> Match:
    """Text equals the value."""
    wanted = terms.wanted

    def match(user: User) -> bool | None:
        text = user.text.get(name)
        return None if text is None else (text == operand) is wanted

    return match


def contains(name: str, operand: tuple[str, ...], terms: MatchParameters) -> Match:
    """Text contains one of the values."""
    wanted = terms.wanted

    def match(user: User) -> bool | None:
        text = user.text.get(name)
        if text is None:
            return None
        for part in operand:
            if part in text:
                return wanted
        return not wanted

    return match


def starts(name: str, operand: tuple[str, ...], terms: MatchParameters) -> Match:
    """Text starts with one of the values."""
    wanted = terms.wanted

    def match(user: User) -> bool | None:
        text = user.text.get(name)
        return None if text is None else text.startswith(operand) is wanted

    return match


def ends(name: str, operand: tuple[str, ...], terms: MatchParameters) -> Match:
    """Text ends with one of the values."""
    wanted = terms.wanted

    def match(user: User) -> bool | None:
        text = user.text.get(name)
        return None if text is None else text.endswith(operand) is wanted

    return match


def version_one_of(name: str, operand: tuple[str, ...], terms: MatchParameters) -> Match:
    """Version is one of the values; with a malformed value the rule is skipped."""
    texts = [text for text in operand if text.strip(SPACES)]
    versions, wanted = frozenset(map(parse_version, texts)), terms.wanted
    if None in versions:
        return skipping

    def match(user: User) -> bool | None:
        version = user.version(name)
        return None if version is None else (version in versions) is wanted

    return match


def version_order(compare: Callable[[VersionKey, VersionKey], bool]) -> Callable[[str, str, MatchParameters], Match]:
    """Return the builder of a comparison of versions; with a malformed value the rule is skipped."""

    def make(name: str, operand: str, _terms: MatchParameters) -> Match:
        other = parse_version(operand)
        if other is None:
            return skipping

        def match(user: User) -> bool | None:
            version = user.version(name)
            return None if version is None else compare(version, other)

        return match

    return make


def number_order(compare: Callable[[float, float], bool]) -> Callable[[str, float, MatchParameters], Match]:
    """Return the builder of a comparison of numbers, or of times in Unix seconds."""

    def make(name: str, operand: float, _terms: MatchParameters) -> Match:
        def match(user: User) -> bool | None:
            number = user.number(name)
            return None if number is None else compare(number, operand)

        return match

    return make


def items(name: str, operand: tuple[str, ...], terms: MatchParameters) -> Match:
    """List has one of the values."""
    values, wanted = frozenset(operand), terms.wanted

    def match(user: User) -> bool | None:
        items = user.items(name)
        return None if items is None else values.isdisjoint(items) is not wanted

    return match
