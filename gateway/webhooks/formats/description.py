"""What changed in a flag, in words and without markup: for the console and the command line.

Snapshot, Snapshot, ConfigDiff ──► describe_flags ──► "rule 2: Country is one of DE, FR → DE"

Chat messages have the shorter words of ``summary``.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, Literal

import attrs

from gateway.flags import rule_conditions
from gateway.text import canonical_json
from gateway.webhooks.formats.definition import default_value, list_field, value_text
from gateway.webhooks.formats.summary import VALUE_LIMIT, one_line, served_text, shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.flags import ConditionWords, ConfigDiff, Snapshot

CONDITIONS_LIMIT: Final = 300  # characters of the conditions of a rule
RULES_SHOWN: Final = 10  # changed rules of a flag
RULES_ALIGNED: Final = 200  # rules of a flag; of more rules, an inserted one changes all later ones


@attrs.frozen
class FlagChange:
    """What changed in one flag: ``act`` is ``updated``, ``created`` or ``deleted``, ``text`` has no markup."""

    key: str
    act: Literal["updated", "created", "deleted"]
    text: str


@attrs.frozen
class _Rule:
    """A rule of a definition, with its number from 1."""

    number: int
    raw: object
    conditions: tuple[ConditionWords, ...]
    serves: str

    @property
    def when(self) -> str:
        return one_line(" and ".join(map(str, self.conditions)) or "no condition", CONDITIONS_LIMIT)


def describe_flags(old: Snapshot, new: Snapshot, changes: ConfigDiff) -> Iterator[FlagChange]:
    """Yield what changed per flag, in words; ``changes`` is the difference of both configs."""
    for key in changes.updated:
        yield FlagChange(key, "updated", "; ".join(_updates(old, new, key, changes.segments)))
    for key in changes.added:
        yield FlagChange(key, "created", _value(new.flags[key].definition))
    for key in changes.removed:
        yield FlagChange(key, "deleted", f"it was {_value(old.flags[key].definition)}")


def _updates(old: Snapshot, new: Snapshot, key: str, segments: tuple[str, ...]) -> list[str]:
    before, after = old.flags[key].definition, new.flags[key].definition
    parts = []
    if canonical_json(default_value(before)) != canonical_json(default_value(after)):
        parts.append(f"{_value(before)} → {_value(after)}")
    found = list(_rule_changes(_rules(old, before), _rules(new, after)))
    parts += found[:RULES_SHOWN]
    if len(found) > RULES_SHOWN:
        parts.append(f"{len(found) - RULES_SHOWN} more rules")
    if canonical_json(list_field(before, "p")) != canonical_json(list_field(after, "p")):
        parts.append(f"percentage options {_short(shares(before))} → {_short(shares(after))}")
    if not parts:
        same = canonical_json(before) == canonical_json(after)
        why = "its definition changed"
        if same:
            why = "a segment that it uses changed" if segments else "the salt changed"
        parts.append(f"still {_value(after)}, {why}")
    return parts


def _rules(snapshot: Snapshot, definition: object) -> list[_Rule]:
    raw = list_field(definition, "r")
    words = rule_conditions(definition, snapshot.segments)
    return [
        _Rule(number, rule, conditions, _short(served_text(definition, rule)))
        for number, (rule, conditions) in enumerate(zip_longest(raw, words[: len(raw)], fillvalue=()), 1)
    ]


def _rule_changes(before: Sequence[_Rule], after: Sequence[_Rule]) -> Iterator[str]:
    for was, now in _pairs(before, after):
        if was is None and now is not None:
            yield f"rule {now.number} added: if {now.when}, it serves {now.serves}"
        elif now is None and was is not None:
            yield f"rule {was.number} removed: if {was.when}, it served {was.serves}"
        elif was is not None and now is not None:
            yield _rule_change(was, now)


def _pairs(before: Sequence[_Rule], after: Sequence[_Rule]) -> Iterator[tuple[_Rule | None, _Rule | None]]:
    """Yield the rules that differ, before and after; rules have no names, so equal ones are found by their content."""
    olds, news = ([canonical_json(rule.raw) for rule in rules] for rules in (before, after))
    if max(len(olds), len(news)) > RULES_ALIGNED:
        both = zip_longest(zip(before, olds, strict=True), zip(after, news, strict=True), fillvalue=(None, b""))
        yield from ((was, now) for (was, a), (now, b) in both if a != b)
        return
    for act, i, j, k, m in SequenceMatcher(None, olds, news, autojunk=False).get_opcodes():
        if act != "equal":
            yield from zip_longest(before[i:j], after[k:m])


def _rule_change(was: _Rule, now: _Rule) -> str:
    name = f"rule {now.number}"
    if was.conditions == now.conditions:
        # What serves the same, by its words, differs in something that has none, such as the id of the variation.
        return f"{name}: {was.serves} → {now.serves}" if was.serves != now.serves else f"{name}: its definition changed"
    text = f"{name}: {_condition_change(was, now)}"
    return text if was.serves == now.serves else f"{text}; it serves {was.serves} → {now.serves}"


def _condition_change(was: _Rule, now: _Rule) -> str:
    """Return the only condition that differs, once if it compares the same; else all conditions."""
    if len(was.conditions) == len(now.conditions):
        different = [(a, b) for a, b in zip(was.conditions, now.conditions, strict=True) if a != b]
        if len(different) == 1:
            ((a, b),) = different
            if a.subject == b.subject:
                return one_line(f"{a} → {b.operand}", CONDITIONS_LIMIT)
            return one_line(f"{a} → {b}", CONDITIONS_LIMIT)
    return f"{was.when} → {now.when}"


def _value(definition: object) -> str:
    return _short(value_text(default_value(definition)))


def _short(text: str) -> str:
    return one_line(text, VALUE_LIMIT) or '""'
