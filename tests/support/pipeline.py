"""Requests over one kept-alive connection, many on their way at a time, and their answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Self

AT_ONCE = 50  # requests that are sent before their answers are read


def post(path: str, body: Any, headers: str = "") -> bytes:
    """Return a POST request of a JSON body; each of ``headers`` ends with CRLF."""
    data = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: g\r\n{headers}Content-Length: {len(data)}\r\n\r\n".encode() + data


class Pipeline:
    """One connection, as a context manager."""

    def __init__(self, port: int) -> None:
        """Connect to a port of this machine."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        """Stay connected."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self._answers.close()
        self._socket.close()

    def send(self, requests: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
        """Send requests, and yield status and decoded JSON body of each in order."""
        waiting = iter(requests)
        while piece := list(islice(waiting, AT_ONCE)):
            self._socket.sendall(b"".join(piece))
            for _ in piece:
                yield self._read()

    def _read(self) -> tuple[int, Any]:
        status = int(self._answers.readline().split()[1])
        length = 0
        while (line := self._answers.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = self._answers.read(length)
        return status, json.loads(body) if body.startswith((b"{", b"[")) else body
