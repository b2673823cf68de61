"""An HTTP server that runs in its own threads; base of the fakes that are reached through real sockets."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self


class QuietHandler(BaseHTTPRequestHandler):
    """HTTP/1.1 without the log line that the base class writes for each request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; the second would wait 40 ms for an ACK

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Log nothing: a client that is killed during a request is not an error of the server."""


class ThreadedServer:
    """A server that answers with ``handler`` while its context is open; port 0 takes a free port.

    It listens on loopback, unless ``host`` names another address.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0, host: str = "127.0.0.1") -> None:
        self._server = _Server((host, port), handler)
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        """Start to serve."""
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
