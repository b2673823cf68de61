"""CORS: which origin a reply is allowed to, compiled once from the settings of a section and applied per request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import re2
from attrs import frozen

if TYPE_CHECKING:
    from gateway.settings import Cors
    from gateway.web.values import HeaderLines

ORIGIN_LIMIT = 255  # bytes; a host name has at most 253, and nothing longer may cost a regex search
EXPOSED = ("Content-Length", "ETag", "Date", "Content-Encoding")
LAST_EVENT_ID = "Last-Event-ID"  # sent by libraries that read streams with fetch; EventSource needs no permission
ALLOWED = ("Cache-Control", "Content-Type", "Content-Length", "Accept-Encoding", "If-None-Match")
ALLOW_CREDENTIALS = b"Access-Control-Allow-Credentials"
MAX_AGE_SECONDS = b"600"

_QUIET = re2.Options()
_QUIET.log_errors = False


class Pattern(Protocol):
    """A compiled RE2 pattern; the package has no type stubs."""

    def search(self, text: bytes) -> object | None:
        """Return a match anywhere in ``text``."""


@frozen
class OriginRule:
    """The origin rule of one section."""

    listed: tuple[bytes, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    fallback: bytes = b""

    @classmethod
    def from_settings(cls, cors: Cors) -> OriginRule:
        """Compile the rule of ``cors``.

        :raises ValueError: for a pattern that is not RE2 syntax, which the validation of the settings has excluded.
        """
        try:
            patterns = tuple(re2.compile(text.encode(), _QUIET) for text in cors.allowed_origins_regex.patterns)
        except re2.error:
            raise ValueError("an origin pattern is not RE2 syntax") from None
        listed = tuple(origin.encode() for origin in cors.allowed_origins)
        return cls(listed, patterns, cors.allowed_origins_regex.if_no_match.encode())

    @property
    def varies(self) -> bool:
        """Whether the allowed origin depends on the request's."""
        return bool(self.patterns) or len(set(self.listed)) != 1

    def allowed(self, origin: bytes) -> bytes:
        """Return the value of ``Access-Control-Allow-Origin`` for a request's ``Origin`` (empty when absent)."""
        if self.patterns:
            return origin if origin in self.listed or self._matches(origin) else self.fallback
        if self.listed:
            return origin if origin in self.listed else self.listed[0]
        return origin or b"*"

    def _matches(self, origin: bytes) -> bool:
        """Return whether a pattern matches anywhere in ``origin``, as in ConfigCat Proxy."""
        return 0 < len(origin) <= ORIGIN_LIMIT and any(pattern.search(origin) for pattern in self.patterns)


def exposed_headers(custom: tuple[str, ...]) -> bytes:
    """Return the list of response headers that a script may read: ours, then the operator's, each once."""
    return _joined(EXPOSED + custom)


def preflight_headers(method: str, extra: tuple[str, ...], *, credentials: bool) -> HeaderLines:
    """Return the headers that only replies to ``OPTIONS`` carry; ``extra`` request headers are allowed too.

    With ``credentials`` every reply allows them by itself.
    """
    return (
        *(() if credentials else ((ALLOW_CREDENTIALS, b"false"),)),
        (b"Access-Control-Max-Age", MAX_AGE_SECONDS),
        (b"Access-Control-Allow-Headers", _joined(ALLOWED + extra)),
        (b"Access-Control-Allow-Methods", method.encode() + b",OPTIONS"),
    )


def _joined(names: tuple[str, ...]) -> bytes:
    kept: dict[str, str] = {}
    for name in names:
        kept.setdefault(name.lower(), name)
    return ",".join(kept.values()).encode()
