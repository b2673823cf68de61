"""One written value → one value of the type that the schema asks for, or the reason why not."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import attrs
from msgspec import inspect

from gateway.settings.parsing.raw import Entries, Items, Raw, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable

# The words that Go's strconv.ParseBool takes, and no others: what worked in the environment keeps working.
BOOL_WORDS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
# YAML 1.1's further words, which YAML parsers still take where the schema asks for a truth value.
_YAML_WORDS: Final = {
    **dict.fromkeys(("y", "yes", "on"), True),
    **dict.fromkeys(("n", "no", "off"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)  # 18 digits stay below 2**63
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
LARGEST: Final = 2**53  # beyond it a number of seconds or bytes is a mistake, and doubles lose whole numbers.


@attrs.frozen
class Misfit:
    """Why a value was not taken: of another type, or of the right type and not allowed."""

    allowed: str
    of_type: bool


def scalar(kind: inspect.Type, raw: Scalar) -> object | Misfit:
    """Return the value of a scalar as the kind asks; a ``Misfit`` otherwise.

    How strictly goes by where it was written: the environment has text alone, JSON has types, YAML has words as well.
    """
    match kind:
        case inspect.BoolType():
            found: object = _boolean(raw)
        case inspect.IntType():
            found = _integer(raw)
        case inspect.FloatType():
            found = _number(raw)
        case inspect.StrType():
            found = raw.text if raw.origin != "json" or isinstance(raw.value, str) else None
        case inspect.LiteralType():
            found = next((value for value in kind.values if raw.text == str(value)), None)
            return Misfit(allowed(kind), of_type=False) if found is None else found
        case inspect.UnionType():
            return _of_several(kind, raw)
        case _:
            found = None
    if found is None:
        return Misfit(allowed(kind), of_type=True)
    return found if _within(kind, found) else Misfit(allowed(kind), of_type=False)


def _boolean(raw: Scalar) -> bool | None:
    if raw.origin == "environment":
        return BOOL_WORDS.get(raw.text)
    if isinstance(raw.value, bool):
        return raw.value
    return _YAML_WORDS.get(raw.text.lower()) if raw.origin == "yaml" else None


def _integer(raw: Scalar) -> int | None:
    if raw.origin == "environment":
        return int(raw.text) if _INTEGER.fullmatch(raw.text) else None
    value = raw.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST else None


def _number(raw: Scalar) -> int | float | None:
    if raw.origin == "environment":
        value: object = float(raw.text) if _FLOAT.fullmatch(raw.text) else None
    else:
        value = raw.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < LARGEST and math.isfinite(value) else None


def _of_several(kind: inspect.UnionType, raw: Scalar) -> object | Misfit:
    """Take the member of a union that the value itself speaks for; ``7`` is a number and ``'7'`` is text."""
    members = [member for member in kind.types if not isinstance(member, inspect.NoneType | inspect.ListType)]
    if len(members) == 1:
        return scalar(members[0], raw)
    for member in sorted(members, key=lambda member: isinstance(member, inspect.StrType)):
        if not _speaks_for(member, raw):
            continue
        found = scalar(member, raw)
        if not isinstance(found, Misfit):
            return found
    return Misfit(allowed(kind), of_type=True)


def _speaks_for(member: inspect.Type, raw: Scalar) -> bool:
    if raw.origin == "environment":
        return True
    if isinstance(member, inspect.StrType | inspect.LiteralType):
        return isinstance(raw.value, str)
    if isinstance(member, inspect.IntType):  # a float stays a float, also where it is whole
        return isinstance(raw.value, int) and not isinstance(raw.value, bool)
    return isinstance(raw.value, int | float)


def _within(kind: inspect.Type, found: object) -> bool:
    if not isinstance(kind, inspect.IntType | inspect.FloatType) or not isinstance(found, int | float):
        return True
    checks: tuple[tuple[float | None, Callable[[float], bool]], ...] = (
        (kind.ge, lambda bound: found >= bound),
        (kind.gt, lambda bound: found > bound),
        (kind.le, lambda bound: found <= bound),
    )
    return all(bound is None or holds(bound) for bound, holds in checks)


def allowed(kind: inspect.Type) -> str:
    """Return in words what values a type takes."""
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
            unsaid = inspect.NoneType | inspect.IntType if _has_floats(kind) else inspect.NoneType
            return " or ".join(allowed(member) for member in kind.types if not isinstance(member, unsaid))
        case inspect.StructType():
            return "a mapping"
        case _:
            return "text"


def _has_floats(kind: inspect.UnionType) -> bool:
    return any(isinstance(member, inspect.FloatType) for member in kind.types)


def _plural(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.StructType):
        return "mappings"
    return f"({text})" if " " in (text := allowed(kind)) else text


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge:g} to {kind.le:g}"
    if kind.ge is not None:
        return f", at least {kind.ge:g}"
    return f" above {kind.gt:g}" if kind.gt is not None else ""


def sort_of(raw: Raw) -> str:
    """Return what a value is without saying which: enough for a reader, and no secret."""
    match raw:
        case Items():
            return "a list"
        case Entries():
            return "a mapping"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=bool()):
            return "true or false"
        case Scalar(value=int() | float()):
            return "a number"
    return "text"
