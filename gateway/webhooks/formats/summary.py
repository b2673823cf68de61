"""A change as lines of text: what changed, with old and new value, and its author.

    Change ──► summarize() ──► lines of spans ──► chat.py encodes them for one service

Nothing is escaped here, since each service has its own markup.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

import attrs

from gateway.text import canonical_json
from gateway.webhooks.formats.definition import default_value, list_field, segment_edits, value_of, value_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.flags import Snapshot
    from gateway.webhooks.formats.change import Change

VALUE_LIMIT = 80  # characters of a key, a name or a value, which may be a whole document
NOTES_SHOWN = 500  # characters of the change notes
RULES_SHOWN = 3  # changed rules in one line
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
# Characters that are invisible or reverse the direction of text.
_MISLEADING = re.compile("[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


@attrs.frozen
class Span:
    """A piece of a line; ``plain`` is text of the gateway, all other styles are text of users, to be escaped."""

    text: str
    style: Literal["plain", "quoted", "strong", "code"] = "plain"


Line = tuple[Span, ...]


def summarize(change: Change) -> Iterator[Line]:
    """Yield the lines: author and notes, one per flag and segment, salt or preferences."""
    author = change.author.display_name if change.author else None
    by = [Span(" by "), _strong(author)] if author else [Span(" (author unknown)")]
    yield (Span("Feature flags of "), _strong(change.sdk_id), Span(" changed"), *by)
    if change.notes.strip():
        yield (Span("Notes: "), Span(one_line(change.notes, NOTES_SHOWN), "quoted"))
    yield from _flags(change)
    for edit in segment_edits(change):
        act = "created" if edit.old is None else "deleted" if edit.new is None else "updated"
        yield (Span("Segment "), _code(edit.name), Span(f" {act}"))
    if change.changes.salt_changed:
        yield (Span("The salt changed"),)
    elif change.changes.preferences_changed:
        yield (Span("The preferences changed"),)


def _flags(change: Change) -> Iterator[Line]:
    old, new, changes = change.old, change.new, change.changes
    for key in changes.updated:
        yield (Span("Updated "), _code(key), Span(": "), *_update(old, new, key, changes.segments))
    for key in changes.added:
        yield (Span("Created "), _code(key), Span(": "), _value(new, key))
    for key in changes.removed:
        yield (Span("Deleted "), _code(key), Span(", it was "), _value(old, key))


def _value(snapshot: Snapshot, key: str) -> Span:
    return _code(value_text(default_value(snapshot.flags[key].definition)))


def _update(old: Snapshot, new: Snapshot, key: str, segments: tuple[str, ...]) -> list[Span]:
    before, after = old.flags[key].definition, new.flags[key].definition
    parts: list[list[Span]] = []
    earlier, later = default_value(before), default_value(after)
    if canonical_json(earlier) != canonical_json(later):
        parts.append([_code(value_text(earlier)), Span(" → "), _code(value_text(later))])
    parts.extend(_rules(before, after))
    if canonical_json(list_field(before, "p")) != canonical_json(list_field(after, "p")):
        parts.append([Span("percentage options "), _code(shares(before)), Span(" → "), _code(shares(after))])
    if not parts:
        unchanged = [Span("still "), _code(value_text(later)), Span(", ")]
        same = canonical_json(before) == canonical_json(after)
        why = "a segment that it uses changed" if segments and same else "its definition changed"
        parts.append([*unchanged, Span("the salt changed" if same and not segments else why)])
    spans = parts[0]
    for part in parts[1:]:
        spans = [*spans, Span("; "), *part]
    return spans


def _rules(before: object, after: object) -> Iterator[list[Span]]:
    # Compared by index, since rules have no names: a rule inserted in front changes all later ones.
    pairs = enumerate(zip_longest(list_field(before, "r"), list_field(after, "r")), 1)
    different = [(number, was, now) for number, (was, now) in pairs if canonical_json(was) != canonical_json(now)]
    for number, was, now in different[:RULES_SHOWN]:
        earlier, later = served_text(before, was), served_text(after, now)
        if earlier == later:
            yield [Span(f"conditions of rule {number} changed, it serves "), _code(later)]
        else:
            yield [Span(f"rule {number} "), _code(earlier), Span(" → "), _code(later)]
    if len(different) > RULES_SHOWN:
        yield [Span(f"{len(different) - RULES_SHOWN} more rules")]


def served_text(definition: object, rule: object) -> str:
    """Return what a rule of a definition serves."""
    if not isinstance(rule, dict):
        return "none"
    return value_text(value_of(definition, rule["s"])) if rule.get("s") is not None else _shares_in(definition, rule)


def shares(definition: object) -> str:
    """Return the percentage options of a definition."""
    return _shares_in(definition, definition)


def _shares_in(definition: object, holder: object) -> str:
    options = [option for option in list_field(holder, "p") if isinstance(option, dict)]
    return ", ".join(f"{value_text(value_of(definition, o))} {o.get('p', 0)} %" for o in options) or "none"


def _code(text: str) -> Span:
    return Span(one_line(text, VALUE_LIMIT) or '""', "code")


def _strong(text: str) -> Span:
    return Span(one_line(text, VALUE_LIMIT), "strong")


def one_line(text: str, limit: int) -> str:
    """Return ``text`` in one line of at most ``limit`` characters, without misleading ones."""
    # Only the start is searched: a value may have megabytes.
    line = _MISLEADING.sub("", _BLANK.sub(" ", text[: 4 * limit])).strip()
    return line if len(line) <= limit and len(text) <= 4 * limit else line[: limit - 1] + "…"
