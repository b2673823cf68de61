"""A draft as YAML: the origin of each option behind it, and what has no equal at the end."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

import yaml

from gateway.migration.draft import Entry, Path
from gateway.settings import Settings
from gateway.text import replace_unprintable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.migration.draft import Draft, Note
    from gateway.migration.neighbour import Neighbour

WIDTH: Final = 110  # characters of a comment line
_STEP: Final = "  "
_ORDER: Final = ("sdks", *(name for name in Settings.__struct_fields__ if name != "sdks"))


def written(draft: Draft, neighbour: Neighbour) -> str:
    """Return the text of the settings file."""
    lines = [
        *_comment(f"Settings of flaggateway, made from those of {neighbour.title} by `flaggateway import`."),
        *_comment("Behind an option is the name of the setting that it comes from; the end lists what has no equal."),
    ]
    tree = _tree(draft)
    for name in sorted(tree, key=lambda name: _ORDER.index(str(name)) if name in _ORDER else len(_ORDER)):
        lines.append("")
        lines.extend(_lines(draft, (name,), tree[name], 0))
    lines.extend(_notes(f"Settings of {neighbour.title} without an equal:", draft.no_equal))
    lines.extend(_notes("Settings that need no option, because the gateway always works in that way:", draft.always))
    lines.extend(_notes("Settings that were left out, because their value cannot be used:", draft.unusable))
    if draft.unknown:
        lines += [
            "",
            *_comment(f"Names that {neighbour.title} does not document, left out: {', '.join(draft.unknown)}"),
        ]
    return "\n".join(lines) + "\n"


_Branch = dict[str | int, object]


def _tree(draft: Draft) -> _Branch:
    root: _Branch = {}
    for path, entry in draft.entries.items():
        branch = root
        for part in path[:-1]:
            below = branch.setdefault(part, {})
            assert isinstance(below, dict), path  # an option is never a section
            branch = below
        branch[path[-1]] = entry
    return root


def _lines(draft: Draft, path: Path, value: object, depth: int) -> Iterator[str]:
    indent, key = _STEP * depth, path[-1]
    remarks = [line for remark in draft.remarks.get(path, []) for line in _comment(remark, indent)]
    yield from remarks
    if isinstance(value, Entry):
        origin = f"  # {value.source}" if value.source else ""
        yield f"{indent}{_inline(key)}: {_inline(value.value)}{origin}"
        return
    assert isinstance(value, dict)
    yield f"{indent}{_inline(key)}:"
    if all(isinstance(name, int) for name in value):
        for number, item in value.items():
            yield from _item(draft, (*path, number), item, depth + 1)
        return
    for name, below in value.items():
        yield from _lines(draft, (*path, name), below, depth + 1)


def _item(draft: Draft, path: Path, item: object, depth: int) -> Iterator[str]:
    """Yield an item of a list of mappings: as a mapping whose first option follows the dash."""
    assert isinstance(item, dict)
    indent = _STEP * depth
    dash = "- "
    for name, below in item.items():
        for line in _lines(draft, (*path, name), below, depth + 1):
            is_comment = line.lstrip().startswith("#")
            yield line if is_comment or not dash else f"{indent}{dash}{line.lstrip()}"
            dash = dash if is_comment else ""


def _inline(value: object) -> str:
    """Return a value on one line; a list or mapping in brackets."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=1 << 30)
    return text.removesuffix("...\n").strip()


def _notes(title: str, notes: Iterable[Note]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for note in notes:
        reasons.setdefault(note.reason, []).append(note.source)
    if reasons:
        yield ""
        yield from _comment(title)
    for reason, names in reasons.items():
        yield from _comment(f"* {', '.join(dict.fromkeys(names))}: {reason}", hanging="  ")


def _comment(text: str, indent: str = "", hanging: str = "") -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        replace_unprintable(text),
        WIDTH,
        initial_indent=start,
        subsequent_indent=start + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
