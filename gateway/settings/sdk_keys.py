"""SDK keys: which of them an upstream can know, and how one looks where people can read it."""

from __future__ import annotations

import re
from typing import Final

_PLAIN = re.compile(r"(?:configcat-sdk-1/)?[^/]{22}/[^/]{22}")
_PROXY_PREFIX: Final = "configcat-proxy/"
_SHOWN: Final = 5  # characters; as many as the status page of the replaced system shows.


def valid_key(key: str, *, custom_base: bool) -> bool:
    """Whether *key* has a form that the CDN knows; chained gateways' keys need a base URL of their own."""
    if _PLAIN.fullmatch(key):
        return True
    return custom_base and key.startswith(_PROXY_PREFIX) and len(key) > len(_PROXY_PREFIX)


def mask_sdk_key(key: str) -> str:
    """Return an SDK key with all but its last five characters replaced by ``*``; shorter ones entirely."""
    if len(key) < _SHOWN:
        return "*" * len(key)
    return "*" * (len(key) - _SHOWN) + key[-_SHOWN:]
