"""A fake upstream CDN: one config JSON for every key, served correctly or in one of many faulty ways.

In a test: ``cdn = FakeCdn(); port = cdn.listen(reactor)``, then set ``cdn.mode``, ``cdn.body``, ``cdn.etag``.
Stand-alone: ``python -m gateway.testing.cdn --port 0 --file config.json`` prints its port and then serves the file,
which it reads again for each request.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections import Counter
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IPullProducer
from twisted.internet.task import react
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

Mode = Literal[
    "ok",
    "404",
    "500",
    "hang",
    "no-etag",
    "malformed",
    "truncated",
    "oversized",
    "redirect-in-body",
    "gzip",
    "bad-gzip",
    "bomb",
    "moved",
    "babble",
    "brotli",
]
_SUFFIX = b"/config_v6.json"
_BOMB = 256 * 1024 * 1024  # decompressed bytes of the "bomb"; about 256 KiB on the wire
_NOISE = (b"X-Noise: " + b"y" * 1000 + b"\r\n") * 4000  # about 4 MB of header fields


class FakeCdn(Resource):
    """Serves ``/configuration-files/<any key>/config_v6.json`` in the current ``mode``; other paths get 404.

    Any attribute may be set at any time, in the reactor thread, and holds from the next request on.
    ``requests`` counts requests by path; ``seen`` keeps each one's headers and ``peers`` its sender, oldest first.
    ``redirect`` is (base URL, kind) for the mode ``redirect-in-body``; ``location`` is for ``moved``.
    ``babble`` sends 4 MB of header fields, ``bomb`` 256 MB of zeros as gzip.
    ``oversize`` bytes are sent in the mode ``oversized``; None means no end; ``sent`` counts the bytes sent.
    """

    isLeaf = True

    def __init__(self, body: bytes = b'{"f":{}}', *, mode: Mode = "ok", etag: str | None = None) -> None:
        super().__init__()
        self.body = body
        self.mode: Mode = mode
        self.etag = etag
        self.redirect: tuple[str, int] = ("", 0)
        self.location = ""
        self.oversize: int | None = None
        self.sent = 0
        self.requests: Counter[str] = Counter()
        self.seen: list[dict[str, str]] = []
        self.peers: list[Any] = []
        self.arrived: list[Deferred[None]] = []
        self.hanging: list[Any] = []
        self._port: Any = None
        self._connections: Any = None

    @property
    def count(self) -> int:
        """Number of all requests."""
        return sum(self.requests.values())

    def listen(self, reactor: Any, tls: Any = None) -> int:
        """Listen on a free port of 127.0.0.1 and return it; ``tls`` is a context factory for https."""
        site = _QuietSite(self)
        self._connections = WrappingFactory(site)
        if tls is None:
            self._port = reactor.listenTCP(0, self._connections, interface="127.0.0.1")
        else:
            self._port = reactor.listenSSL(0, self._connections, tls, interface="127.0.0.1")
        return int(self._port.getHost().port)

    def close(self) -> Deferred[Any]:
        """Stop listening and abort every connection; fires when the port is free."""
        for connection in list(self._connections.protocols):
            connection.transport.abortConnection()
        return maybeDeferred(self._port.stopListening)

    def release(self) -> None:
        """Answer all hanging requests as in the mode ``ok``."""
        hanging, self.hanging = self.hanging, []
        for request in hanging:
            request.write(self._ok(request))
            request.finish()

    def next_request(self) -> Deferred[None]:
        """Return a Deferred that fires when the next request was answered, or hangs; it never fails."""
        waiting: Deferred[None] = Deferred()
        self.arrived.append(waiting)
        return waiting

    def render(self, request: Any) -> bytes | int:
        """See ``Resource``."""
        self.requests[request.path.decode("latin-1")] += 1
        names = request.requestHeaders.getAllRawHeaders()
        self.seen.append({name.decode("latin-1").lower(): values[0].decode("latin-1") for name, values in names})
        self.peers.append(request.getClientAddress())
        try:
            return self._answered(request)
        finally:
            arrived, self.arrived = self.arrived, []
            for waiting in arrived:
                waiting.callback(None)

    def _answered(self, request: Any) -> bytes | int:
        request.setHeader("Content-Type", "application/json")
        if not request.path.startswith(b"/configuration-files/") or not request.path.endswith(_SUFFIX):
            request.setResponseCode(404)
            return b"not here"
        answer: Callable[[Any], bytes | int] = getattr(self, "_" + self.mode.replace("-", "_"), self._status)
        return answer(request)

    def _tag(self) -> bytes:
        etag = self.etag if self.etag is not None else f'"{sha1(self.body).hexdigest()}"'
        return etag.encode("latin-1")

    def _ok(self, request: Any) -> bytes:
        tag = self._tag()
        request.setHeader("ETag", tag)
        if request.getHeader("If-None-Match") == tag.decode("latin-1"):
            request.setResponseCode(304)
            return b""
        return self.body

    def _status(self, request: Any) -> bytes:
        request.setResponseCode(int(self.mode))
        return b"as asked"

    def _hang(self, request: Any) -> int:
        self.hanging.append(request)
        request.notifyFinish().addErrback(lambda _: self.hanging.remove(request) if request in self.hanging else None)
        return NOT_DONE_YET

    def _no_etag(self, _request: Any) -> bytes:
        return self.body

    def _malformed(self, request: Any) -> bytes:
        request.setHeader("ETag", '"malformed"')
        return b'{"f": {"broken'

    def _truncated(self, request: Any) -> int:
        request.setHeader("ETag", self._tag())
        request.setHeader("Content-Length", str(len(self.body) + 10))
        request.write(self.body)
        request.transport.loseConnection()
        return NOT_DONE_YET

    def _oversized(self, request: Any) -> int:
        _Flood(self, request)
        return NOT_DONE_YET

    def _babble(self, request: Any) -> int:
        request.transport.write(b"HTTP/1.1 200 OK\r\n" + _NOISE)  # without the end of the head
        return NOT_DONE_YET

    def _redirect_in_body(self, request: Any) -> bytes:
        config = msgspec.json.decode(self.body)
        config["p"] = {"u": self.redirect[0], "r": self.redirect[1]}
        request.setHeader("ETag", self._tag())
        return msgspec.json.encode(config)

    def _gzip(self, request: Any) -> bytes:
        body = self._ok(request)
        if not body:
            return body
        request.setHeader("Content-Encoding", "gzip")
        return gzip.compress(body)

    def _bad_gzip(self, request: Any) -> bytes:
        request.setHeader("Content-Encoding", "gzip")
        return b"this is not gzip at all"

    def _brotli(self, request: Any) -> bytes:
        request.setHeader("Content-Encoding", "br")
        return b"claimed to be brotli"

    def _bomb(self, request: Any) -> bytes:
        request.setHeader("Content-Encoding", "gzip")
        return gzip.compress(bytes(_BOMB), compresslevel=1)

    def _moved(self, request: Any) -> bytes:
        request.setResponseCode(302)
        request.setHeader("Location", self.location)
        return b"elsewhere"


@implementer(IPullProducer)
class _Flood:
    """Writes spaces until ``oversize`` is reached or the client has disconnected."""

    _CHUNK = bytes(16 * 1024).replace(b"\0", b" ")

    def __init__(self, cdn: FakeCdn, request: Any) -> None:
        self._cdn = cdn
        self._request = request
        self._left = cdn.oversize
        request.notifyFinish().addErrback(lambda _: None)
        request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Write the next piece."""
        if self._left is not None and self._left <= 0:
            self._request.unregisterProducer()
            self._request.finish()
            return
        piece = self._CHUNK if self._left is None else self._CHUNK[: self._left]
        if self._left is not None:
            self._left -= len(piece)
        self._cdn.sent += len(piece)
        self._request.write(piece)

    def stopProducing(self) -> None:
        """Stop, because the client has disconnected."""


class _QuietSite(Site):
    """No access log: its lines would hold the keys that tests look for in logs."""

    noisy = False

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)

    def log(self, request: Any) -> None:
        """Log nothing."""


class _FileCdn(FakeCdn):
    """Reads its body from a file for each request."""

    def __init__(self, path: Path, mode: Mode) -> None:
        super().__init__(mode=mode)
        self._path = path

    def render(self, request: Any) -> bytes | int:
        """See ``Resource``."""
        self.body = self._path.read_bytes()
        return super().render(request)


def main(arguments: list[str] | None = None) -> None:
    """Serve a file until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m gateway.testing.cdn", description="A fake upstream CDN.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="TCP port; 0 takes a free one")
    parser.add_argument("--file", type=Path, required=True, help="config JSON, read again for each request")
    parser.add_argument("--mode", choices=get_args(Mode), default="ok", help="how to answer")
    options = parser.parse_args(arguments)

    def serve(reactor: Any) -> Deferred[None]:
        site = _QuietSite(_FileCdn(options.file, options.mode))
        port = reactor.listenTCP(options.port, site, interface=options.host)
        print(port.getHost().port)
        sys.stdout.flush()
        return Deferred()

    react(serve)


if __name__ == "__main__":
    main()
