"""Data governance: a config JSON can name the CDN that it should have been fetched from (pure).

A *custom* base is one that the operator set; only a forced redirect of the config leads away from it.
"""

from typing import Any, Final

import msgspec
from attrs import frozen

FETCH_LIMIT: Final = 3  # fetches of one refresh, the first included; a fourth would be a loop (official SDKs: 3)
_WANTED: Final = 1  # of ``p.r`` in config JSON v6; 0 means that the CDN is right; ``p.u`` is the base
_FORCED: Final = 2


class _Root(msgspec.Struct):
    p: msgspec.Raw = msgspec.Raw(b"null")


class _Preferences(msgspec.Struct):
    u: Any = None
    r: Any = None


@frozen
class Accept:
    """The body is the config; the next refresh begins at ``base``."""

    base: str
    advised: bool = False  # the config names another base than the settings: worth a warning


@frozen
class FetchAgain:
    """Fetch now from ``base``."""

    base: str
    advised: bool = False


@frozen
class Refuse:
    """The redirect cannot be followed; ``reason`` is for log and caller."""

    reason: str


def check_preferences(body: bytes, base: str, *, custom: bool) -> Accept | FetchAgain | Refuse:
    """Return what to do with a body from ``base``; one that is no JSON is accepted here and refused by the compiler."""
    try:
        preferences = msgspec.json.decode(msgspec.json.decode(body, type=_Root).p, type=_Preferences | None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Accept(base)
    if preferences is None:
        return Accept(base)
    wanted, mode = preferences.u, preferences.r
    if not wanted or not isinstance(wanted, str) or mode is None or wanted.rstrip("/") == base.rstrip("/"):
        return Accept(base)
    if not isinstance(mode, int) or isinstance(mode, bool) or mode not in (0, _WANTED, _FORCED):
        return Refuse("the config JSON asks for an unknown kind of redirect")
    if not wanted.startswith(("https://", "http://")):
        return Refuse("the config JSON redirects to something that is no http or https URL")
    if mode == _FORCED:
        return FetchAgain(wanted)
    if custom:
        return Refuse("refusing to redirect from custom URL without forced redirection") if mode else Accept(base)
    return FetchAgain(wanted, advised=True) if mode == _WANTED else Accept(wanted, advised=True)
