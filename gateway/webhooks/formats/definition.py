"""What a flag's or a segment's definition says to those outside.

Definitions come from an upstream and may be malformed anywhere: every function here answers, none raises.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from gateway.text import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Snapshot
    from gateway.webhooks.formats.change import Change

Value = bool | str | int | float
# By a setting's type ``t`` in config JSON v6 (boolean, text, whole number, number): the field of ``v`` with its value.
_FIELDS: tuple[tuple[str, type | tuple[type, ...]], ...] = (("b", bool), ("s", str), ("i", int), ("d", (int, float)))


def told(snapshot: Snapshot, key: str) -> object:
    """Return a flag's definition as in the config JSON, with the segments it uses as a list under ``segments``.

    The list is in the order of the numbers by which the definition names them; a flag that uses none has no list.
    """
    flag = snapshot.flags[key]
    definition: object = flag.definition
    if not isinstance(definition, dict) or not flag.segments:
        return definition
    used = [segment_at(snapshot, index) for index in sorted(flag.segments)]
    return {**definition, "segments": [segment for segment in used if segment is not None]}


def segment_at(snapshot: Snapshot, index: int) -> object:
    """Return the definition of a segment by its number; None when there is none."""
    if not 0 <= index < len(snapshot.groups):
        return None
    return msgspec.json.decode(snapshot.groups[index].source)


def segment_name(segment: object) -> str:
    """Return the name in a segment's definition; "" when it has none."""
    name = segment.get("n") if isinstance(segment, dict) else None
    return name if isinstance(name, str) else ""


def items(holder: object, field: str) -> list[Any]:
    """Return the list that ``holder`` has under ``field``; an empty one for anything else."""
    found = holder.get(field) if isinstance(holder, dict) else None
    return found if isinstance(found, list) else []


def is_boolean(definition: object) -> bool:
    """Whether the flag is on or off, rather than of some value; a definition without a type counts as boolean."""
    return not isinstance(definition, dict) or definition.get("t") in (None, 0)


def value_of(definition: object, holder: object) -> Value | None:
    """Return the value that ``holder`` (the definition itself, a rule's ``s``, an option) serves; None when none."""
    number = (definition.get("t") or 0) if isinstance(definition, dict) else 0
    wrapped = holder.get("v") if isinstance(holder, dict) else None
    if not isinstance(number, int) or not 0 <= number < len(_FIELDS) or not isinstance(wrapped, dict):
        return None
    field, kind = _FIELDS[number]
    value: Value | None = wrapped.get(field)
    return value if isinstance(value, kind) and (field == "b" or not isinstance(value, bool)) else None


def default_value(definition: object) -> Value | None:
    """Return what is served when no rule decides; None when the definition holds no such value."""
    return value_of(definition, definition)


def initial_value(snapshot: Snapshot, key: str) -> bool | str | None:
    """Return what ``Feature.initial_value`` is for a flag that is seen for the first time in ``snapshot``."""
    value = default_value(snapshot.flags[key].definition)
    return value if isinstance(value, bool) or value is None else value_text(value)


def value_text(value: Value | None) -> str:
    """Return a value as people and text fields see it: texts as they are, whole numbers without a point."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode().removesuffix(".0")


@attrs.frozen
class SegmentEdit:
    """One segment that was created (``old`` is None), deleted (``new`` is None) or edited."""

    name: str
    position: int  # among the segments of this name: upstreams cut names, so that several may share one
    old: object
    new: object
    flags: tuple[str, ...]  # keys of the flags that use a segment of this name, before or after; sorted


def segment_edits(change: Change) -> list[SegmentEdit]:
    """Return the segments that changed, by name; another order of segments is no change."""
    if not change.changes.segments:
        return []
    before, after = _named_segments(change.old), _named_segments(change.new)
    edits = []
    for name in change.changes.segments:
        olds, news = before.get(name, {}), after.get(name, {})
        users = tuple(sorted(_users(change.old, olds) | _users(change.new, news)))
        for position, (old, new) in enumerate(zip_longest(olds.values(), news.values())):
            if canonical_json(old) != canonical_json(new):
                edits.append(SegmentEdit(name, position, old, new, users))
    return edits


def _named_segments(snapshot: Snapshot) -> dict[str, dict[int, object]]:
    found: dict[str, dict[int, object]] = {}
    for index in range(len(snapshot.groups)):
        segment = segment_at(snapshot, index)
        found.setdefault(segment_name(segment), {})[index] = segment
    return found


def _users(snapshot: Snapshot, numbers: Mapping[int, object]) -> set[str]:
    return {key for key, flag in snapshot.flags.items() if not flag.segments.isdisjoint(numbers)}
