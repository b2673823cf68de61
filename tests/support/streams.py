"""Many event streams in one thread, over plain sockets: a test opens, reads, stalls and closes them."""

from __future__ import annotations

import base64
import contextlib
import json
import selectors
import socket
import time
from typing import Any


def stream_path(sdk: str, attributes: dict[str, Any] | None = None, key: str | None = None) -> str:
    """Return the path of a stream of flag ``key``, or of all flags."""
    data: dict[str, Any] = {}
    if key is not None:
        data["key"] = key
    if attributes is not None:
        data["user"] = attributes
    encoded = base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")
    return f"/sse/{sdk}/{'eval' if key is not None else 'eval-all'}/{encoded}"


class Stream:
    """One connection; ``payloads`` are the decoded events in order, ``arrivals`` their times (monotonic)."""

    def __init__(self, port: int, path: str, *, receive_buffer: int | None = None, headers: str = "") -> None:
        """Connect and send the request; nothing is read yet."""
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode())
        self.socket.setblocking(False)
        self.buffer = b""
        self.status: int | None = None
        self.payloads: list[Any] = []
        self.arrivals: list[float] = []
        self.ids: list[str] = []  # of the events that have one
        self.comments = 0
        self.ended = False

    def take(self) -> None:
        """Read available data and decode complete events."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        now = time.monotonic()
        if not data:
            self.ended = True
            return
        self.buffer += data
        if self.status is None:
            head, blank, rest = self.buffer.partition(b"\r\n\r\n")
            if not blank:
                return
            self.status = int(head.split()[1])
            self.buffer = rest
        # Chunk sizes are on lines of their own, and events contain no CRLF, so each line can be parsed separately.
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                self.payloads.append(json.loads(line.removeprefix(b"data: ")))
                self.arrivals.append(now)
            elif line.startswith(b"id: "):
                self.ids.append(line.removeprefix(b"id: ").decode())
            elif line.startswith(b":"):
                self.comments += 1

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


class Streams:
    """A group of streams that are read together."""

    def __init__(self) -> None:
        """Start without streams."""
        self._selector = selectors.DefaultSelector()
        self.all: list[Stream] = []

    def open(self, port: int, path: str, **options: Any) -> Stream:
        """Open a stream; ``read_until`` reads it, too."""
        stream = Stream(port, path, **options)
        self.all.append(stream)
        self._selector.register(stream.socket, selectors.EVENT_READ, stream)
        return stream

    def forget(self, stream: Stream) -> None:
        """Close a stream before the others."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(stream.socket)
        stream.close()
        self.all.remove(stream)

    def read_until(self, done: Any, seconds: float = 15.0) -> None:
        """Read until ``done()``; fail after ``seconds``."""
        until = time.monotonic() + seconds
        while not done():
            left = until - time.monotonic()
            assert left > 0, f"not done within {seconds} s"
            for key, _ in self._selector.select(min(left, 0.5)):
                stream: Stream = key.data
                stream.take()
                if stream.ended:
                    self._selector.unregister(stream.socket)

    def close(self) -> None:
        """Close all streams."""
        for stream in self.all:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(stream.socket)
            stream.close()
        self._selector.close()
