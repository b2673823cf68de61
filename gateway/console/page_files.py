"""The files of the page: read once, served from memory, with a policy that lets the page load nothing from elsewhere.

They are sent without comments and indentation, and compressed to clients that accept it: a console is opened in
emergencies, over slow connections too.  The page holds no data; it is a client of the API, which checks access.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gateway.text import read_accept_encoding

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
    """A file, with its media type, and its body and validator with and without a coding."""

    kind: bytes
    body: bytes
    etag: bytes
    gzipped: bytes  # empty where it is not shorter
    gzipped_etag: bytes


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
        headers.setRawHeaders(b"Vary", [b"Accept, Accept-Encoding" if request.path == b"/" else b"Accept-Encoding"])
        body, etag = file.body, file.etag
        if file.gzipped and _accepts_gzip(request):
            body, etag = file.gzipped, file.gzipped_etag
            headers.setRawHeaders(b"Content-Encoding", [b"gzip"])
        if request.setETag(etag):
            headers.removeHeader(b"Content-Encoding")
            return b""  # 304: the client has it
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
        return b"" if request.method == b"HEAD" else body


def _accepts_gzip(request: Request) -> bool:
    return read_accept_encoding(b",".join(request.requestHeaders.getRawHeaders(b"accept-encoding", ()))).gzip


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
            found.append((name, _page_file(kind, body if prefix else _shortened(body, kind))))
    return found


def _page_file(kind: bytes, body: bytes) -> PageFile:
    digest = hashlib.sha256(body).hexdigest()[:32].encode()
    gzipped = gzip.compress(body, mtime=0)
    return PageFile(kind, body, b'"%s"' % digest, gzipped if len(gzipped) < len(body) else b"", b'"%s-gzip"' % digest)


def _shortened(body: bytes, kind: bytes) -> bytes:
    """Return a file of the page's own without indentation, and a script without lines of comments.

    Lines keep their numbers, so that an error in the log of a browser leads to the line of the source.  In the
    templates of the scripts, white space at the beginning of a line means no more than a space.
    """
    lines = [line.strip() for line in body.split(b"\n")]
    return b"\n".join(b"" if kind == KINDS["js"] and line.startswith(b"//") else line for line in lines)
