"""Many evaluations over a few kept-alive connections, pipelined: what one thread can ask for in a short time."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Self

PIECE = 50  # requests that are sent before their answers are read


class Asker:
    """POSTs JSON to one path; use it as a context manager.  ``answered`` are the bodies that were, and when."""

    def __init__(self, port: int, path: str, connections: int = 8) -> None:
        """Connect: the kernel spreads the connections over the workers."""
        self._path = path
        self._sockets = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(connections)]
        self._buffers = [b""] * connections
        self.answered: list[tuple[Any, float]] = []

    def __enter__(self) -> Self:
        """Stay connected."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        for each in self._sockets:
            each.close()

    def ask(self, bodies: Iterable[Any]) -> None:
        """Ask for each, some at a time on every connection; raises ``OSError`` when the gateway goes away."""
        waiting = iter(bodies)
        while True:
            pieces = [list(islice(waiting, PIECE)) for _ in self._sockets]
            for each, piece in zip(self._sockets, pieces, strict=True):
                each.sendall(b"".join(map(self._request, piece)))
            for place, piece in enumerate(pieces):
                for body in piece:
                    self._read(place)
                    self.answered.append((body, time.monotonic()))
            if not pieces[-1]:
                return

    def _request(self, body: Any) -> bytes:
        data = json.dumps(body).encode()
        return b"POST %b HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n%b" % (self._path.encode(), len(data), data)

    def _read(self, place: int) -> None:
        buffer = self._buffers[place]
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            buffer += self._received(place)
        head = buffer[:end].lower()
        assert head.startswith(b"http/1.1 200"), head
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(buffer) < end + 4 + length:
            buffer += self._received(place)
        self._buffers[place] = buffer[end + 4 + length :]

    def _received(self, place: int) -> bytes:
        data = self._sockets[place].recv(1 << 16)
        if not data:
            raise ConnectionResetError("the gateway hung up")
        return data


def ask_until_gone(asker: Asker, bodies: Iterator[Any]) -> None:
    """Ask, a few at a time, until the gateway goes away; ``asker.answered`` grows meanwhile."""
    with suppress(OSError):
        while True:
            asker.ask([next(bodies) for _ in range(10)])
            time.sleep(0.002)  # noqa: TID251 - the pace of the load, not waiting for something
