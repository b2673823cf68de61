"""The client for browsers: ``/client.js`` is the newest version, ``/client/{version}.js`` each one ever released.

A page may name a version for good, so its file stays in ``gateway/web/browser`` when a newer one is added.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from attrs import frozen

from gateway.web.etags import client_has
from gateway.web.values import Reply, text

if TYPE_CHECKING:
    from gateway.web.context import Context
    from gateway.web.values import Call, HeaderLines

NEWEST = (b"Cache-Control", b"public, max-age=600")  # seconds; within them a page may load the version before
NAMED = (b"Cache-Control", b"public, max-age=31536000, immutable")
KIND: HeaderLines = (
    (b"Content-Type", b"text/javascript; charset=utf-8"),
    (b"X-Content-Type-Options", b"nosniff"),
)
NO_VERSION = text(404, "this gateway does not have this version of the client; /client.js is the newest")


@frozen
class ClientFile:
    """One version of the client, with its validator."""

    body: bytes
    etag: bytes


def newest(_context: Context, call: Call) -> Reply:
    """Reply with the newest version."""
    versions = client_files()
    return _reply(call, versions[next(iter(versions))], NEWEST)


def named(_context: Context, call: Call) -> Reply:
    """Reply with the version that the path names."""
    version = call.parameters["file"].removesuffix(".js")
    file = client_files().get(version)
    return NO_VERSION if file is None or call.parameters["file"] == version else _reply(call, file, NAMED)


@cache
def client_files() -> dict[str, ClientFile]:
    """Return the versions, the newest first."""
    found: dict[str, ClientFile] = {}
    for entry in files("gateway.web").joinpath("browser").iterdir():
        name = entry.name.removeprefix("client-").removesuffix(".js")
        if entry.name == f"client-{name}.js":
            body = entry.read_bytes()
            found[name] = ClientFile(body, b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode())
    return dict(sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")], reverse=True))


def _reply(call: Call, file: ClientFile, caching: tuple[bytes, bytes]) -> Reply:
    headers = (caching, (b"Etag", file.etag))
    if client_has(call, file.etag):
        return Reply(304, headers)
    return Reply(200, (*KIND, *headers), file.body)
