"""Rules of the users of the diagnostics port."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

from gateway.settings.rules.general import Finding
from gateway.text import UnknownHash, read_password_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.settings.schema import Settings

_NAME: Final = re.compile(r"[^:\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,100}")  # RFC 7617, 2: no colon, no control character
_HOW: Final = "the text that flaggateway password prints"


def access_errors(settings: Settings) -> Iterator[Finding]:
    """Yield errors of users and their roles; without hashes, which are secrets."""
    diag, path = settings.diag, ("diag", "users")
    for name, text in diag.users.items():
        if not _NAME.fullmatch(name):
            yield Finding((*path, name), "not a user name", allowed="1 to 100 characters, without : and line breaks")
        try:
            read_password_hash(text)
        except UnknownHash as error:
            yield Finding((*path, name), str(error), allowed=_HOW)
    if len({normalize("NFC", name) for name in diag.users}) < len(diag.users):
        yield Finding(path, "two names consist of the same characters in another encoding")
    for number, name in enumerate(diag.operators):
        if name not in diag.users:
            text = "diag.users has no such user, so that nothing would be allowed by it"
            yield Finding(("diag", "operators", number), text, found=name)
