"""A real HTTP receiver of web hooks in a thread: it notes what comes, and answers, refuses, hangs or resets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from time import monotonic
from typing import Self

from attrs import field, frozen


@frozen
class Call:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    at: float = field(factory=monotonic, eq=False)

    @property
    def id(self) -> str:
        """The message's id."""
        return self.headers.get("x-flaggateway-delivery", "")


Behave = Callable[[Call], "int | str"]


class _Quiet(ThreadingHTTPServer):
    """Senders that are killed leave broken connections, which is nothing to print."""

    def handle_error(self, *_: object) -> None:
        pass


class Receiver:
    """Use it as a context manager; ``behave`` returns a status, ``hang`` or ``reset`` for each call."""

    def __init__(self, behave: Behave = lambda _: 204, *, hang_seconds: float = 20.0) -> None:
        """Take every call, until ``behave`` says otherwise; one that hangs is closed unanswered after a while."""
        self.behave = behave
        self.hang_seconds = hang_seconds
        self.calls: list[Call] = []
        self.taken: list[Call] = []
        self._lock = Lock()
        self._over = Event()
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> Self:
        """Start to answer."""
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to answer."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = self.rfile.read(length)
                if len(body) < length:  # whoever sent it was killed in the middle; nobody takes that for a request
                    self.close_connection = True
                    return
                call = Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                answer = receiver.behave(call)
                with receiver._lock:
                    receiver.calls.append(call)
                    if isinstance(answer, int) and 200 <= answer < 300:
                        receiver.taken.append(call)
                if answer == "hang":
                    receiver._over.wait(receiver.hang_seconds)
                    self.close_connection = True
                elif answer == "reset":
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                else:
                    self.send_response(int(answer))
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
