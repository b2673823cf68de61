"""Which SDK keys may be sent to an upstream, and how a key looks where people can read it."""

from __future__ import annotations

import re
from urllib.parse import quote

_PLAIN = re.compile(r"(?:configcat-sdk-1/)?[^/]{22}/[^/]{22}")
_PROXY_PREFIX = "configcat-proxy/"
_SHOWN = 5  # characters at the end of a key that may be seen, as on the status page of the peer


def valid_key(key: str, *, custom_base: bool) -> bool:
    """Whether *key* has a form that the CDN knows; chained gateways' keys need a base URL of their own."""
    if _PLAIN.fullmatch(key):
        return True
    return custom_base and key.startswith(_PROXY_PREFIX) and len(key) > len(_PROXY_PREFIX)


def masked(key: str) -> str:
    """*key* with all but its last five characters replaced by ``*``; a shorter key is hidden entirely."""
    if len(key) < _SHOWN:
        return "*" * len(key)
    return "*" * (len(key) - _SHOWN) + key[-_SHOWN:]


def config_url(base: str, key: str) -> str:
    """Where the config JSON of *key* lies under *base*, with or without slashes at the end of *base*."""
    return f"{base.rstrip('/')}/configuration-files/{quote(key, safe='/')}/config_v6.json"
