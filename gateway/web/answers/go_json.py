"""JSON from clients, read by the rules of Go's ``encoding/json``, as in ConfigCat Proxy.

Field names match in any case, unknown fields are ignored, the last duplicate wins, ``null`` counts as ``{}``.
Error texts name the fault and its position, and never repeat what was sent.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

import msgspec

from gateway.text import json_string

if TYPE_CHECKING:
    from collections.abc import Mapping

TRUNCATED = "unexpected end of JSON input"
SURROGATE = re.compile("[\ud800-\udfff]")
KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}

_decode = msgspec.json.Decoder().decode


class InvalidJson(Exception):
    """The text is not JSON, or not of the expected shape; its ``str()`` can be shown to the client."""


def read_fields(text: bytes, wanted: Mapping[str, type]) -> dict[str, object]:
    """Return the ``wanted`` fields (lower-case name → kind, ``object`` for any) of the JSON object ``text``.

    A field that is absent is absent from the result; one that is ``null`` is None.

    :raises InvalidJson: when the text is not JSON, not an object, or a field is of another kind.
    """
    value = _parse(text)
    if value is None:
        return {}
    if type(value) is not dict:
        raise InvalidJson(f"expected a JSON object, found {KINDS[type(value)]}")
    found: dict[str, object] = {}
    for name, item in value.items():
        field = name if name in wanted else name.lower()
        if field not in wanted:
            continue
        if item is not None and wanted[field] is not object and type(item) is not wanted[field]:
            raise InvalidJson(f"field '{field}' must be {KINDS[wanted[field]]}, found {KINDS[type(item)]}")
        found[field] = item
    return found


def _parse(text: bytes) -> object:
    """Return the value of a JSON text.

    :raises InvalidJson: naming the fault and its position, but nothing of the content.
    """
    if not text.strip(b" \t\r\n"):
        raise InvalidJson(TRUNCATED)
    try:
        return _decode(text)
    except RecursionError:
        raise InvalidJson("the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        return _parse_leniently(text, "the JSON is not UTF-8")
    except msgspec.DecodeError as error:
        return _parse_leniently(text, TRUNCATED if "truncated" in str(error) else str(error))


def quoted(text: str) -> bytes:
    """Return ``text`` as a JSON string with the escapes that Go adds for HTML."""
    return json_string(SURROGATE.sub("\ufffd", text))


def _parse_leniently(text: bytes, problem: str) -> object:
    """Parse what msgspec refuses and Go reads: invalid UTF-8 and lone surrogates, both as U+FFFD."""
    try:
        value = json.loads(text.decode("utf-8", "replace"), parse_constant=_refuse, parse_float=_finite)
        return _without_surrogates(value)
    except (ValueError, RecursionError):
        raise InvalidJson(problem) from None


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {SURROGATE.sub("\ufffd", key): _without_surrogates(item) for key, item in value.items()}
    return value


def _refuse(_: str) -> object:
    raise ValueError


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError
    return number
