"""Which origin an answer is allowed to: decided once per section from its settings, applied per request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import re2
from attrs import frozen

if TYPE_CHECKING:
    from gateway.settings import Cors
    from gateway.web.values import HeaderLines

ORIGIN_LIMIT = 255  # bytes; a host name ends at 253, and nothing longer may cost the time of a regex search
EXPOSED = ("Content-Length", "ETag", "Date", "Content-Encoding")
ALLOWED = ("Cache-Control", "Content-Type", "Content-Length", "Accept-Encoding", "If-None-Match")
MAX_AGE_SECONDS = b"600"

_QUIET = re2.Options()
_QUIET.log_errors = False


@frozen
class Origins:
    """The origin rule of one section."""

    listed: tuple[bytes, ...] = ()
    patterns: tuple[object, ...] = ()
    fallback: bytes = b""

    @classmethod
    def of(cls, cors: Cors) -> Origins:
        """Compile the rule of ``cors``; patterns were validated with the settings.

        :raises ValueError: for a pattern that is not RE2 syntax.
        """
        try:
            patterns = tuple(re2.compile(text.encode(), _QUIET) for text in cors.allowed_origins_regex.patterns)
        except re2.error:
            raise ValueError("an origin pattern is not RE2 syntax") from None
        return cls(
            tuple(origin.encode() for origin in cors.allowed_origins),
            patterns,
            cors.allowed_origins_regex.if_no_match.encode(),
        )

    @property
    def varies(self) -> bool:
        """Whether the allowed origin depends on the request's."""
        return bool(self.patterns) or len(set(self.listed)) != 1

    def allowed(self, origin: bytes) -> bytes:
        """Return the value of ``Access-Control-Allow-Origin`` for a request's ``Origin`` (empty when absent)."""
        if self.patterns:
            if origin in self.listed or self._matches(origin):
                return origin
            return self.fallback
        if self.listed:
            return origin if origin in self.listed else self.listed[0]
        return origin or b"*"

    def _matches(self, origin: bytes) -> bool:
        """Search the patterns anywhere in ``origin``, as the system we replace does."""
        if not origin or len(origin) > ORIGIN_LIMIT:
            return False
        return any(pattern.search(origin) for pattern in self.patterns)  # type: ignore[attr-defined]


def exposed(custom: tuple[str, ...]) -> bytes:
    """Return the list of response headers a script may read: ours, then the operator's, each once."""
    return _joined(EXPOSED + custom)


def preflight(method: str, extra: tuple[str, ...]) -> HeaderLines:
    """Return the headers that only an answer to ``OPTIONS`` carries; ``extra`` request headers are allowed too."""
    return (
        (b"Access-Control-Allow-Credentials", b"false"),
        (b"Access-Control-Max-Age", MAX_AGE_SECONDS),
        (b"Access-Control-Allow-Headers", _joined(ALLOWED + extra)),
        (b"Access-Control-Allow-Methods", method.encode() + b",OPTIONS"),
    )


def _joined(names: tuple[str, ...]) -> bytes:
    kept: dict[str, str] = {}
    for name in names:
        kept.setdefault(name.lower(), name)
    return ",".join(kept.values()).encode()
