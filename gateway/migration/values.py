"""Conversions of single values, which the tables of the neighbours use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_UNITS: Final = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600}
_TRUE: Final = frozenset({"1", "t", "true", "yes", "on"})
_FALSE: Final = frozenset({"", "0", "f", "false", "no", "off"})
_LEVELS: Final = {
    "trace": "debug", "debug": "debug", "info": "info", "warn": "warn", "warning": "warn", "error": "error",
    "dpanic": "error", "panic": "error", "fatal": "error", "none": "error", "off": "error",
}  # fmt: skip


class Unusable(ValueError):
    """A value that cannot be converted; the text has no part of it."""


def unchanged(value: object) -> object:
    """Return the value."""
    return value


def text(value: object) -> str:
    """Return a scalar as text.

    :raises Unusable: if it is a list or a mapping
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Unusable("not a text")


def integer(value: object) -> int:
    """Return a whole number.

    :raises Unusable: if it is none
    """
    try:
        return int(text(value).strip())
    except ValueError:
        raise Unusable("not a whole number") from None


def boolean(value: object) -> bool:
    """Return a truth value, in the spellings of Go, Rust and YAML.

    :raises Unusable: if it is none
    """
    word = text(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise Unusable("neither true nor false")
    return word in _TRUE


def seconds(value: object) -> int | float:
    """Return the seconds of a Go duration such as ``1m30s``; a number without a unit is seconds.

    :raises Unusable: if it is none
    """
    given = text(value).strip()
    parts = _DURATION.findall(given)
    if not parts or "".join(number + unit for number, unit in parts) != given:
        raise Unusable("not a duration")
    return plain_number(sum(float(number) * _UNITS[unit] for number, unit in parts))


def milliseconds(value: object) -> int | float:
    """Return the seconds of a number of milliseconds.

    :raises Unusable: if it is none
    """
    return plain_number(integer(value) / 1000)


def plain_number(number: float) -> int | float:
    """Return a number without a fraction as an integer."""
    return int(number) if number == int(number) else round(number, 6)


def level(value: object) -> str:
    """Return the log level of ours that is nearest.

    :raises Unusable: if the value is no log level
    """
    found = _LEVELS.get(text(value).strip().lower())
    if found is None:
        raise Unusable("not a log level")
    return found


def texts(value: object) -> list[str]:
    """Return a list of texts; a text is split at its commas.

    :raises Unusable: if it is a mapping
    """
    items = value if isinstance(value, list) else text(value).split(",")
    return [stripped for item in items if (stripped := text(item).strip())]


def headers(value: object) -> dict[str, object]:
    """Return HTTP headers, whose values are texts or lists of texts.

    :raises Unusable: if the value is no mapping
    """
    if not isinstance(value, dict):
        raise Unusable("not a mapping")
    return {str(name): texts(item) if isinstance(item, list) else text(item) for name, item in value.items()}


def text_mapping(value: object) -> dict[str, str]:
    """Return a mapping of texts.

    :raises Unusable: if it is none
    """
    if not isinstance(value, dict):
        raise Unusable("not a mapping")
    return {str(name): text(item) for name, item in value.items()}


def attributes(value: object) -> dict[str, object]:
    """Return user attributes: texts, numbers and lists of texts; booleans become texts, the rest is left out.

    :raises Unusable: if the value is no mapping
    """
    if not isinstance(value, dict):
        raise Unusable("not a mapping")
    kept: dict[str, object] = {}
    for name, item in value.items():
        if isinstance(item, bool):
            kept[str(name)] = text(item)
        elif isinstance(item, str | int | float) or _texts(item):
            kept[str(name)] = item
    return kept


def _texts(item: object) -> bool:
    return isinstance(item, list) and all(isinstance(each, str) for each in item)


def one_of(*allowed: str) -> Callable[[object], str]:
    """Return a conversion that accepts these texts only."""

    def convert(value: object) -> str:
        found = text(value).strip()
        if found not in allowed:
            raise Unusable(f"not one of {', '.join(allowed)}")
        return found

    return convert


def with_login(url: str, user: str, password: str) -> str:
    """Return a URL with a user and a password, which replace those that it has.

    :raises Unusable: if it is not a URL
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        address = host if parts.port is None else f"{host}:{parts.port}"
    except ValueError:
        raise Unusable("not a URL") from None
    user, password = user or unquote(parts.username or ""), password or unquote(parts.password or "")
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    return urlunsplit(parts._replace(netloc=f"{login}@{address}" if login else address))
