"""The schema as data: the fields of each section, and all options with their paths and environment variables."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import attrs
import msgspec
from msgspec import inspect

from gateway.settings.schema import Section, Settings
from gateway.settings.schema.option import OptionInfo, option_info
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
    info: OptionInfo
    default: Callable[[], object]
    section: type[Section] | None  # if the field is a section
    entry: type[Section] | None  # if the field is a mapping of sections: the type of each

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The last part of the environment variables, the documented one first."""
        return self.info.env or (self.name.upper(),)


@attrs.frozen
class Option:
    """One option: a field that is not a section, with what it inherits from the sections above."""

    path: Path
    names: tuple[str, ...]  # environment variables, the documented one first
    field: Field
    info: OptionInfo


@cache
def fields(section: type[Section]) -> tuple[Field, ...]:
    """Return the fields of a section in the order of their declaration."""
    return tuple(_field(info) for info in msgspec.structs.fields(section))


def _field(declared: msgspec.structs.FieldInfo) -> Field:
    kind = inspect.type_info(declared.type)
    description, info = "", OptionInfo()
    if isinstance(kind, inspect.Metadata):
        description = str((kind.extra_json_schema or {}).get("description", ""))
        info = option_info(kind.extra)
        kind = kind.type
    factory = declared.default_factory
    default = factory if factory is not msgspec.NODEFAULT else lambda: declared.default
    entry = _section_of(kind.value_type) if isinstance(kind, inspect.DictType) else None
    return Field(declared.name, kind, description, info, default, _section_of(kind), entry)


def _section_of(kind: inspect.Type) -> type[Section] | None:
    return kind.cls if isinstance(kind, inspect.StructType) and issubclass(kind.cls, Section) else None


def options() -> Iterator[Option]:
    """Yield every option of the schema; those of an SDK have ``<id>`` in the path and ``<ID>`` in the variable."""
    return _options(Settings, (), PREFIX, OptionInfo())


def _options(section: type[Section], path: Path, prefix: str, above: OptionInfo) -> Iterator[Option]:
    for found in fields(section):
        here = (*path, found.name)
        names = tuple(f"{prefix}_{suffix}" for suffix in found.suffixes)
        info = inherited(found.info, above)
        if found.section is not None:
            yield from _options(found.section, here, names[0], info)
            continue
        yield Option(here, names, found, info)
        if found.entry is not None:
            yield from _options(found.entry, (*here, ID), f"{PREFIX}_<ID>", info)


def inherited(info: OptionInfo, above: OptionInfo) -> OptionInfo:
    """Return a field's ``OptionInfo``, completed by that of the section above."""
    return attrs.evolve(
        info,
        restart=info.restart or above.restart,
        unsupported=info.unsupported or above.unsupported,
        hidden=info.hidden or above.hidden,
        not_in_configcat_proxy=info.not_in_configcat_proxy or above.not_in_configcat_proxy,
    )


def dotted(path: Path) -> str:
    """Return a path in the spelling of the documentation: ``tls.certificates[0].cert``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return replace_unprintable(text)
