"""What was written, before anybody knows what it means: text, lists and mappings, with their places.

YAML text ──► read_yaml ──┐
                          ├──► Scalar | Items | Entries ──► reading ──► Settings
CONFIGCAT_… ──► read_json ┘
"""

from __future__ import annotations

import json
import re
from typing import Final, Literal

import attrs

DEPTH_LIMIT: Final = 32  # levels; the schema itself needs 7, and deep nesting only serves to exhaust a parser.
Plain = None | bool | int | float | str
Origin = Literal["yaml", "json", "environment"]

_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_BASED = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_DIGITS_LIMIT: Final = 400  # characters; more than any double has, and Python refuses integers of thousands.


@attrs.frozen(eq=False)
class Scalar:
    """One value: its text as written, and what that text means by itself."""

    text: str
    value: Plain
    origin: Origin = "yaml"
    line: int | None = None
    column: int | None = None


@attrs.frozen(eq=False)
class Items:
    """A list."""

    items: list[Raw]
    line: int | None = None
    column: int | None = None


@attrs.frozen(eq=False)
class Entries:
    """A mapping, with the place of each key."""

    entries: dict[str, Raw]
    marks: dict[str, tuple[int, int]]
    line: int | None = None
    column: int | None = None


Raw = Scalar | Items | Entries


class Unreadable(ValueError):
    """The text cannot be taken apart; the message never quotes it."""

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


def is_null(raw: Raw | None) -> bool:
    """Tell whether nothing was said: no value, or YAML's null."""
    return raw is None or (isinstance(raw, Scalar) and raw.value is None)


def resolve(text: str) -> Plain:
    """Return what an unquoted YAML scalar means by the core schema of YAML 1.2 (10.3.2), so that ``NO`` is a country.

    PyYAML's own rules are those of YAML 1.1, where it is false, and ``010`` is eight.
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _DIGITS_LIMIT:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    special = text.lower().lstrip("+-")
    return float(text.replace(".", "")) if special in {".inf", ".nan"} else text


def read_json(text: str) -> Raw:
    """Return the value of a JSON text; raises ``Unreadable``, also for a key that is given twice."""
    try:
        return _raw(json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse), 0)
    except json.JSONDecodeError as error:
        raise Unreadable("not valid JSON", error.lineno, error.colno) from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except Unreadable:
        raise
    except ValueError:
        raise Unreadable("a number has too many digits") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("a key is given twice")
    return found


def _refuse(_word: str) -> object:
    raise Unreadable("NaN and Infinity are no JSON")


def _raw(value: object, depth: int) -> Raw:
    if depth > DEPTH_LIMIT:
        raise Unreadable("nested too deeply")
    match value:
        case dict():
            return Entries({str(key): _raw(item, depth + 1) for key, item in value.items()}, {})
        case list():
            return Items([_raw(item, depth + 1) for item in value])
        case None | bool() | int() | float() | str():
            return Scalar(str(value), value, "json")
    raise Unreadable("not valid JSON")  # pragma: no cover - json makes nothing else
