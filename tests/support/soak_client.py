"""One client of a soak test: it keeps its values over reconnects, and notices values older than previous ones."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
from typing import Any

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection, as a killed process or a pulled plug does
SERIAL = "serial"  # the flag whose number grows with every config


class SoakClient:
    """A client of all flags, or of flag ``key``; ``delta`` selects delta mode.

    ``state`` maps keys to their last values; ``older`` has the serial numbers that decreased, with their predecessors.
    """

    def __init__(self, port: int, user: dict[str, Any], *, key: str | None = None, delta: bool = False) -> None:
        self.user = user
        self.key = key
        self.delta = delta
        self.state: dict[str, Any] = {}
        self.number = -1
        self.older: list[tuple[int, int]] = []
        self.frames = 0
        self.refused = 0
        self.socket: socket.socket | None = None
        self._port = port
        self._id = b""
        self._buffer = b""
        self._head = False
        self._event = b""
        self._data = b""

    def connect(self, receive_buffer: int | None = None) -> socket.socket | None:
        """Connect with the last event id; return None if the port is closed."""
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        data: dict[str, Any] = {"user": self.user} | ({"key": self.key} if self.key is not None else {})
        encoded = base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=")
        route = b"eval-all" if self.key is None else b"eval"
        query = b"?mode=delta" if self.delta else b""
        seen = b"Last-Event-ID: " + self._id + b"\r\n" if self._id else b""
        try:
            connection.connect(("127.0.0.1", self._port))
            connection.sendall(
                b"GET /sse/soak/%b/%b%b HTTP/1.1\r\nHost: soak\r\nAccept: text/event-stream\r\n%b\r\n"
                % (route, encoded, query, seen)
            )
        except OSError:
            connection.close()
            self.refused += 1
            return None
        connection.setblocking(False)
        self._buffer = self._event = self._data = b""
        self._head = False
        self.socket = connection
        return connection

    def close(self, *, abruptly: bool = False) -> None:
        """Close the connection; ``abruptly`` resets it."""
        connection, self.socket = self.socket, None
        if connection is not None:
            if abruptly:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()

    def take(self) -> bool:
        """Read available data; return False when the connection has ended."""
        assert self.socket is not None
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._buffer += data
        if not self._head:
            head, blank, rest = self._buffer.partition(b"\r\n\r\n")
            if not blank:
                return bool(data)
            if not head.startswith(b"HTTP/1.1 200"):
                self.refused += 1
                return False
            self._buffer, self._head = rest, True
        # Chunk sizes are on lines of their own, and events contain no CRLF, so each line can be parsed separately.
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._line(line)
        return bool(data)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"id: "):
            self._id = line.removeprefix(b"id: ")
        elif line.startswith(b"event: "):
            self._event = line.removeprefix(b"event: ")
        elif line.startswith(b"data: "):
            self._data = line.removeprefix(b"data: ")
        elif not line and self._data:
            self._show(json.loads(self._data))
            self._event = self._data = b""

    def _show(self, shown: Any) -> None:
        self.frames += 1
        if self._event == b"recovered":
            return
        if self._event == b"patch":
            self.state |= shown["changed"]
            for key in shown["removed"]:
                self.state.pop(key, None)
        elif self.key is not None and self._event != b"put":
            self.state = {self.key: shown}
        else:
            self.state = shown
        if SERIAL in self.state:
            number = self.state[SERIAL]["value"]
            if number < self.number:
                self.older.append((self.number, number))
            self.number = number
