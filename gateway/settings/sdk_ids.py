"""SDK ids, the environment variables that belong to them, and the forms of SDK keys."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from gateway.settings.fields import PREFIX, fields, options
from gateway.settings.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CDN_KEY: Final = re.compile(r"(?:configcat-sdk-1/)?[^/]{22}/[^/]{22}")
_PROXY_PREFIX: Final = "configcat-proxy/"
# Stricter than ``_CDN_KEY``: a match refuses an SDK id, so a valid id must not match.
_KEY_AS_ID: Final = re.compile(r"(configcat-sdk-[0-9]+/)?[A-Za-z0-9_-]{22}/[A-Za-z0-9_-]{22}", re.ASCII)
_SHOWN: Final = 5  # characters; as many as ConfigCat Proxy's status page shows.


def valid_key(key: str, *, custom_base: bool) -> bool:
    """Return whether an SDK key has a form that the CDN accepts, or a chained proxy behind a base URL of its own."""
    if _CDN_KEY.fullmatch(key):
        return True
    return custom_base and key.startswith(_PROXY_PREFIX) and len(key) > len(_PROXY_PREFIX)


def mask_sdk_key(key: str) -> str:
    """Return an SDK key with all but its last five characters replaced by ``*``; a shorter key entirely."""
    if len(key) < _SHOWN:
        return "*" * len(key)
    return "*" * (len(key) - _SHOWN) + key[-_SHOWN:]


def looks_like_key(sdk_id: str) -> bool:
    """Return whether an SDK id has the form of an SDK key, because id and key were swapped."""
    return _KEY_AS_ID.fullmatch(sdk_id) is not None


def environment_prefix(sdk_id: str) -> str:
    """Return the prefix of the environment variables of an SDK, without the last underscore."""
    return f"{PREFIX}_{sdk_id.upper().replace('-', '_')}"


def collisions(sdk_ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each SDK id whose environment variables also belong to something else, with the reason."""
    taken: dict[str, str] = {}
    for sdk_id in sdk_ids:
        prefix = environment_prefix(sdk_id)
        names = {prefix + suffix for suffix in _suffixes()}
        if prefix in _reserved() or names & _variables():
            yield sdk_id, f"options of the gateway itself also begin with {prefix}_"
        others = sorted({taken[name] for name in names if name in taken})
        if others:
            yield sdk_id, f"SDK '{others[0]}' has the same environment variables"
        for name in names:
            taken.setdefault(name, sdk_id)


@cache
def _suffixes() -> frozenset[str]:
    prefix = f"{PREFIX}_<ID>"
    return frozenset(name.removeprefix(prefix) for option in options() for name in option.names if prefix in name)


@cache
def _variables() -> frozenset[str]:
    return frozenset(name for option in options() for name in option.names if "<ID>" not in name)


@cache
def _reserved() -> frozenset[str]:
    # Sections that ConfigCat Proxy does not have are allowed: an SDK called "project" works there, and its
    # variables differ from ours.
    return frozenset(
        f"{PREFIX}_{found.name.upper()}"
        for found in fields(Settings)
        if (found.section is not None and not found.info.not_in_configcat_proxy) or found.entry is not None
    )
