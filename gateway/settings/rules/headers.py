"""Rules of header fields: those that requests must have, and those that the gateway sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.settings.rules.general import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.settings.fields import Path
    from gateway.settings.schema import Api, CdnProxy, Http, Settings, Sse

# RFC 9110: a header name is a token (5.6.2), and a value contains no control character except tab (5.5).
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


# In lower case; HTTP or the answers set these headers in responses, so that options cannot.
_SET_IN_RESPONSES: Final = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "date", "etag", "transfer-encoding", "upgrade"}
)


def header_errors(settings: Settings) -> Iterator[Finding]:
    """Yield errors of the headers of both servers; without values, which may be secrets."""
    http = settings.http
    guarded = {"api": http.api.auth_headers, "ofrep": http.ofrep.auth_headers, "webhook": http.webhook.auth_headers}
    for name, required in guarded.items():
        yield from _auth_headers(("http", name, "auth_headers"), required)
    yield from _auth_headers(("diag", "auth_headers"), settings.diag.auth_headers)
    for name, section in _with_response_headers(http).items():
        yield from check_headers(("http", name, "headers"), section.headers)


def _with_response_headers(http: Http) -> dict[str, Api | Sse | CdnProxy]:
    return {"api": http.api, "ofrep": http.ofrep, "sse": http.sse, "cdn_proxy": http.cdn_proxy}


def _auth_headers(path: Path, required: Mapping[str, str]) -> Iterator[Finding]:
    yield from check_headers(path, required)
    seen: set[str] = set()
    for name, value in required.items():
        if not value:
            # A missing header has the empty value, so every request would be accepted.
            text = "the value is empty, so that it would protect nothing"
            yield Finding((*path, name), text, allowed="the value that requests must have")
        if name.lower() in seen:
            yield Finding((*path, name), "the header is listed twice; upper and lower case do not differ")
        seen.add(name.lower())


def check_headers(path: Path, headers: Mapping[str, str | list[str]] | Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each header that is not valid in HTTP, without its value, which may be a secret."""
    for name, values in headers.items():
        if not _TOKEN.fullmatch(name):
            yield Finding((*path, name), "not a valid header name", allowed="letters, digits and -")
        if any(_CONTROL.search(value) for value in ([values] if isinstance(values, str) else values)):
            yield Finding((*path, name), "a header value contains a line break or control character")


def header_warnings(settings: Settings) -> Iterator[Finding]:
    """Yield response headers without effect, and routes that stay open although others need headers."""
    http = settings.http
    keyed: set[str] = set(http.auth.routes or ("api", "ofrep", "sse")) if http.auth.keys else set()
    for name, section in _with_response_headers(http).items():
        for header in section.headers:
            if header.lower() in _SET_IN_RESPONSES:
                yield Finding(("http", name, "headers", header), "has no effect: the gateway sets this header itself")
    sections = {"http.api": http.api, "http.ofrep": http.ofrep}
    guarded = [name for name, section in sections.items() if section.enabled and section.auth_headers]
    if not http.enabled or not guarded:
        return
    for name, section in sections.items():
        proved = section.users == "signed" or name.removeprefix("http.") in keyed
        if section.enabled and not section.auth_headers and not proved:
            text = f"empty, so that its routes answer every client, although {guarded[0]} needs headers"
            yield Finding((*name.split("."), "auth_headers"), text)
    yield from _open_routes(http, guarded[0], keyed)


def _open_routes(http: Http, guarded: str, keyed: set[str]) -> Iterator[Finding]:
    routes = (
        ("sse", http.sse.enabled and http.sse.users == "open", "event streams send values", "/sse/"),
        ("cdn_proxy", http.cdn_proxy.enabled, "the config JSON with all rules is sent", "/configuration-files/"),
    )
    for name, enabled, what, place in routes:
        if enabled and name not in keyed:
            text = f"{what} to every client, although {guarded} needs headers"
            yield Finding(("http", name, "enabled"), f"{text}; turn it off, or protect {place} in a proxy in front")
