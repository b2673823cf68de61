"""An upstream CDN in a thread, for tests that drive a gateway from outside: ETags, 304s, and a config to change."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

SDK_KEY = "configcat-sdk-1/0123456789abcdefghijkl/lkjihgfedcba9876543210"


class _Quiet(ThreadingHTTPServer):
    """Gateways that are killed leave broken connections, which is nothing to print."""

    def handle_error(self, *_: object) -> None:
        pass


class CdnStandIn:
    """Serves one config JSON on every path; use it as a context manager."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Begin with this config."""
        self.set(config)
        self.requests: list[str] = []
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def set(self, config: dict[str, Any]) -> None:
        """Serve this config from the next request on."""
        body = json.dumps(config).encode()
        self._served = (body, f'"{hashlib.sha1(body).hexdigest()}"')

    @property
    def etag(self) -> str:
        """The ETag of what is served."""
        return self._served[1]

    def __enter__(self) -> Self:
        """Start to answer."""
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to answer."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cdn = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes; the second would wait 40 ms for an ACK

            def do_GET(self) -> None:
                cdn.requests.append(self.path)
                body, etag = cdn._served
                same = self.headers.get("If-None-Match") == etag
                self.send_response(304 if same else 200)
                self.send_header("ETag", etag)
                if not same:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if not same:
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
