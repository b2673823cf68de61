"""The option reference and the commented sample file, as text; the schema is their only source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.settings.fields import ID, PREFIX, Field, Option, dotted, fields, inherited, options
from gateway.settings.marks import Marks
from gateway.settings.parsing.coercion import BOOL_WORDS, allowed
from gateway.settings.schema.root import Section, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

REGENERATE: Final = "flaggateway schema --write-docs ."
_TOP: Final = "Top level"
_WIDTH: Final = 116  # characters of a comment line in the sample

_INTRODUCTION: Final = f"""\
# Options

Written by `{REGENERATE}` from the schema in `gateway/settings/`; do not edit.

Every option can be set in the YAML file and by an environment variable, which wins.
An empty variable counts as not set.
The file is the one given with `--config`, else `/etc/flaggateway/flaggateway.yml`,
else `/etc/configcat/proxy/options.yml`; without a file, defaults and environment alone hold.
`flaggateway check` prints what they amount to.

In the environment

* truth values are {", ".join(f"`{word}`" for word in BOOL_WORDS)};
* lists, mappings and user attributes are JSON: `["a","b"]`, `{{"name":"value"}}`;
* `<ID>` is the SDK id in upper case with `_` for `-`: option `poll_interval` of SDK `my-sdk` is
  `{PREFIX}_MY_SDK_POLL_INTERVAL`. It holds for SDKs of the file and of `{PREFIX}_SDKS` alike.
  Ids whose variables would be those of another SDK or of the gateway are refused.

"Applied" says how a changed option takes hold: *SIGHUP* means that a reload applies it to the running gateway,
*restart* that the process must be started again; a reload names what is left waiting.

Options marked ⁺ are not known to the system that this gateway replaces.
"""

_HEAD: Final = """\
| YAML | environment | type | default | description | applied |
| --- | --- | --- | --- | --- | --- |
"""

_LATER: Final = {
    "warn": "*Not available in this version: ignored with a warning.*",
    "error": "*Not available in this version: the gateway refuses to start.*",
}


def option_reference() -> str:
    """Return ``docs/options.md``: one table per section, with names, type, default and how a change is applied."""
    tables: dict[str, list[str]] = {_TOP: []}  # first, whatever the order of the schema
    for option in options():
        tables.setdefault(_title(option), []).append(_row(option))
    return "\n".join([_INTRODUCTION, *(f"## {title}\n\n{_HEAD}{''.join(rows)}" for title, rows in tables.items())])


def _title(option: Option) -> str:
    """Group the leaves of one section; a section within HTTP or the caches is one of its own."""
    path = option.path
    if len(path) == 1:
        return _TOP
    if path[0] == "sdks":
        return f"sdks.{ID}"
    return f"{path[0]}.{path[1]}" if path[0] in {"http", "cache"} and len(path) > 2 else str(path[0])


def _row(option: Option) -> str:
    mark = "⁺" if option.ours else ""
    names = " or ".join(f"`{name}`" for name in option.names)
    text = f"{option.field.description} {_LATER[option.later]}" if option.later else option.field.description
    applied = "restart" if option.restart else "SIGHUP"
    cells = (f"`{dotted(option.path)}`{mark}", names, _type(option.field), _default(option.field), text, applied)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _type(found: Field) -> str:
    return "a mapping of SDK id to options" if found.entries else allowed(found.kind)


def _default(found: Field) -> str:
    value = found.default()
    return "none" if value in ("", None, [], {}) else f"`{_yaml(value)}`"


def _yaml(value: object) -> str:
    """Return a default as YAML; JSON is YAML, and a bare word looks friendlier."""
    if isinstance(value, str) and value.isidentifier():
        return value
    return json.dumps(msgspec.to_builtins(value))


def sample() -> str:
    """Return ``etc/flaggateway.yml``: every option with its default, all of it commented out.

    Lines of text begin with ``##``, lines of options with one ``#``: without that one they are a valid file.
    """
    lines = [
        "## Every option of flaggateway, with its default; what is commented out need not be set.",
        f"## Written by `{REGENERATE}` from the schema; docs/options.md says more.",
        "# yaml-language-server: $schema=../docs/schemas/settings.schema.json",
    ]
    lines.extend(_lines(Settings, 0, Marks()))
    return "\n".join(lines) + "\n"


def _lines(section: type[Section], depth: int, above: Marks) -> Iterator[str]:
    indent = "  " * depth
    for found in fields(section):
        marks = inherited(found.marks, above)
        if depth == 0:
            yield ""
        note = " Not available in this version." if found.marks.later else ""
        yield from _comment(found.description + note, indent)
        if found.section is not None:
            yield f"#{indent}{found.name}:"
            yield from _lines(found.section, depth + 1, marks)
        elif found.entries is not None:
            yield f"#{indent}{found.name}:"
            yield f"#{indent}  my-sdk:"
            yield from _lines(found.entries, depth + 2, marks)
        else:
            if found.marks.example:
                yield from _comment(f"Example: {found.name}: {found.marks.example}", indent)
            yield f"#{indent}{found.name}: {_sample_default(found)}".rstrip()


def _sample_default(found: Field) -> str:
    value = found.default()
    return "" if value is None else _yaml(value)


def _comment(text: str, indent: str) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(indent) + len(line) + len(word) > _WIDTH:
            yield f"##{indent} {line}"
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield f"##{indent} {line}"


def documents() -> dict[str, str]:
    """Return every generated file of the project, by its path from the project's root; tests hold them to it."""
    from gateway.settings.json_schema import json_schema

    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    return {
        "docs/options.md": option_reference(),
        "docs/schemas/settings.schema.json": schema,
        "etc/flaggateway.yml": sample(),
    }
