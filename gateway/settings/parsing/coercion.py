"""Conversion of one parsed value to the type that the schema declares."""

import math
import re
from typing import Final

import attrs
from msgspec import inspect

from gateway.settings.parsing.nodes import ListNode, MappingNode, Node, ScalarNode

# The words that Go's strconv.ParseBool accepts, because ConfigCat Proxy parses environment variables with it.
BOOL_WORDS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
# Further words of YAML 1.1, which Go's YAML parser accepts for booleans.
_YAML_WORDS: Final = {
    **dict.fromkeys(("y", "yes", "on"), True),
    **dict.fromkeys(("n", "no", "off"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)  # 18 digits stay below 2**63
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
LARGEST: Final = 2**53  # doubles are exact up to here; no number of seconds or bytes is as large.


@attrs.frozen
class InvalidValue:
    """The reason why a value was refused: it has a wrong type, or the right type and is not allowed."""

    allowed: str
    wrong_type: bool


def convert(kind: inspect.Type, node: ScalarNode) -> object | InvalidValue:
    """Return the value of a scalar as the type ``kind``, or an ``InvalidValue``.

    Environment variables are text and are parsed, JSON must have the right type, YAML also accepts words for booleans.
    """
    match kind:
        case inspect.BoolType():
            found: object = _boolean(node)
        case inspect.IntType():
            found = _integer(node)
        case inspect.FloatType():
            found = _number(node)
        case inspect.StrType():
            found = node.text if node.origin != "json" or isinstance(node.value, str) else None
        case inspect.LiteralType():
            found = next((value for value in kind.values if node.text == str(value)), None)
            return InvalidValue(allowed_values(kind), wrong_type=False) if found is None else found
        case inspect.UnionType():
            return _convert_union(kind, node)
        case _:
            found = None
    if found is None:
        return InvalidValue(allowed_values(kind), wrong_type=True)
    return found if _within(kind, found) else InvalidValue(allowed_values(kind), wrong_type=False)


def _boolean(node: ScalarNode) -> bool | None:
    if node.origin == "environment":
        return BOOL_WORDS.get(node.text)
    if isinstance(node.value, bool):
        return node.value
    return _YAML_WORDS.get(node.text.lower()) if node.origin == "yaml" else None


def _integer(node: ScalarNode) -> int | None:
    if node.origin == "environment":
        return int(node.text) if _INTEGER.fullmatch(node.text) else None
    value = node.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST else None


def _number(node: ScalarNode) -> int | float | None:
    if node.origin == "environment":
        value: object = float(node.text) if _FLOAT.fullmatch(node.text) else None
    else:
        value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < LARGEST and math.isfinite(value) else None


def _convert_union(kind: inspect.UnionType, node: ScalarNode) -> object | InvalidValue:
    """Convert to the member of a union that fits the value's own type; ``7`` is a number and ``'7'`` is text."""
    members = [member for member in kind.types if not isinstance(member, inspect.NoneType | inspect.ListType)]
    if len(members) == 1:
        return convert(members[0], node)
    for member in sorted(members, key=lambda member: isinstance(member, inspect.StrType)):
        if not _fits(member, node):
            continue
        found = convert(member, node)
        if not isinstance(found, InvalidValue):
            return found
    return InvalidValue(allowed_values(kind), wrong_type=True)


def _fits(member: inspect.Type, node: ScalarNode) -> bool:
    if node.origin == "environment":
        return True
    if isinstance(member, inspect.StrType | inspect.LiteralType):
        return isinstance(node.value, str)
    if isinstance(member, inspect.IntType):  # 7.0 stays a float
        return isinstance(node.value, int) and not isinstance(node.value, bool)
    return isinstance(node.value, int | float)


def _within(kind: inspect.Type, found: object) -> bool:
    if not isinstance(kind, inspect.IntType | inspect.FloatType) or not isinstance(found, int | float):
        return True
    above = (kind.ge is None or found >= kind.ge) and (kind.gt is None or found > kind.gt)
    return above and (kind.le is None or found <= kind.le)


def allowed_values(kind: inspect.Type) -> str:
    """Describe the values that a type accepts, for documentation and problems."""
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _bounds(kind)
        case inspect.FloatType():
            return "a number" + _bounds(kind)
        case inspect.LiteralType():
            return " or ".join(str(value) for value in kind.values)
        case inspect.ListType():
            return f"a list of {_plural(kind.item_type)}"
        case inspect.DictType():
            return f"a mapping of text to {_plural(kind.value_type)}"
        case inspect.UnionType():
            has_floats = any(isinstance(member, inspect.FloatType) for member in kind.types)
            omitted = inspect.NoneType | inspect.IntType if has_floats else inspect.NoneType
            return " or ".join(allowed_values(member) for member in kind.types if not isinstance(member, omitted))
        case inspect.StructType():
            return "a mapping"
        case _:
            return "text"


def _plural(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.StructType):
        return "mappings"
    return f"({text})" if " " in (text := allowed_values(kind)) else text


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge:g} to {kind.le:g}"
    if kind.ge is not None:
        return f", at least {kind.ge:g}"
    return f" above {kind.gt:g}" if kind.gt is not None else ""


def describe(node: Node) -> str:
    """Describe the type of a value without the value, which may be a secret."""
    match node:
        case ListNode():
            return "a list"
        case MappingNode():
            return "a mapping"
        case ScalarNode(value=None):
            return "nothing"
        case ScalarNode(value=bool()):
            return "true or false"
        case ScalarNode(value=int() | float()):
            return "a number"
    return "text"
