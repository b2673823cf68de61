"""Parsed YAML and JSON before the schema is applied: scalars, lists and mappings with their positions.

YAML text ──► read_yaml ──┐
                          ├──► ScalarNode | ListNode | MappingNode ──► reading ──► Settings
CONFIGCAT_… ──► read_json ┘
"""

from __future__ import annotations

import json
import re
from typing import Final, Literal

import attrs

DEPTH_LIMIT: Final = 32  # levels; the schema needs 7, and deeper nesting can exhaust the stack.
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
_DIGITS_LIMIT: Final = 400  # characters; more than a double needs, and Python refuses to parse integers of thousands.


@attrs.frozen(eq=False)
class ScalarNode:
    """One value: its text as written, and the value of that text without a schema."""

    text: str
    value: Plain
    origin: Origin = "yaml"
    line: int | None = None
    column: int | None = None


@attrs.frozen(eq=False)
class ListNode:
    """A list."""

    items: list[Node]
    line: int | None = None
    column: int | None = None


@attrs.frozen(eq=False)
class MappingNode:
    """A mapping, with line and column of each key."""

    entries: dict[str, Node]
    key_positions: dict[str, tuple[int, int]]
    line: int | None = None
    column: int | None = None


Node = ScalarNode | ListNode | MappingNode


class ParseError(ValueError):
    """The text is not valid YAML or JSON; the message never quotes it."""

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


def is_empty(node: Node | None) -> bool:
    """Return whether there is no value, or YAML's null."""
    return node is None or (isinstance(node, ScalarNode) and node.value is None)


def resolve(text: str) -> Plain:
    """Return the value of an unquoted YAML scalar by the core schema of YAML 1.2 (10.3.2), where ``NO`` is text.

    PyYAML itself follows YAML 1.1, where ``NO`` is false and ``010`` is eight.
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


def read_json(text: str) -> Node:
    """Return the value of a JSON text.

    :raises ParseError: if it is not valid JSON, is nested too deeply, or has a key twice.
    """
    try:
        return _node(json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse), 0)
    except json.JSONDecodeError as error:
        raise ParseError("not valid JSON", error.lineno, error.colno) from None
    except RecursionError:
        raise ParseError("nested too deeply") from None
    except ParseError:
        raise
    except ValueError:
        raise ParseError("a number has too many digits") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ParseError("a key occurs twice")
    return found


def _refuse(_word: str) -> object:
    raise ParseError("NaN and Infinity are not valid JSON")


def _node(value: object, depth: int) -> Node:
    if depth > DEPTH_LIMIT:
        raise ParseError("nested too deeply")
    match value:
        case dict():
            return MappingNode({str(key): _node(item, depth + 1) for key, item in value.items()}, {})
        case list():
            return ListNode([_node(item, depth + 1) for item in value])
        case None | bool() | int() | float() | str():
            return ScalarNode(str(value), value, "json")
    raise ParseError("not valid JSON")  # pragma: no cover - json returns no other type
