"""Targeting rules as the overrides of other systems: what a flag serves to a segment or an identifier.

A rule on a segment is an override for that segment; a rule on identifiers in clear text is one for each of them.
Rules that exclude (``IS NOT IN SEGMENT``, ``NOT EQUALS``) and rules on hashed identifiers are no overrides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway.text import canonical_json
from gateway.webhooks.formats.definition import (
    Value,
    default_value,
    list_field,
    segment_at,
    segment_name,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.flags import Snapshot

IDENTIFIER = "Identifier"
_IS_ONE_OF, _EQUALS = 0, 28  # comparators on clear text


@attrs.frozen
class Target:
    """The segment or the identifier of an override."""

    kind: str  # "segment" or "identifier"
    name: str


@attrs.frozen
class Override:
    """What is served to one target."""

    priority: int  # index of the rule; the first rule for a target decides
    value: Value | None
    basis: bytes  # equal exactly for equal overrides


def overrides(snapshot: Snapshot, key: str) -> dict[Target, Override]:
    """Return the overrides of a flag, in the order of its rules; none for an unknown flag."""
    if key not in snapshot.flags:
        return {}
    definition = snapshot.flags[key].definition
    found: dict[Target, Override] = {}
    for priority, rule in enumerate(list_field(definition, "r")):
        value, served = _served(definition, rule)
        for target, basis in _targets(snapshot, priority, rule):
            found.setdefault(target, Override(priority, value, canonical_json([*basis, value, served])))
    return found


def _served(definition: object, rule: object) -> tuple[Value | None, object]:
    # Percentage options have no single value; the default stands for them, as for a control group elsewhere.
    if not isinstance(rule, dict):
        return None, None
    value = value_of(definition, rule.get("s"))
    return (value if rule.get("s") is not None else default_value(definition)), [rule.get("s"), rule.get("p")]


def _targets(snapshot: Snapshot, priority: int, rule: object) -> Iterator[tuple[Target, list[object]]]:
    # Moving a rule changes the state of a segment, which contains the priority, but not that of an identifier.
    conditions = list_field(rule, "c")
    resolved = [_resolved(snapshot, condition) for condition in conditions]
    for index, condition in enumerate(conditions):
        segment = _segment_of(snapshot, condition)
        if segment is not None:
            yield Target("segment", segment_name(segment)), [priority, resolved, segment]
        others = resolved[:index] + resolved[index + 1 :]
        for name in _identifiers(condition):
            yield Target("identifier", name), [others]


def _segment_of(snapshot: Snapshot, condition: object) -> object:
    inner = condition.get("s") if isinstance(condition, dict) else None
    if not isinstance(inner, dict) or inner.get("c") not in (None, 0):
        return None
    index = inner.get("s") or 0
    return segment_at(snapshot, index) if isinstance(index, int) else None


def _resolved(snapshot: Snapshot, condition: object) -> object:
    """Return a condition with the segment's name: its index changes when another segment is added or removed."""
    inner = condition.get("s") if isinstance(condition, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("s") or 0, int):
        return condition
    return [inner.get("c"), segment_name(segment_at(snapshot, inner.get("s") or 0))]


def _identifiers(condition: object) -> list[str]:
    inner = condition.get("u") if isinstance(condition, dict) else None
    if not isinstance(inner, dict) or inner.get("a") != IDENTIFIER:
        return []
    comparator = inner.get("c") or 0
    if comparator == _EQUALS:
        return [inner["s"]] if isinstance(inner.get("s"), str) else []
    return [name for name in list_field(inner, "l") if isinstance(name, str)] if comparator == _IS_ONE_OF else []
