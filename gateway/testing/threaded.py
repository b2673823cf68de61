"""An HTTP server in threads of its own: the base of what stands at the far end of a real socket."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self


class QuietHandler(BaseHTTPRequestHandler):
    """HTTP/1.1, and no line per call: calls are shown by whoever wants them shown."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; the second would wait 40 ms for an ACK

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a peer that is killed in the middle of a call is no fault of ours."""


class ThreadedServer:
    """Answers on loopback as ``handler`` does, while it is entered as a context manager; a ``port`` of 0 is any."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), handler)
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        """Start to answer."""
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to answer."""
        self._server.shutdown()
        self._server.server_close()
