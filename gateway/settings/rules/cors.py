"""Rules of the cross-origin options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import re2

from gateway.settings.problems import shortened
from gateway.settings.rules.general import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.settings.fields import Path
    from gateway.settings.schema import Cors, Settings

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2: the name of a header
# No site has these hosts (RFC 2606): a pattern that matches all of them matches every origin.
_UNLISTED: Final = ("https://a.invalid", "http://b-1.test:8443", "null")
_EVERY_ORIGIN: Final = "cors: every origin may call these routes, which excludes credentials"


def cors_errors(settings: Settings) -> Iterator[Finding]:
    """Yield errors of the cross-origin options of each group of routes."""
    http = settings.http
    for name, section in (("api", http.api), ("ofrep", http.ofrep), ("sse", http.sse), ("cdn_proxy", http.cdn_proxy)):
        path: Path = ("http", name)
        where = _allows_credentials(path, section.cors, section.headers)
        yield from _patterns((*path, "cors", "allowed_origins_regex"), section.cors)
        yield from _allowed_headers((*path, "cors", "allowed_headers"), section.cors, credentials=where is not None)
        if where is not None:
            yield from _credentials(path, where, section.cors, section.headers)


def _allows_credentials(path: Path, cors: Cors, headers: Mapping[str, str]) -> Path | None:
    """Return the option that allows credentials, be it a header that is set by hand, which replaces ours."""
    for name, value in headers.items():
        if name.lower() == "access-control-allow-credentials":
            return (*path, "headers", name) if value.strip().lower() == "true" else None
    return (*path, "cors", "allow_credentials") if cors.enabled and cors.allow_credentials else None


def _patterns(path: Path, cors: Cors) -> Iterator[Finding]:
    rules = cors.allowed_origins_regex
    if cors.enabled and rules.patterns and not rules.if_no_match:
        text = "cors: the 'if_no_match' field is required when allowed origins regex is set"
        yield Finding((*path, "if_no_match"), text, allowed="an origin")
    for index, pattern in enumerate(rules.patterns):
        reason = _pattern_error(pattern)
        if reason:
            yield Finding(
                (*path, "patterns", index),
                f"cors: not a regular expression: {reason}",
                found=shortened(pattern),
                allowed="RE2 syntax",
            )


def _pattern_error(pattern: str) -> str:
    try:
        _compiled(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    except UnicodeError:
        return "not valid text"
    return ""


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _allowed_headers(path: Path, cors: Cors, *, credentials: bool) -> Iterator[Finding]:
    for index, name in enumerate(cors.allowed_headers):
        if not _TOKEN.fullmatch(name):
            text = "cors: not a valid header name"
            yield Finding((*path, index), text, found=shortened(name), allowed="letters, digits and -")
        elif name == "*" and credentials:
            text = "cors: browsers read * as the name of a header if credentials are allowed"
            yield Finding((*path, index), text, found="*", allowed="the names of headers")


def _credentials(path: Path, where: Path, cors: Cors, headers: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each way in which every page on the web could read answers with a user's credentials.

    ``where`` is the option that allows credentials in the section ``path``.
    """
    allowed = "the origins that may send credentials"
    by_hand = {name: value.strip() for name, value in headers.items() if name.lower() == "access-control-allow-origin"}
    for name, value in by_hand.items():
        if value == "*":
            yield Finding((*path, "headers", name), _EVERY_ORIGIN, "*", allowed)
    if cors.enabled and not by_hand:
        yield from _listed((*path, "cors"), where, cors, allowed)


def _listed(path: Path, where: Path, cors: Cors, allowed: str) -> Iterator[Finding]:
    rules = cors.allowed_origins_regex
    if not cors.allowed_origins and not rules.patterns:
        text = "cors: credentials need a list of origins; without one every origin may call these routes"
        yield Finding(where, text, "true", f"allowed_origins: {allowed}")
    if "*" in cors.allowed_origins:
        index = cors.allowed_origins.index("*")
        yield Finding((*path, "allowed_origins", index), _EVERY_ORIGIN, "*", allowed)
    if rules.if_no_match == "*":
        yield Finding((*path, "allowed_origins_regex", "if_no_match"), _EVERY_ORIGIN, "*", allowed)
    for index, pattern in enumerate(rules.patterns):
        if not _pattern_error(pattern) and all(_compiled(pattern).search(origin) for origin in _UNLISTED):
            found = (*path, "allowed_origins_regex", "patterns", index)
            yield Finding(found, _EVERY_ORIGIN, shortened(pattern), "a pattern that matches some origins only")
