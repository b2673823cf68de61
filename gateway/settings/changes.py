"""Comparison of two settings: which differences a running gateway cannot apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.settings.fields import Path, dotted, fields, inherited
from gateway.settings.schema import Section, Settings
from gateway.settings.schema.option import OptionInfo

if TYPE_CHECKING:
    from collections.abc import Iterator


def restart_needed(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the YAML paths of the options that differ and that only a restart applies, in the schema's order."""
    return tuple(dotted(path) for path in _restart_options(old, new, (), OptionInfo()))


def _restart_options(old: Section, new: Section, path: Path, above: OptionInfo) -> Iterator[Path]:
    for found in fields(type(old)):
        here = (*path, found.name)
        before, after = getattr(old, found.name), getattr(new, found.name)
        info = inherited(found.info, above)
        if isinstance(before, Section):
            yield from _restart_options(before, after, here, info)
        elif found.entry is not None and not info.restart:
            for key in before:
                if key in after:
                    yield from _restart_options(before[key], after[key], (*here, key), info)
        elif before != after and info.restart:
            yield here
