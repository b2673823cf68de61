"""The settings as plain values for display: every secret is masked."""

from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from gateway.settings.fields import fields, inherited
from gateway.settings.schema import Section, Settings
from gateway.settings.schema.option import OptionInfo, Secret
from gateway.settings.sdk_ids import mask_sdk_key

MASK: Final = "*****"


def masked(settings: Settings) -> dict[str, object]:
    """Return every option as plain values, secrets masked; for the operator, not for logs.

    SDK keys keep their last five characters, and URLs their host; default user attributes are shown.
    """
    return _section(settings, OptionInfo())


def _section(section: Section, above: OptionInfo) -> dict[str, object]:
    return {
        found.name: _value(getattr(section, found.name), inherited(found.info, above))
        for found in fields(type(section))
    }


def _value(value: object, info: OptionInfo) -> object:
    if isinstance(value, Section):
        return _section(value, info)
    if isinstance(value, dict):
        return {key: _value(item, info) for key, item in value.items()}
    if isinstance(value, list):
        return [_value(item, info) for item in value]
    return _mask(value, info.hidden) if isinstance(value, str) else value


def _mask(text: str, secret: Secret) -> str:
    """Return a text as it may be shown; an empty one stays empty, so that a missing value is visible."""
    match secret if text else "":
        case "key":
            return mask_sdk_key(text)
        case "all":
            return MASK
        case "userinfo":
            return mask_userinfo(text)
        case "url":
            parts = _split(text)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{MASK}" if parts and parts.netloc else MASK
    return text


def mask_userinfo(url: str) -> str:
    """Return a URL with user, password and query masked; all of it if it cannot be parsed."""
    parts = _split(url)
    if parts is None:
        return MASK
    if not parts.netloc:  # not a URL, so any part of it may be the secret
        return MASK if "@" in url or "?" in url else url
    user, at, host = parts.netloc.rpartition("@")
    query = MASK if parts.query else ""
    return urlunsplit((parts.scheme, f"{MASK if user else ''}{at}{host}", parts.path, query, ""))


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None
