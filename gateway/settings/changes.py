"""What differs between two settings, and which of it a running gateway cannot take over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.settings.fields import Path, dotted, fields, inherited
from gateway.settings.marks import Marks
from gateway.settings.schema.root import Section, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


def changes(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the YAML paths of all options that differ, in the order of the schema; one per SDK that came or went."""
    return tuple(dotted(path) for path, _ in _differences(old, new, (), Marks()))


def restart_needed(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the YAML paths of options that differ and that only a restart applies."""
    return tuple(dotted(path) for path, restart in _differences(old, new, (), Marks()) if restart)


def _differences(old: Section, new: Section, path: Path, above: Marks) -> Iterator[tuple[Path, bool]]:
    for found in fields(type(old)):
        here = (*path, found.name)
        before, after = getattr(old, found.name), getattr(new, found.name)
        if before == after:
            continue
        marks = inherited(found.marks, above)
        if isinstance(before, Section):
            yield from _differences(before, after, here, marks)
        elif found.entries is not None:
            yield from _entries(before, after, here, marks)
        else:
            yield here, marks.restart


def _entries(
    before: dict[str, Section], after: dict[str, Section], path: Path, marks: Marks
) -> Iterator[tuple[Path, bool]]:
    for key in dict.fromkeys([*before, *after]):
        if key in before and key in after:
            yield from _differences(before[key], after[key], (*path, key), marks)
        else:
            yield (*path, key), marks.restart
