"""A receiver for the exporter, in a process of its own: python -m bench.receiver prints its port, then serves.

It only counts events, so that it uses little processor time; GET / returns the count.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from bench.servers import ROOT

EVENT = b'"kind":"feature"'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    count = 0

    def do_POST(self) -> None:
        Handler.count += self.rfile.read(int(self.headers["Content-Length"])).count(EVENT)
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(str(Handler.count).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Receiver:
    """Start and stop the receiver process, and read its count; a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, "-m", "bench.receiver"], cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def count(self) -> int:
        """Number of events received so far."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        client.request("GET", "/")
        found = int(client.getresponse().read())
        client.close()
        return found


if __name__ == "__main__":
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(listener.server_port, flush=True)
    listener.serve_forever()
