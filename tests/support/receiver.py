"""A real HTTP receiver of web hooks in a thread: it notes what comes, and answers, refuses, hangs or resets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from threading import Event, Lock
from time import monotonic

from attrs import field, frozen

from gateway.testing.threaded import QuietHandler, ThreadedServer


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


class Receiver(ThreadedServer):
    """Use it as a context manager; ``behave`` returns a status, ``hang`` or ``reset`` for each call."""

    def __init__(
        self,
        behave: Behave = lambda _: 204,
        *,
        hang_seconds: float = 20.0,
        largest: int | None = None,
        retry_after: int = 0,
    ) -> None:
        """Take every call, until ``behave`` says otherwise; one that hangs is closed unanswered after a while.

        With ``retry_after`` a call that is not taken is answered with that header: it does not come again meanwhile.
        A body of more than ``largest`` bytes is not read: the answer is 413, then the connection is reset.
        """
        self.largest = largest
        self.retry_after = retry_after
        self.too_large = 0  # calls
        self.behave = behave
        self.hang_seconds = hang_seconds
        self.calls: list[Call] = []
        self.taken: list[Call] = []
        self._lock = Lock()
        self._over = Event()
        super().__init__(self._handler())
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def __exit__(self, *_: object) -> None:
        """Stop to answer."""
        self._over.set()
        super().__exit__()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                if receiver.largest is not None and length > receiver.largest:
                    with receiver._lock:
                        receiver.too_large += 1
                    self.send_response(413)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    self.close_connection = True  # with the body unread, which the kernel answers by a reset
                    return
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
                    if receiver.retry_after and int(answer) >= 300:
                        self.send_header("Retry-After", str(receiver.retry_after))
                    self.send_header("Content-Length", "0")
                    self.end_headers()

        return Handler
