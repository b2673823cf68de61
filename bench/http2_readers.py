"""Thousands of event streams over HTTP/2 in one thread, on raw sockets as those of ``readers``.

The servers send an event of a few KB in one DATA frame, since the windows of these clients never close.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hpack import Encoder

from bench.readers import BEAT, TIMEOUT, WINDOW, Readers

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable

DATA, HEADERS, SETTINGS, GOAWAY = 0, 1, 4, 7  # types of frames
END_STREAM, END_HEADERS, ACK = 1, 4, 1  # flags
LARGEST = 2**31 - 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return b"".join((len(payload).to_bytes(3), bytes((kind, flags)), stream.to_bytes(4), payload))


PREFACE = b"".join(
    (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        frame(SETTINGS, 0, 0, b"\0\4" + LARGEST.to_bytes(4)),  # each stream's window
        frame(8, 0, 0, (LARGEST - 65_535).to_bytes(4)),  # and that of the connection
    )
)


def opening(requests: Iterable[bytes]) -> bytes:
    """Return the bytes of a connection that opens these streams; ``requests`` are HTTP/1.1 requests."""
    encoder = Encoder()
    parts = [PREFACE]
    for number, request in enumerate(requests):
        head = [
            (b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"bench"),
            (b":path", request.split(b" ", 2)[1]), (b"accept", b"text/event-stream"),
        ]  # fmt: skip
        parts.append(frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, encoder.encode(head)))
    return b"".join(parts)


class Http2Readers(Readers):
    """Open streams of one server, ``each`` of them on one connection; a context manager.

    Changes are made on a connection with ``control``, over HTTP/1.1.
    """

    def __init__(self, port: int, *, tls: ssl.SSLContext, control: ssl.SSLContext, each: int) -> None:
        super().__init__(port, tls=tls)
        self._control_tls = control
        self._each = each
        self._left: dict[int, bytes] = {}  # by connection: the beginning of a frame

    def open(self, requests: Iterable[bytes], *, receive_buffer: int | None = None) -> tuple[float, list[int]]:
        """Open streams; return the seconds until all had their first event, and the numbers of the streams."""
        self._reset()
        waiting = list(requests)
        groups = [waiting[start : start + self._each] for start in range(0, len(waiting), self._each)]
        begun = 0
        began = time.monotonic()
        for group in groups:
            self._connect(opening(group), receive_buffer)
            begun += len(group)
            while begun - len(self._arrivals) >= max(WINDOW, self._each):
                self._read(1.0)
        while len(self._arrivals) < begun:
            self._read(1.0)
            if time.monotonic() - began > TIMEOUT or self.lost:
                raise RuntimeError(f"{len(self._arrivals)} of {begun} streams opened, {self.lost} were closed")
        return max(self._arrivals.values()) - began, list(self._arrivals)

    def _control(self) -> socket.socket:
        self._tls, tls = self._control_tls, self._tls
        try:
            return super()._control()
        finally:
            self._tls = tls

    def _take(self, number: int, count: int) -> None:
        """Count the events that ``count`` bytes of a connection complete."""
        data = self._left.pop(number, b"") + self._buffer[:count]
        at = 0
        while at + 9 <= len(data):
            end = at + 9 + int.from_bytes(data[at : at + 3])
            if end > len(data):
                break
            kind = data[at + 3]
            if kind == DATA:
                if end - at - 9 > BEAT:
                    assert data.endswith(b"\n\n", at, end)
                    self._frames += 1
                    self._arrivals[number << 32 | int.from_bytes(data[at + 5 : at + 9])] = time.monotonic()
            elif kind == SETTINGS and not data[at + 4] & ACK:
                self._sockets[number].sendall(frame(SETTINGS, ACK, 0))
            elif kind == GOAWAY:
                self.lost += 1
            at = end
        if at < len(data):
            self._left[number] = bytes(data[at:])
