"""Request bodies: decoded in one step when they have the usual shape, else by Go's rules (``go_json``).

Both ways agree on every body: the quick one only accepts what it reads without a doubt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.flags import number_text
from gateway.web.answers.go_json import read_fields
from gateway.web.answers.lookup import read_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute
    from gateway.settings import OtherAttributes

Attributes = dict[str, str | float | tuple[str, ...]]
QUICK_LIMIT = 12 * 1024  # bytes; no attribute of so small a body can exceed the limits, which only the other way checks
OTHER_SHAPES = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

EVAL: Mapping[str, type] = {"key": str, "user": dict}
EVAL_ALL: Mapping[str, type] = {"user": dict}
CONTEXT: Mapping[str, type] = {"context": dict}


class EvalBody(msgspec.Struct, forbid_unknown_fields=True):
    """One flag and a user; a name in another case is unknown, and so left to Go's rules."""

    key: str = ""
    user: Attributes | None = None


class EvalAllBody(msgspec.Struct, forbid_unknown_fields=True):
    """A user."""

    user: Attributes


class OfrepBody(msgspec.Struct, forbid_unknown_fields=True):
    """A user, in OFREP's words."""

    context: Attributes


_decode_eval = msgspec.json.Decoder(EvalBody).decode
_decode_eval_all = msgspec.json.Decoder(EvalAllBody).decode
_decode_ofrep = msgspec.json.Decoder(OfrepBody).decode


def read_eval(text: bytes) -> tuple[str, Mapping[str, Attribute] | None]:
    """Return the key (empty when absent) and the user (None when absent) of a body.

    :raises InvalidJson: when it is not JSON, or a field or attribute is of a wrong type.
    """
    try:
        body = _decode_eval(text) if len(text) <= QUICK_LIMIT else None
    except OTHER_SHAPES:
        body = None
    if body is not None and body.user is not None:
        return body.key, body.user
    found = read_fields(text, EVAL)
    key = found.get("key")
    return key if isinstance(key, str) else "", read_attributes(found["user"]) if "user" in found else None


def read_eval_all(text: bytes) -> Mapping[str, Attribute] | None:
    """Return the user of a body, None when absent.

    :raises InvalidJson: as ``read_eval``.
    """
    try:
        if len(text) <= QUICK_LIMIT:
            return _decode_eval_all(text).user
    except OTHER_SHAPES:
        pass
    found = read_fields(text, EVAL_ALL)
    return read_attributes(found["user"]) if "user" in found else None


def read_context(text: bytes, other: OtherAttributes = "reject") -> dict[str, Attribute] | None:
    """Return the context of an OFREP body, None when absent; the caller may change it.

    ``other`` decides about attributes that are a boolean, null or an object, and about such items of lists.

    :raises InvalidJson: as ``read_eval``.
    """
    try:
        if len(text) <= QUICK_LIMIT:
            return _decode_ofrep(text).context
    except OTHER_SHAPES:
        pass
    found = read_fields(text, CONTEXT)
    return read_attributes(_without_other(found["context"], other)) if "context" in found else None


def _without_other(value: object, other: OtherAttributes) -> object:
    """Return a decoded context whose booleans, nulls and objects are converted or left out, unless they are refused.

    Of a list, whatever ``other`` is, ``read_attributes`` keeps the texts.
    """
    if other == "reject" or not isinstance(value, dict):
        return value
    if other == "convert":
        value = {name: _converted(item) for name, item in value.items()}
    return {name: item for name, item in value.items() if not (item is None or isinstance(item, bool | dict))}


def _converted(item: object) -> object:
    if isinstance(item, bool):
        return "true" if item else "false"
    return [_as_text(part) for part in item] if isinstance(item, list) else item


def _as_text(part: object) -> object:
    """Return an item of a list as text if it is a boolean, or a number that fits 64 bits."""
    if isinstance(part, int | float) and not isinstance(part, bool):
        try:
            return number_text(float(part))
        except OverflowError:
            return None
    return _converted(part) if isinstance(part, bool) else part
