"""The users that a change can concern, where exact texts of their attributes name them.

A rule "Identifier is one of 100 texts" never matches other users, so an edit of that rule concerns no others.  The
rules of two versions of a flag are compared: a rule that both have gives other users the same outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway.flags.conditions.comparators import comparator_of, read_operand
from gateway.flags.config_json import decode_piece
from gateway.flags.definition import (
    Condition,
    Fault,
    FlagDefinition,
    PrerequisiteCondition,
    SegmentCondition,
    UserCondition,
    parse_flag,
)
from gateway.text import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.flags.difference import ConfigDiff
    from gateway.flags.segment import Segment
    from gateway.flags.snapshot import Snapshot

    Texts = dict[str, set[str]]  # by attribute

FLAGS_COMPARED = 16  # updated flags; a change of more is seldom for few users
DEFINITION_BYTES = 256 * 1024  # of the updated flags, which are decoded: some 4 ms; longer ones name very many users

ONE_OF, EQUALS = 0, 28  # the comparators of whole texts; the next number of each is its negation
EXACT = frozenset({ONE_OF, ONE_OF + 1, EQUALS, EQUALS + 1})


def reach(old: Snapshot, new: Snapshot, changes: ConfigDiff) -> Mapping[str, frozenset[str]] | None:
    """Return texts by attribute: a user who has none of them gets equal Results from both Snapshots.

    ``changes`` is their difference.  None: not known, the change may concern any user.
    """
    if changes.added or changes.removed or changes.salt_changed or len(changes.updated) > FLAGS_COMPARED:
        return None
    # A flag that only has updated prerequisites changes with their Results, or begins or ends to fail.
    if any(config.flags[key].fault is not None for config in (old, new) for key in changes.affected):
        return None
    if sum(len(config.flags[key].source) for config in (old, new) for key in changes.updated) > DEFINITION_BYTES:
        return None
    found: Texts = {}
    for key in changes.updated:
        texts = _texts_of_flag(old, new, key)
        if texts is None:
            return None
        _add(found, texts)
    return {name: frozenset(texts) for name, texts in found.items()}


@attrs.frozen
class _Rule:
    """A targeting rule of one version of a flag, with the segments of that version."""

    conditions: tuple[Condition, ...]
    outcome: bytes  # what it serves, as JSON
    identity: tuple[bytes, ...]  # equal for two rules with equal outcome and conditions, segments included
    segments: Sequence[Segment]


def _texts_of_flag(old: Snapshot, new: Snapshot, key: str) -> Texts | None:
    before, after = _rules(old, key), _rules(new, key)
    if before is None or after is None or before[0] != after[0]:
        return None
    olds, news = before[1], after[1]
    while olds and news and olds[-1].identity == news[-1].identity:
        olds.pop()
        news.pop()
    start = 0
    while start < min(len(olds), len(news)) and olds[start].identity == news[start].identity:
        start += 1
    return _texts_of_rules(olds[start:], news[start:])


def _rules(snapshot: Snapshot, key: str) -> tuple[bytes, list[_Rule]] | None:
    """Return a flag's definition without its rules, and the rules; None if it is malformed."""
    raw = decode_piece(snapshot.flags[key].source)
    definition = parse_flag(raw)
    if not isinstance(raw, dict) or not isinstance(definition, FlagDefinition):
        return None
    rules = []
    for rule, raw_rule in zip(definition.rules, raw.pop("r", None) or (), strict=True):
        indexes = [one.index for one in rule.conditions if isinstance(one, SegmentCondition)]
        used = [snapshot.segments[index : index + 1] if index >= 0 else () for index in indexes]
        identity = canonical_json(raw_rule), *(canonical_json(decode_piece(s.source)) for found in used for s in found)
        outcome = canonical_json({name: value for name, value in raw_rule.items() if name != "c"})
        rules.append(_Rule(rule.conditions, outcome, identity, snapshot.segments))
    return canonical_json(raw), rules


