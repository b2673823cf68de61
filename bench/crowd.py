"""A load process with thousands of event streams: python -m bench.crowd PORT NETWORK

Its connections come from the addresses NETWORK.1 to NETWORK.4 (127.0.1.1 …), so that each load process has the ports of
addresses of its own.  The kernel tries every second port of an address first: once these are in use, each ``connect``
looks at all of them, 14,000, before it finds one.
It reads commands from stdin and answers each with one line of JSON; ``Crowd.COMMANDS`` lists them.

A stream that ends is opened again after the time that the server's ``retry`` line named, as a browser does it, or at
once; a stream that is refused or not answered is counted and opened again after that time, or after a second.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import select
import socket
import sys
import time
from collections import Counter
from heapq import heappop, heappush
from itertools import cycle
from typing import Any

from bench import configs, machine
from bench.readers import BEAT, END, request

RARE = 100  # users that a rare rule touches, whatever the number of streams
RARE_COUNTRY, HUNDREDTH, TENTH = "XR", "XC", configs.MARKED
WINDOW = 64  # streams of a process that are connecting or wait for their answer, unless ``behave`` sets another number
ADDRESSES = 4
BIND_ADDRESS_NO_PORT = 24  # Linux: the port is chosen at ``connect``, where the same one may serve several servers
FIRST_RETRY = 3.0  # seconds that a browser waits which had no ``retry`` line yet
IMPATIENT = 1.0  # seconds after which an impatient client that was refused tries again
RETRY = re.compile(rb"retry: (\d+)\n")
LONGEST_BATCH = 256  # events of the kernel between two looks at stdin


def user(number: int) -> dict[str, Any]:
    """Return user ``number``: every tenth, every hundredth and a hundred of the first thousand are in one country."""
    countries = {0: TENTH, 1: HUNDREDTH if number % 100 == 1 else "", 2: RARE_COUNTRY if number < 10 * RARE else ""}
    return configs.user(number) | ({"Country": country} if (country := countries.get(number % 10, "")) else {})


def rare_people() -> list[str]:
    """Return the identifiers of the users that a rare rule on identifiers touches."""
    return [f"user-{number}" for number in range(3, 10 * RARE, 10)]


class Crowd:
    """The streams of one process; ``run`` serves commands until stdin ends."""

    COMMANDS = ("open", "reset", "status", "arrivals", "causes", "behave")

    def __init__(self, port: int, network: str) -> None:
        self._server = ("127.0.0.1", port)
        self._addresses = cycle([f"{network}.{number + 1}" for number in range(ADDRESSES)])
        self._patient = True  # whether a stream that ended waits for its ``retry`` time
        self._window = WINDOW
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._users: dict[int, int] = {}  # by descriptor
        self._connecting: set[int] = set()  # descriptors
        self._answered: set[int] = set()  # descriptors whose answer has begun
        self._partial: set[int] = set()  # descriptors with a part of an event
        self._retries: dict[int, float] = {}  # seconds, by user
        self._waiting: list[tuple[float, int]] = []  # a heap of users to connect, with the time
        self._buffer = bytearray(1 << 18)
        self._arrivals: dict[int, float] = {}  # by user: the time of the last event
        self._causes: Counter[str] = Counter()
        self._frames = self._received = self._ended = self._refused = 0

    # Commands

    def open(self, numbers: list[int]) -> int:
        """Open the streams of these users: first, end, step."""
        wanted = range(*numbers)
        now = time.monotonic()
        for number in wanted:
            heappush(self._waiting, (now, number))
        return len(wanted)

    def reset(self, _: Any) -> bool:
        """Forget what was counted."""
        self._arrivals = {}
        self._causes.clear()
        self._frames = self._received = self._ended = self._refused = 0
        return True

    def status(self, _: Any) -> dict[str, float]:
        """Return what was counted since ``reset``."""
        return {
            "open": len(self._answered),
            "frames": self._frames,
            "users": len(self._arrivals),
            "received": self._received,
            "ended": self._ended,
            "refused": self._refused,
            "processor": machine.own_processor(),
        }

    def arrivals(self, _: Any) -> list[float]:
        """Return the time of the last event of each user that had one since ``reset`` (monotonic clock)."""
        return list(self._arrivals.values())

    def causes(self, _: Any) -> dict[str, int]:
        """Return how often an attempt or a stream has ended since ``reset``, by what ended it."""
        return dict(self._causes)

    def behave(self, how: list[Any]) -> bool:
        """Set whether streams that end wait for their ``retry`` time, and how many may be opened at one time."""
        self._patient, self._window = how
        return True

    # The loop

    def run(self) -> None:
        """Serve commands and streams until stdin ends."""
        stdin = sys.stdin.fileno()
        self._epoll.register(stdin, select.EPOLLIN)
        print(json.dumps("ready"), flush=True)
        while True:
            self._connect_due()
            for number, event in self._epoll.poll(self._pause(), LONGEST_BATCH):
                if number == stdin:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    name, argument = json.loads(line)
                    print(json.dumps(getattr(self, name)(argument)), flush=True)
                elif number in self._connecting:
                    self._connected(number, event)
                else:
                    self._read(number)

    def _pause(self) -> float:
        if not self._waiting or self._full():
            return 1.0
        return min(1.0, max(0.0, self._waiting[0][0] - time.monotonic()))

    def _full(self) -> bool:
        return len(self._sockets) - len(self._answered) >= self._window

    def _connect_due(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now and not self._full():
            self._connect(heappop(self._waiting)[1])

    def _connect(self, user_number: int) -> None:
        stream = socket.socket()
        stream.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        stream.bind((next(self._addresses), 0))
        stream.setblocking(False)
        number = stream.fileno()
        self._sockets[number] = stream
        self._users[number] = user_number
        self._connecting.add(number)
        self._epoll.register(number, select.EPOLLOUT)
        with contextlib.suppress(BlockingIOError):
            stream.connect(self._server)

    def _connected(self, number: int, event: int) -> None:
        self._connecting.discard(number)
        stream = self._sockets[number]
        failed = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed or event & (select.EPOLLERR | select.EPOLLHUP):
            self._lost(number, f"connect: {errno.errorcode.get(failed, 'closed')}")
            return
        self._epoll.modify(number, select.EPOLLIN)
        try:
            stream.send(request(user(self._users[number])))
        except OSError as error:
            self._lost(number, f"request: {errno.errorcode.get(error.errno or 0)}")

    def _lost(self, number: int, cause: str) -> None:
        """Close a stream and queue its user."""
        answered = number in self._answered
        self._causes[f"stream: {cause}" if answered else cause] += 1
        self._ended += answered
        self._refused += not answered
        self._answered.discard(number)
        self._partial.discard(number)
        self._sockets.pop(number).close()
        user_number = self._users.pop(number)
        wait = self._retries.get(user_number, FIRST_RETRY) if self._patient else IMPATIENT * (not answered)
        heappush(self._waiting, (time.monotonic() + wait, user_number))

    def _read(self, number: int) -> None:
        buffer = self._buffer
        try:
            count = self._sockets[number].recv_into(buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(number, f"reading: {errno.errorcode.get(error.errno or 0)}")
            return
        if not count:
            self._lost(number, "closed")
            return
        self._received += count
        if number not in self._answered:
            if not buffer.startswith(b"HTTP/1.1 200 "):
                self._lost(number, bytes(buffer[9:12]).decode("ascii", "replace"))
                return
            if buffer.find(b"\r\nContent-Length:", 0, count) >= 0:  # only ``retry``: a limit is reached
                self._lost(number, "limit")
                return
            self._answered.add(number)
            found = RETRY.search(buffer, 0, count)
            if found is not None:
                self._retries[self._users[number]] = int(found[1]) / 1e3
        if buffer[count - 4 : count] != END:
            self._partial.add(number)
        elif number in self._partial or count > BEAT:
            self._partial.discard(number)
            self._frames += 1
            self._arrivals[self._users[number]] = time.monotonic()


if __name__ == "__main__":
    machine.raise_limit()
    Crowd(int(sys.argv[1]), sys.argv[2]).run()
