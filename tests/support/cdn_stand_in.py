"""An upstream CDN in a thread, for tests that drive a gateway from outside: ETags, 304s, and a config to change."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler
from typing import Any

from gateway.testing.threaded import QuietHandler, ThreadedServer

SDK_KEY = "configcat-sdk-1/0123456789abcdefghijkl/lkjihgfedcba9876543210"


class CdnStandIn(ThreadedServer):
    """Serves one config JSON on every path; use it as a context manager."""

    def __init__(self, config: dict[str, Any], port: int = 0) -> None:
        """Begin with this config; port 0 takes a free port."""
        self.set(config)
        self.down = False
        self.requests: list[str] = []
        super().__init__(self._handler(), port)
        self.url = f"http://127.0.0.1:{self.port}"

    def answer(self, path: str) -> tuple[bytes, str] | None:
        """Note a request; return body and ETag, or None while it is ``down``, which answers 503."""
        self.requests.append(path)
        return None if self.down else self._served

    def set(self, config: dict[str, Any]) -> None:
        """Serve this config from the next request on."""
        body = json.dumps(config).encode()
        self._served = (body, f'"{hashlib.sha1(body).hexdigest()}"')

    @property
    def etag(self) -> str:
        """The ETag of what is served."""
        return self._served[1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cdn = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                answer = cdn.answer(self.path)
                if answer is None:
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body, etag = answer
                same = self.headers.get("If-None-Match") == etag
                self.send_response(304 if same else 200)
                self.send_header("ETag", etag)
                if not same:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if not same:
                    self.wfile.write(body)

        return Handler
