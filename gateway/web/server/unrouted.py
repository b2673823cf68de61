"""Answers to requests that have no route: the same over HTTP/1.1, where Klein finds that out, and over HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.values import Reply, text

if TYPE_CHECKING:
    from collections.abc import Iterable

BAD_TARGET = Reply(400, ((b"Content-Type", b"text/plain; charset=utf-8"),), b"400 Bad Request")
NOT_FOUND = text(404, "404 page not found")
WHOLE_SERVER = Reply(200)  # of ``OPTIONS *``
_NOT_ALLOWED = text(405, "Method Not Allowed")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that metrics count by name; all others are counted as ``other``."""


def not_allowed(methods: Iterable[str]) -> Reply:
    """Return the answer to a request whose path has routes for other methods only."""
    allow = ", ".join(sorted(methods)).encode()
    return Reply(405, (*_NOT_ALLOWED.headers, (b"Allow", allow)), _NOT_ALLOWED.body)


def redirect(method: str, location: str) -> Reply:
    """Return the answer to a request for a path with empty or dot segments; ``location`` is the path without them."""
    headers = [(b"Location", location.encode("ascii"))]
    if method not in {"GET", "HEAD"}:
        return Reply(307, tuple(headers))
    headers.append((b"Content-Type", b"text/html; charset=utf-8"))
    href = location.replace("&", "&amp;").replace("'", "&#39;")
    return Reply(307, tuple(headers), f'<a href="{href}">Temporary Redirect</a>.\n\n'.encode())
