"""Values and names in the definitions of flags and segments.

Definitions come from an upstream and may be malformed anywhere, so no function here raises.
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


def full_definition(snapshot: Snapshot, key: str) -> object:
    """Return a flag's definition as in the config JSON, with the segments it uses as a list under ``segments``.

    The list is sorted by the index by which the definition refers to the segments; without segments there is none.
    """
    flag = snapshot.flags[key]
    definition: object = flag.definition
    if not isinstance(definition, dict) or not flag.segment_indexes:
        return definition
    used = [segment_at(snapshot, index) for index in sorted(flag.segment_indexes)]
    return {**definition, "segments": [segment for segment in used if segment is not None]}


def segment_at(snapshot: Snapshot, index: int) -> object:
    """Return the definition of a segment by its index; None for an unknown index."""
    if not 0 <= index < len(snapshot.segments):
        return None
    return msgspec.json.decode(snapshot.segments[index].source)


def segment_name(segment: object) -> str:
    """Return the name in a segment's definition, or ""."""
    name = segment.get("n") if isinstance(segment, dict) else None
    return name if isinstance(name, str) else ""


def list_field(holder: object, field: str) -> list[Any]:
    """Return the list in ``field`` of ``holder``; an empty one if there is no list."""
    found = holder.get(field) if isinstance(holder, dict) else None
    return found if isinstance(found, list) else []


def is_boolean(definition: object) -> bool:
    """Whether the flag's type is boolean, as it is without a type."""
    return not isinstance(definition, dict) or definition.get("t") in (None, 0)


def value_of(definition: object, holder: object) -> Value | None:
    """Return the value in ``holder`` (the definition itself, a rule's ``s``, an option); None without a valid one."""
    number = (definition.get("t") or 0) if isinstance(definition, dict) else 0
    wrapped = holder.get("v") if isinstance(holder, dict) else None
    if not isinstance(number, int) or not 0 <= number < len(_FIELDS) or not isinstance(wrapped, dict):
        return None
    field, kind = _FIELDS[number]
    value: Value | None = wrapped.get(field)
    return value if isinstance(value, kind) and (field == "b" or not isinstance(value, bool)) else None


def default_value(definition: object) -> Value | None:
    """Return the value that is served when no rule matches; None without a valid one."""
    return value_of(definition, definition)


def initial_value(snapshot: Snapshot, key: str) -> bool | str | None:
    """Return the ``Feature.initial_value`` of a flag that the gateway first sees in ``snapshot``."""
    value = default_value(snapshot.flags[key].definition)
    return value if isinstance(value, bool) or value is None else value_text(value)


def value_text(value: Value | None) -> str:
    """Return a value as text: strings as they are, whole numbers without a decimal point."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode().removesuffix(".0")


@attrs.frozen
class SegmentEdit:
    """One segment that was created (``old`` is None), deleted (``new`` is None) or updated."""

    name: str
    position: int  # among the segments of this name: upstreams truncate names, so several segments may share one
    old: object
    new: object
    flags: tuple[str, ...]  # keys of the flags that use a segment of this name, before or after; sorted


def segment_edits(change: Change) -> list[SegmentEdit]:
    """Return the segments that changed, sorted by name; their order does not matter."""
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
    for index in range(len(snapshot.segments)):
        segment = segment_at(snapshot, index)
        found.setdefault(segment_name(segment), {})[index] = segment
    return found


def _users(snapshot: Snapshot, numbers: Mapping[int, object]) -> set[str]:
    return {key for key, flag in snapshot.flags.items() if not flag.segment_indexes.isdisjoint(numbers)}
