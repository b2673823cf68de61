"""The files of the page: read once, served from memory, with a policy that lets the page load nothing from elsewhere.

The page holds no data; it is a client of the API, which checks access.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from twisted.web.server import Request

PATH: Final = b"/console/"
KINDS: Final = {
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "svg": b"image/svg+xml",
}
POLICY: Final = b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@frozen
class PageFile:
    """A file, with its media type and its validator."""

    body: bytes
    kind: bytes
    etag: bytes


class PageFiles:
    """Answers requests for the page and what it loads."""

    def __init__(self) -> None:
        root = files("gateway.console").joinpath("page")
        self._files = {PATH + name.encode(): file for name, file in _read(root, "")}
        self._index = self._files.pop(PATH + b"index.html")

    def render(self, request: Request) -> bytes | None:
        """Set status and headers and return the body; None if the request is for something else.

        The path ``/`` is the page for a client that accepts HTML, which a browser does and curl does not.
        """
        if request.method not in {b"GET", b"HEAD"}:
            return None
        if request.path == b"/":
            accepted = b",".join(request.requestHeaders.getRawHeaders(b"accept", ()))
            file = self._index if b"text/html" in accepted else None
        else:
            file = self._files.get(request.path)
        if file is None:
            return None
        headers = request.responseHeaders
        headers.setRawHeaders(b"Content-Type", [file.kind])
        headers.setRawHeaders(b"Cache-Control", [b"no-cache"])
        headers.setRawHeaders(b"Content-Security-Policy", [POLICY])
        headers.setRawHeaders(b"X-Content-Type-Options", [b"nosniff"])
        headers.setRawHeaders(b"Referrer-Policy", [b"no-referrer"])
        if request.path == b"/":
            headers.setRawHeaders(b"Vary", [b"Accept"])
        if request.setETag(file.etag):
            return b""  # 304: the client has it
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(file.body)])
        return b"" if request.method == b"HEAD" else file.body


def _read(folder: Traversable, prefix: str) -> list[tuple[str, PageFile]]:
    """Return the files of a folder and of those in it, by their paths."""
    found = []
    for entry in folder.iterdir():
        name = prefix + entry.name
        kind = KINDS.get(entry.name.rpartition(".")[2])
        if entry.is_dir():
            found += _read(entry, f"{name}/")
        elif kind is not None:  # not the licences
            body = entry.read_bytes()
            found.append((name, PageFile(body, kind, b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode())))
    return found