def _texts_of_rules(olds: Sequence[_Rule], news: Sequence[_Rule]) -> Texts | None:
    """Return texts: for a user who has none of them, the rules of both versions have the same outcome."""
    found: Texts = {}
    if len(olds) != len(news):
        return found if all(_add_matched(found, rule) for rule in (*olds, *news)) else None
    for one, two in zip(olds, news, strict=True):
        if one.identity == two.identity:
            continue
        texts = _edited(one, one.conditions, two, two.conditions) if one.outcome == two.outcome else None
        if texts is not None:
            _add(found, texts)
        elif not (_add_matched(found, one) and _add_matched(found, two)):
            return None
    return found


def _add_matched(found: Texts, rule: _Rule) -> bool:
    texts = _matched_by(rule, rule.conditions)
    if texts is not None:
        _add(found, texts)
    return texts is not None


# The texts that two versions of a rule with the same outcome treat differently


def _edited(one: _Rule, before: Sequence[Condition], two: _Rule, after: Sequence[Condition]) -> Texts | None:
    if len(before) != len(after):
        return None
    found: Texts = {}
    for old, new in zip(before, after, strict=True):
        texts = _edited_condition(one, old, two, new)
        if texts is None:
            return None
        _add(found, texts)
    return found


def _edited_condition(one: _Rule, old: Condition, two: _Rule, new: Condition) -> Texts | None:
    match old, new:
        case UserCondition(), UserCondition():
            if canonical_json(old.raw) == canonical_json(new.raw):
                return {}
            before, after = _whole_texts(old), _whole_texts(new)
            if before is None or after is None or (old.attribute, old.comparator) != (new.attribute, new.comparator):
                return None
            return {old.attribute: before ^ after}
        case SegmentCondition(), SegmentCondition():
            inner, other = _segment(one, old), _segment(two, new)
            if inner is None or other is None or old.negated is not new.negated:
                return None
            if inner is not other and (inner.hashed or other.hashed):
                return None  # the hashes depend on the segment's name
            return _edited(one, _conditions(inner), two, _conditions(other))
        case PrerequisiteCondition(), PrerequisiteCondition():
            return {} if canonical_json(old.raw) == canonical_json(new.raw) else None
        case _:
            return None


# The texts without which a rule never matches


def _matched_by(rule: _Rule, conditions: Sequence[Condition]) -> Texts | None:
    """Return the texts of the first condition on whole texts; None if there is none, or an earlier one can fail."""
    for condition in conditions:
        if isinstance(condition, SegmentCondition):
            segment = _segment(rule, condition)
            if segment is None:
                return None
            inner = _conditions(segment)
            texts = None if condition.negated else _matched_by(rule, inner)
            if texts is not None:
                return texts
            if not all(map(_never_fails, inner)):
                return None
        elif not _never_fails(condition):
            return None
        elif isinstance(condition, UserCondition) and condition.comparator in {ONE_OF, EQUALS}:
            return {condition.attribute: _whole_texts(condition) or set()}
    return None


def _segment(rule: _Rule, condition: SegmentCondition) -> Segment | None:
    """Return the segment of a condition, or None if there is no usable one."""
    if not 0 <= condition.index < len(rule.segments):
        return None
    found = rule.segments[condition.index]
    return None if isinstance(found.definition, Fault) else found


def _conditions(segment: Segment) -> tuple[UserCondition | Fault, ...]:
    return () if isinstance(segment.definition, Fault) else segment.definition.conditions


def _never_fails(condition: Condition) -> bool:
    """Return whether a condition cannot end an evaluation: a well-formed one on a readable text."""
    if not isinstance(condition, UserCondition):
        return False
    comparator = comparator_of(condition)
    return comparator is not None and not comparator.hashed and read_operand(condition, comparator) is not None


def _whole_texts(condition: UserCondition) -> set[str] | None:
    """Return the operand of a comparator of whole texts; None for others, and if it is malformed."""
    comparator = comparator_of(condition)
    if comparator is None or condition.comparator not in EXACT:
        return None
    operand = read_operand(condition, comparator)
    if isinstance(operand, str):
        return {operand}
    return set(operand) if isinstance(operand, tuple) else None


def _add(found: Texts, texts: Texts) -> None:
    for name, more in texts.items():
        found.setdefault(name, set()).update(more)
