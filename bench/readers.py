"""Thousands of event streams in one thread: raw sockets and one epoll, without parsing the events.

The servers send each event at the end of an HTTP chunk, so bytes that end in an empty line and the CRLF of the chunk
complete an event.
"""

from __future__ import annotations

import base64
import contextlib
import json
import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Self

from bench.servers import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

WINDOW = 64  # connections that are being opened at one time
END = b"\n\n\r\n"
BEAT = 40  # bytes; every heartbeat is shorter, every event with values is longer
TIMEOUT = 120.0
QUIET = 0.25  # seconds without an event after the last expected one
REFRESH = (
    b"POST /api/sdk1/refresh HTTP/1.1\r\nHost: bench\r\nX-Auth: " + TOKEN.encode() + b"\r\nContent-Length: 0\r\n\r\n"
)


def request(user: dict[str, Any], query: str = "") -> bytes:
    """Return the request that opens one user's evaluate-all stream."""
    data = base64.urlsafe_b64encode(json.dumps({"user": user}).encode()).decode().rstrip("=")
    return f"GET /sse/sdk1/eval-all/{data}{query} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode()


class Push:
    """The events of one change; ``delays`` and ``last`` are milliseconds from the refresh request to an event."""

    def __init__(self, began: float, arrivals: list[float], received: int, late: int) -> None:
        self.began = began
        self.ended = max(arrivals, default=began)
        self.delays = sorted((arrival - began) * 1e3 for arrival in arrivals)
        self.received = received
        self.unexpected = late
        self.last = self.delays[-1] if self.delays else 0.0

    def quantile(self, share: float) -> float:
        return self.delays[int(share * (len(self.delays) - 1))]


class Readers:
    """Open streams of one server; a context manager."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls
        self.first = b""  # first bytes that the first stream received
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._handshakes: dict[int, bytes] = {}
        self._partial: set[int] = set()
        self._buffer = bytearray(1 << 20)
        self._arrivals: dict[int, float] = {}
        self._frames = 0
        self._received = 0
        self.lost = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._sockets.values():
            stream.close()
        self._epoll.close()

    def __len__(self) -> int:
        return len(self._sockets)

    def open(self, requests: Iterable[bytes], *, receive_buffer: int | None = None) -> tuple[float, list[int]]:
        """Open streams; return the seconds until all had their first event, and the numbers of the streams."""
        self._reset()
        numbers = []
        began = time.monotonic()
        for data in requests:
            numbers.append(self._connect(data, receive_buffer))
            while len(numbers) - len(self._arrivals) >= WINDOW:
                self._read(1.0)
        while len(self._arrivals) < len(numbers):
            self._read(1.0)
            if time.monotonic() - began > TIMEOUT or self.lost:
                raise RuntimeError(f"{len(self._arrivals)} of {len(numbers)} streams opened, {self.lost} were closed")
        return max(self._arrivals.values()) - began, numbers

    def push(self, change: Callable[[], None], expected: int, *, quiet: float = QUIET, of: Container[int] = ()) -> Push:
        """Call ``change``, send a refresh request, and read until ``expected`` events have arrived.

        Then read until no event has arrived for ``quiet`` seconds.
        ``of`` are the numbers of the streams whose delays are returned; empty means all streams.

        :raises RuntimeError: if events are missing after ``TIMEOUT`` seconds, or a stream was closed.
        """
        self._reset()
        change()
        with contextlib.closing(self._control()) as control:
            began = time.monotonic()
            control.sendall(REFRESH)
            while self._frames < expected:
                self._read(0.5)
                if time.monotonic() - began > TIMEOUT or self.lost:
                    raise RuntimeError(f"{self._frames} of {expected} events arrived, {self.lost} streams were closed")
            self.settle(quiet)
            arrivals = [at for number, at in self._arrivals.items() if not of or number in of]
            return Push(began, arrivals, self._received, self._frames - expected)

    def settle(self, quiet: float = QUIET) -> None:
        """Read until no event has arrived for ``quiet`` seconds, and none is there in part."""
        until = time.monotonic() + TIMEOUT
        while self._read(quiet) or (self._partial and time.monotonic() < until):
            pass

    def stall(self, numbers: Iterable[int]) -> None:
        """Stop reading these streams."""
        for number in numbers:
            self._epoll.unregister(number)

    def wake(self, numbers: Iterable[int]) -> None:
        """Continue to read these streams."""
        for number in numbers:
            self._epoll.register(number, select.EPOLLIN)

    def _reset(self) -> None:
        self._arrivals = {}
        self._frames = self._received = 0

    def _connect(self, data: bytes, receive_buffer: int | None) -> int:
        stream = socket.socket()
        if receive_buffer is not None:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        stream.connect(("127.0.0.1", self.port))
        if self._tls is None:
            stream.sendall(data)
            stream.setblocking(False)
        else:
            stream.setblocking(False)
            stream = self._tls.wrap_socket(stream, server_hostname="localhost", do_handshake_on_connect=False)
        number = stream.fileno()
        self._sockets[number] = stream
        self._epoll.register(number, select.EPOLLIN)
        if self._tls is not None:
            self._handshakes[number] = data
            self._greet(number)
        return number

    def _control(self) -> socket.socket:
        link = socket.create_connection(("127.0.0.1", self.port))
        return link if self._tls is None else self._tls.wrap_socket(link, server_hostname="localhost")

    def _records(self, stream: Any) -> int:
        """Read all available TLS records: epoll does not report data that the TLS library has already buffered."""
        view, count = memoryview(self._buffer), 0
        try:
            while piece := stream.recv_into(view[count:]):
                count += piece
        except ssl.SSLWantReadError:
            if not count:
                raise
        return count

    def _greet(self, number: int) -> None:
        stream: Any = self._sockets[number]
        with contextlib.suppress(ssl.SSLWantReadError):
            stream.do_handshake()
            stream.sendall(self._handshakes.pop(number))

    def _read(self, wait: float) -> int:
        """Read available bytes; return the number of events that they completed."""
        before = self._frames
        ready = self._epoll.poll(wait, 256)
        buffer, sockets = self._buffer, self._sockets
        for number, _ in ready:
            if number in self._handshakes:
                self._greet(number)
                continue
            try:
                count = sockets[number].recv_into(buffer) if self._tls is None else self._records(sockets[number])
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except OSError:
                count = 0
            if not count:
                self._epoll.unregister(number)
                self.lost += 1
                continue
            self._received += count
            if not self.first:
                self.first = bytes(buffer[:count])
            self._take(number, count)
        return self._frames - before if ready else 0

    def _take(self, number: int, count: int) -> None:
        """Count the event that ``count`` bytes of a stream complete, if they do."""
        if self._buffer[count - 4 : count] != END:
            self._partial.add(number)
        elif number in self._partial or count > BEAT:
            self._partial.discard(number)
            self._frames += 1
            self._arrivals[number] = time.monotonic()
