"""The settings as plain values that may be shown to an operator: every secret is replaced."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

from gateway.settings.fields import fields, inherited
from gateway.settings.marks import Marks, Secret
from gateway.settings.schema.root import Section, Settings
from gateway.settings.sdk_keys import mask_sdk_key

MASK: Final = "*****"


def masked(settings: Settings) -> dict[str, object]:
    """Return every option as plain values, secrets masked; for an operator's eyes, not for logs.

    SDK keys keep their last five characters, addresses their host; default user attributes are shown.
    """
    return _section(settings, Marks())


def _section(section: Section, above: Marks) -> dict[str, object]:
    shown: dict[str, object] = {}
    for found in fields(type(section)):
        marks = inherited(found.marks, above)
        shown[found.name] = _value(getattr(section, found.name), marks)
    return shown


def _value(value: object, marks: Marks) -> object:
    if isinstance(value, Section):
        return _section(value, marks)
    if isinstance(value, dict):
        return {key: _value(item, marks) for key, item in value.items()}
    if isinstance(value, list):
        return [_value(item, marks) for item in value]
    return mask(value, marks.hidden) if isinstance(value, str) else value


def mask(text: str, secret: Secret) -> str:
    """Return a text as it may be shown; an empty one stays empty, so that "not set" can be seen."""
    match secret if text else "":
        case "key":
            return mask_sdk_key(text)
        case "all":
            return MASK
        case "userinfo":
            return mask_userinfo(text)
        case "url":
            return _mask_path(text)
    return text


def mask_userinfo(url: str) -> str:
    """Return an address without user, password and query; all of it is masked when it cannot be read."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    if not parts.netloc:  # no address at all: nobody can say which part of it is a secret
        return MASK if "@" in url or "?" in url else url
    user, at, host = parts.netloc.rpartition("@")
    query = MASK if parts.query else ""
    return urlunsplit((parts.scheme, f"{MASK if user else ''}{at}{host}", parts.path, query, ""))


def _mask_path(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    if not parts.netloc:
        return MASK
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{MASK}"
