"""JSON Schema of the settings file, for editors that complete and check it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import inspect

from gateway.settings.fields import Field, fields, inherited
from gateway.settings.schema import Section, Settings
from gateway.settings.schema.option import OptionInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_UNSUPPORTED: Final = "Not supported yet."

Schema = dict[str, object]


def json_schema() -> Schema:
    """Return the JSON Schema of the settings file: descriptions, defaults, bounds, allowed values.

    Unknown keys are invalid, so that an editor marks typing errors; ``load`` only warns about them.
    ``load`` also checks rules that JSON Schema cannot express.
    """
    definitions: dict[str, Schema] = {}
    root = _object(Settings, OptionInfo(), definitions)
    return {"$schema": DIALECT, "title": "flaggateway settings", **root, "$defs": definitions}


def _object(section: type[Section], above: OptionInfo, definitions: dict[str, Schema]) -> Schema:
    properties: dict[str, object] = {}
    for found in fields(section):
        shape = _property(found, inherited(found.info, above), definitions)
        for name in (found.name, *found.info.aliases):
            properties[name] = shape
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _property(found: Field, info: OptionInfo, definitions: dict[str, Schema]) -> Schema:
    text = f"{found.description} {_UNSUPPORTED}" if info.unsupported else found.description
    shape = {"description": text, **_shape(found.kind, definitions)}
    if found.section is None and found.entry is None:
        shape["default"] = msgspec.to_builtins(found.default())
    return shape


def _shape(kind: inspect.Type, definitions: dict[str, Schema]) -> Schema:
    match kind:
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType() | inspect.FloatType():
            return {"type": "integer" if isinstance(kind, inspect.IntType) else "number", **_bounds(kind)}
        case inspect.StrType():
            return {"type": "string"}
        case inspect.NoneType():
            return {"type": "null"}
        case inspect.LiteralType():
            return {"enum": _enum(kind.values)}
        case inspect.ListType():
            return {"type": "array", "items": _shape(kind.item_type, definitions)}
        case inspect.DictType():
            return {"type": "object", "additionalProperties": _shape(kind.value_type, definitions)}
        case inspect.UnionType():
            return {"anyOf": [_shape(member, definitions) for member in kind.types]}
        case inspect.StructType(cls=cls) if issubclass(cls, Section):
            if cls.__name__ not in definitions:
                definitions[cls.__name__] = {}  # before its fields, which may refer to it
                definitions[cls.__name__] = _object(cls, OptionInfo(), definitions)
            return {"$ref": f"#/$defs/{cls.__name__}"}
    raise TypeError(f"no JSON Schema for {kind}")  # pragma: no cover - a new type of field needs a case above


def _enum(values: Iterable[object]) -> list[object]:
    """Return the allowed values, and as numbers those that an editor parses as numbers if they have no quotes."""
    texts = list(values)
    numbers = [float(text) for text in texts if isinstance(text, str) and text.replace(".", "", 1).isdigit()]
    return [*texts, *numbers]


def _bounds(kind: inspect.IntType | inspect.FloatType) -> Schema:
    bounds = {"minimum": kind.ge, "exclusiveMinimum": kind.gt, "maximum": kind.le}
    return {name: bound for name, bound in bounds.items() if bound is not None}
