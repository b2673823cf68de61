"""The schema, taken apart: each field with its type, default and marks, and each option with its names."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import attrs
import msgspec
from msgspec import inspect

from gateway.settings.marks import Later, Marks, Secret, marks_in
from gateway.settings.schema.root import Section, Settings
from gateway.text import replace_unprintable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = "CONFIGCAT"
ID = "<id>"  # stands for an SDK id in paths of options

Path = tuple[str | int, ...]


@attrs.frozen
class Field:
    """One field of one section."""

    name: str
    kind: inspect.Type  # without annotations
    description: str
    marks: Marks
    default: Callable[[], object]
    section: type[Section] | None  # what is below, when the field is a group
    entries: type[Section] | None  # what each entry is, when it is a mapping of groups

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The last part of the environment name, the documented one first."""
        return self.marks.env or (self.name.upper(),)


@attrs.frozen
class Option:
    """One option: a leaf of the schema, with what its sections say about it."""

    path: Path
    names: tuple[str, ...]  # environment names, the documented one first
    field: Field
    restart: bool
    later: Later
    hidden: Secret
    ours: bool


@cache
def fields(section: type[Section]) -> tuple[Field, ...]:
    """Return the fields of a section in the order they are declared."""
    return tuple(_field(info) for info in msgspec.structs.fields(section))


def _field(info: msgspec.structs.FieldInfo) -> Field:
    kind = inspect.type_info(info.type)
    description, marks = "", Marks()
    if isinstance(kind, inspect.Metadata):
        description = str((kind.extra_json_schema or {}).get("description", ""))
        marks = marks_in(kind.extra)
        kind = kind.type
    default = info.default_factory if info.default_factory is not msgspec.NODEFAULT else lambda: info.default
    return Field(info.name, kind, description, marks, default, _section_of(kind), _entries_of(kind))


def _section_of(kind: inspect.Type) -> type[Section] | None:
    return kind.cls if isinstance(kind, inspect.StructType) and issubclass(kind.cls, Section) else None


def _entries_of(kind: inspect.Type) -> type[Section] | None:
    return _section_of(kind.value_type) if isinstance(kind, inspect.DictType) else None


def options() -> Iterator[Option]:
    """Yield every option of the schema; those of an SDK have ``<id>`` in path and ``<ID>`` in name."""
    return _walk(Settings, (), PREFIX, Marks())


def _walk(section: type[Section], path: Path, prefix: str, above: Marks) -> Iterator[Option]:
    for found in fields(section):
        here = (*path, found.name)
        names = tuple(f"{prefix}_{suffix}" for suffix in found.suffixes)
        marks = inherited(found.marks, above)
        if found.section is not None:
            yield from _walk(found.section, here, names[0], marks)
            continue
        yield Option(here, names, found, marks.restart, marks.later, marks.hidden, marks.ours)
        if found.entries is not None:
            yield from _walk(found.entries, (*here, ID), f"{PREFIX}_<ID>", marks)


def inherited(marks: Marks, above: Marks) -> Marks:
    """Return the marks of a field, with what the sections above say where it says nothing."""
    return attrs.evolve(
        marks,
        restart=marks.restart or above.restart,
        later=marks.later or above.later,
        hidden=marks.hidden or above.hidden,
        ours=marks.ours or above.ours,
    )


def dotted(path: Path) -> str:
    """Return a path as people write it: ``tls.certificates[0].cert``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return replace_unprintable(text)
