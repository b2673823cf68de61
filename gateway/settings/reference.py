"""The files generated from the schema: the option reference, the commented sample and the JSON Schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.settings.fields import ID, PREFIX, Field, Option, dotted, fields, inherited, options
from gateway.settings.json_schema import json_schema
from gateway.settings.parsing.coercion import BOOL_WORDS, allowed_values
from gateway.settings.schema import Section, Settings
from gateway.settings.schema.option import OptionInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

REGENERATE: Final = "flaggateway schema --write-docs ."
_TOP: Final = "Top level"
_WIDTH: Final = 116  # characters of a comment line in the sample

_INTRODUCTION: Final = f"""\
# Options

Written by `{REGENERATE}` from the schema in `gateway/settings/`; do not edit.

Every option can be set in the YAML file and by an environment variable, which has priority.
An empty variable counts as not set.
The file is the one given with `--config`, else `/etc/flaggateway/flaggateway.yml`,
else `/etc/configcat/proxy/options.yml`; without a file, only defaults and environment are used.
`flaggateway check` prints the resulting settings.

In environment variables

* booleans are {", ".join(f"`{word}`" for word in BOOL_WORDS)};
* lists, mappings and user attributes are JSON: `["a","b"]`, `{{"name":"value"}}`;
* `<ID>` is the SDK id in upper case with `_` for `-`: option `poll_interval` of SDK `my-sdk` is
  `{PREFIX}_MY_SDK_POLL_INTERVAL`, whether the SDK is declared in the file or in `{PREFIX}_SDKS`.
  An id is refused if its variables are also those of another SDK or of the gateway.

The column "applied" shows when a changed option takes effect: *SIGHUP* means at a reload of the running gateway,
*restart* means at the next start of the process; a reload logs the options that wait for a restart.

Options marked ⁺ do not exist in ConfigCat Proxy.
"""

_HEAD: Final = """\
| YAML | environment | type | default | description | applied |
| --- | --- | --- | --- | --- | --- |
"""

_UNSUPPORTED: Final = {
    "": "",
    "warn": "*Not supported yet: ignored with a warning.*",
    "error": "*Not supported yet: the gateway refuses to start.*",
}


def option_reference() -> str:
    """Return ``docs/options.md``: one table per section, with names, type, default and when a change is applied."""
    tables: dict[str, list[str]] = {_TOP: []}  # the first table, independent of the schema's order
    for option in options():
        tables.setdefault(_title(option), []).append(_row(option))
    return "\n".join([_INTRODUCTION, *(f"## {title}\n\n{_HEAD}{''.join(rows)}" for title, rows in tables.items())])


def _title(option: Option) -> str:
    """Return the heading of the table that lists an option; each section below http and cache has its own table."""
    path = option.path
    if len(path) == 1:
        return _TOP
    if path[0] == "sdks":
        return f"sdks.{ID}".replace("<", "\\<")  # else Markdown takes it for a tag, and shows nothing
    return f"{path[0]}.{path[1]}" if path[0] in {"http", "cache"} and len(path) > 2 else str(path[0])


def _row(option: Option) -> str:
    mark = "⁺" if option.info.not_in_configcat_proxy else ""
    names = " or ".join(f"`{name}`" for name in option.names)
    text = f"{option.field.description} {_UNSUPPORTED[option.info.unsupported]}".rstrip()
    applied = "restart" if option.info.restart else "SIGHUP"
    cells = (f"`{dotted(option.path)}`{mark}", names, _type(option.field), _default(option.field), text, applied)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _type(found: Field) -> str:
    return "a mapping of SDK id to options" if found.entry else allowed_values(found.kind)


def _default(found: Field) -> str:
    value = found.default()
    return "none" if value in ("", None, [], {}) else f"`{_yaml(value)}`"


def _yaml(value: object) -> str:
    """Return a default as YAML: JSON, except that a word has no quotes."""
    if isinstance(value, str) and value.isidentifier():
        return value
    return json.dumps(msgspec.to_builtins(value))


def sample() -> str:
    """Return ``etc/flaggateway.yml``: every option with its default, commented out.

    Text begins with ``##`` and options with ``#``; without that ``#`` the options are a valid file.
    """
    lines = [
        "## Every option of flaggateway with its default; remove the # of those that you want to set.",
        f"## Written by `{REGENERATE}` from the schema; see also docs/options.md.",
        "# yaml-language-server: $schema=../docs/schemas/settings.schema.json",
    ]
    lines.extend(_lines(Settings, 0, OptionInfo()))
    return "\n".join(lines) + "\n"


def _lines(section: type[Section], depth: int, above: OptionInfo) -> Iterator[str]:
    indent = "  " * depth
    for found in fields(section):
        info = inherited(found.info, above)
        if depth == 0:
            yield ""
        unsupported = " Not supported yet." if found.info.unsupported else ""
        yield from _comment(found.description + unsupported, indent)
        if found.section is not None:
            yield f"#{indent}{found.name}:"
            yield from _lines(found.section, depth + 1, info)
        elif found.entry is not None:
            yield f"#{indent}{found.name}:"
            yield f"#{indent}  my-sdk:"
            yield from _lines(found.entry, depth + 2, info)
        else:
            if found.info.example:
                yield from _comment(f"Example: {found.name}: {found.info.example}", indent)
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
    """Return the content of every generated file, by its path from the project's root."""
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    return {
        "docs/options.md": option_reference(),
        "docs/schemas/settings.schema.json": schema,
        "etc/flaggateway.yml": sample(),
    }
