"""Rules of the keys of callers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from unicodedata import normalize

from gateway.settings.problems import shortened
from gateway.settings.rules.general import Finding
from gateway.text import UnknownKeyHash, read_key_hash, replace_unprintable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.settings.fields import Path
    from gateway.settings.schema import CallerKey, Settings

KEY_LIMIT: Final = 100  # each request is compared with all of them
NAME_LIMIT: Final = 100  # characters
_HOW: Final = "the text that flaggateway key prints after hash:"


def caller_errors(settings: Settings) -> Iterator[Finding]:
    """Yield errors of the keys of callers; without hashes, in whose place there may be a key."""
    auth, path = settings.http.auth, ("http", "auth", "keys")
    if len(auth.keys) > KEY_LIMIT:
        yield Finding(path, "too many keys", f"{len(auth.keys)}", f"at most {KEY_LIMIT}")
    names: set[str] = set()
    hashes: set[str] = set()
    for index, key in enumerate(auth.keys):
        yield from _key((*path, index), key, settings)
        if normalize("NFC", key.name) in names:
            yield Finding((*path, index, "name"), "another key has this name; use second_hash for a second key")
        names.add(normalize("NFC", key.name))
        for option in ("hash", "second_hash"):
            text = getattr(key, option)
            if text and text in hashes:
                yield Finding((*path, index, option), "another key has this hash")
            hashes.add(text)


def caller_warnings(settings: Settings) -> Iterator[Finding]:
    """Yield settings that are allowed but probably a mistake."""
    auth = settings.http.auth
    if auth.routes and not auth.keys:
        yield Finding(("http", "auth", "routes"), "has no effect: http.auth.keys has no key")
    needed = set(auth.routes or ("api", "ofrep", "sse"))
    for index, key in enumerate(auth.keys):
        for number, group in enumerate(key.routes):
            if group not in needed:
                text = f"has no effect: the routes of {group} need no key"
                yield Finding(("http", "auth", "keys", index, "routes", number), text)


def _key(path: Path, key: CallerKey, settings: Settings) -> Iterator[Finding]:
    if not key.name or key.name != replace_unprintable(key.name).strip() or len(key.name) > NAME_LIMIT:
        text = "a key needs a name"
        allowed = f"1 to {NAME_LIMIT} characters, without line breaks"
        yield Finding((*path, "name"), text, shortened(replace_unprintable(key.name)), allowed)
    for option in ("hash", "second_hash"):
        text = getattr(key, option)
        try:
            if text or option == "hash":
                read_key_hash(text)
        except UnknownKeyHash as error:
            yield Finding((*path, option), str(error), allowed=_HOW)
    for index, sdk_id in enumerate(key.sdks):
        if sdk_id not in settings.sdks and not settings.profile.key:
            yield Finding((*path, "sdks", index), f"unknown SDK '{sdk_id}'")
