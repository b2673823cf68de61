"""From the raw request target to the path that routes are matched against.

Matching is done on the still escaped path and parameters are decoded afterwards, so that ``%2F`` can be part of one.
"""

import re
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

from gateway.text import is_host

BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Empty and dot segments: Go's router, which clients know, redirects to the path without them.
UNCLEAN = re.compile(r"//|/\.{1,2}(?:/|$)")
# Standard base64 has slashes, two in a row among them.
STREAM_DATA = re.compile(r"(/sse/(?:eval|eval-all)/k|/sse/[^/]+/(?:eval|eval-all))(/[^/].*)")
OFREP_DOTS = re.compile(r"/ofrep/v1/evaluate/flags/\.{1,2}")  # the flags of these names, which no client can escape
LOCATION_SAFE = "/%:@!$&'()*+,;=~-._"
QUERY_SAFE = LOCATION_SAFE + "?"


class Target(Struct, frozen=True):
    """A request target: the escaped path to route on, the raw query, and whether the client must ask elsewhere."""

    path: str
    query: str = ""
    redirect: str | None = None
    valid: bool = True


def parse(raw: bytes) -> Target:
    """Return the target of a request line; never raises.

    A path without a leading slash is invalid; ``OPTIONS *`` is for the caller.
    One trailing slash is removed; ``redirect`` names the clean form of a path that is not (``//``, ``.``, ``..``).
    """
    text = quote(raw, safe=QUERY_SAFE + '[]"<>\\^`{|}#') if not raw.isascii() else raw.decode("ascii")
    path, _, query = text.partition("?")
    path = _without_authority(path)
    if path[:1] != "/" or BAD_ESCAPE.search(path):
        return Target(path, query, valid=False)
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    if UNCLEAN.search(path):
        clean = cleaned(path)
        if clean != path:
            location = quote(clean, safe=LOCATION_SAFE)
            return Target(path, query, redirect=f"{location}?{quote(query, safe=QUERY_SAFE)}" if query else location)
    return Target(path, query)


def cleaned(path: str) -> str:
    """Return ``path`` without empty and dot segments.

    The data of a stream, which is base64, and a flag's key at the end of an OFREP path stay as they are.
    """
    stream = STREAM_DATA.fullmatch(path)
    if OFREP_DOTS.fullmatch(path):
        return path
    if stream and not UNCLEAN.search(stream[1]):
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    ending = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return "/" + "/".join(kept) + ending


def decoded(part: str) -> str:
    """Return a part of the path with its escapes undone; bytes that are not UTF-8 become U+FFFD."""
    return unquote_to_bytes(part).decode("utf-8", "replace") if "%" in part else part


def _without_authority(path: str) -> str:
    """Return the path of an absolute target (``http://host/path``), which proxies send; empty if its host is none."""
    if path[:1] != "/" and path[:8].lower().startswith(("http://", "https://")):
        authority, _, rest = path.partition("://")[2].partition("/")
        # RFC 9110, 4.2.1 and 4.2.4: an http URI has a host, and no user name.
        return "/" + rest if authority.partition(":")[0] and is_host(authority.encode()) else ""
    return path
