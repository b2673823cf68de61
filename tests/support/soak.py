"""A gateway under many faults at once: reconnecting clients, faults of the upstream, killed workers, stalls."""

from __future__ import annotations

import heapq
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, linear_regression
from typing import Any

from gateway.flags import User, attributes_from_json, load
from gateway_process import GatewayProcess
from soak_client import SERIAL, SoakClient

CLIENTS = 240
COUNTRIES = ("DE", "FR", "US", "GB", "JP")
FILLER = 30  # flags that never change: they make frames of 3 KB, which fill a stalled client's buffers in seconds
SOMETIMES = 7  # every 7th config lacks a flag; the streams of this flag are refused then
CHANGE_SECONDS = 1.0
KILL_SECONDS = 0.25  # between two disconnecting clients; three of four reset the connection
STALL_SECONDS = 1.5  # between two clients that stop reading
FAULT_SECONDS = 15.0  # between two faults of the upstream
FAULT_LASTS = 4.0
FAULTS = ("gone", "500", "malformed", "hang", "truncated")
WORKER_SECONDS = 60.0
SAMPLE_SECONDS = 2.0
SETTLE_SECONDS = 40.0  # until all clients have the last value: stalled ones read again, and the upstream is polled
RECEIVE_BUFFER = 4096


def config(number: int) -> dict[str, Any]:
    """Return config ``number``: a serial number, flags that differ by country and percentage, and filler flags."""

    def text(value: str) -> dict[str, Any]:
        return {"v": {"s": value}, "i": value}

    country = COUNTRIES[number % len(COUNTRIES)]
    share = number % 10 * 10
    flags: dict[str, Any] = {
        SERIAL: {"t": 2, "v": {"i": number}, "i": f"n{number}"},
        "local": {"t": 1, **text("elsewhere"), "r": [{"c": [{"u": {"a": "Country", "c": 0, "l": [country]}}],
                                                      "s": text(f"here{number // 5}")}]},
        "share": {"t": 1, **text("none"), "p": [{"p": share, **text("in")}, {"p": 100 - share, **text("out")}]},
        "even": {"t": 1, **text("even" if number % 2 == 0 else "odd")},
    }  # fmt: skip
    if number % SOMETIMES:
        flags["sometimes"] = {"t": 0, "v": {"b": True}, "i": "there"}
    flags |= {f"filler{n:02}": {"t": 1, **text("x" * 40)} for n in range(FILLER)}
    return {"p": {"s": "c29haw=="}, "f": flags}


class Upstream:
    """The fake CDN in a process of its own, with faults."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._process = self._start("ok", 0)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def become(self, mode: str) -> None:
        """Answer in this mode from now on; with ``gone`` there is no process."""
        self.stop()
        if mode != "gone":
            self._process = self._start(mode, self.port)

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _start(self, mode: str, port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gateway.testing.cdn", "--port", str(port), "--file", str(self._file)]
        return subprocess.Popen([*command, "--mode", mode], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


class Soak:
    """Call ``run`` once, then ``finish``; ``counts`` and ``memory`` have the results."""

    def __init__(self, gateway: GatewayProcess, upstream: Upstream, file: Path, seed: int = 11) -> None:
        self.counts: Counter[str] = Counter()
        self.memory: list[tuple[float, float]] = []
        self._gateway = gateway
        self._upstream = upstream
        self._file = file
        self._rng = random.Random(seed)
        self._number = 0
        self._stable = family(gateway.pid)[:2]  # the leader and the first worker, which is never killed
        self._epoll = select.epoll()
        self._reading: dict[int, SoakClient] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._stalled: set[int] = set()
        self.clients = [self._client(number) for number in range(CLIENTS)]

    def _client(self, number: int) -> SoakClient:
        person = number - number % 2 if number < 40 else number  # the first 40 share a user in pairs
        user = {"Identifier": f"soak-{person}", "Country": COUNTRIES[person % len(COUNTRIES)], "Plan": f"p{person % 3}"}
        key = (None, None, SERIAL, "local", None, "sometimes")[number % 6]
        return SoakClient(self._gateway.port, user, key=key, delta=number % 4 == 1)

    def run(self, seconds: float) -> None:
        """Run for ``seconds``."""
        end = time.monotonic() + seconds
        for client in self.clients:
            self._open(client)
        repeated = (
            (CHANGE_SECONDS, self.change),
            (KILL_SECONDS, self._kill_client),
            (STALL_SECONDS, self._stall_client),
            (FAULT_SECONDS, self._fault),
            (SAMPLE_SECONDS, self._sample),
        )
        for every, what in repeated:
            self._repeat(every, every, what, end)
        self._repeat(WORKER_SECONDS / 2, WORKER_SECONDS, self._kill_worker, end)
        while time.monotonic() < end:
            self._turn()

    def change(self) -> None:
        """Publish the next config."""
        self._number += 1
        self.counts["changes"] += 1
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(config(self._number)), "utf-8")
        fresh.replace(self._file)

    def finish(self) -> list[str]:
        """Repair the upstream, make a last change, and return the clients that do not get its values."""
        self._upstream.become("ok")
        self.change()
        if self._number % SOMETIMES == 0:
            self.change()
        for client in self.clients:
            self._wake(client, client.socket)
        until = time.monotonic() + SETTLE_SECONDS
        wrong = ["not checked"]
        while wrong and time.monotonic() < until:
            next_check = time.monotonic() + 0.5
            while time.monotonic() < next_check:
                self._turn()
            wrong = self._wrong()
        return wrong

    def close(self) -> None:
        """Close all connections."""
        for client in self.clients:
            client.close()
        self._epoll.close()

    def slope(self, warm_up: float) -> float | None:
        """Return the growth of memory in percent per 10 minutes after ``warm_up`` seconds; None without samples."""
        begin = self.memory[0][0] + warm_up if self.memory else 0.0
        late = [(at, size) for at, size in self.memory if at >= begin]
        if len(late) < 5:
            return None
        return linear_regression(*zip(*late, strict=True)).slope * 600 / fmean(size for _, size in late) * 100

    def _wrong(self) -> list[str]:
        """Return the clients whose values differ from a fresh evaluation."""
        snapshot = load(self._file.read_bytes(), "soak")
        wrong = []
        for number, client in enumerate(self.clients):
            expected = json.loads(snapshot.evaluate_all(User(attributes_from_json(client.user))).json())
            if client.key is not None:
                expected = {client.key: expected[client.key]}
            if client.state != expected:
                wrong.append(f"client {number} (flag {client.key}, delta {client.delta}) is at {client.number}")
        return wrong

    def _turn(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        wait = self._due[0][0] - time.monotonic() if self._due else 0.1
        for number, _ in self._epoll.poll(max(0.0, min(wait, 0.1)), 256):
            client = self._reading[number]
            if not client.take():
                self.counts["streams refused or ended"] += 1
                self._hang_up(client)
                self._later(self._rng.uniform(0.5, 1.5), lambda client=client: self._open(client))

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._order, what))

    def _repeat(self, first: float, every: float, what: Callable[[], None], end: float) -> None:
        def once() -> None:
            if time.monotonic() < end:
                what()
                self._later(every, once)

        self._later(first, once)

    def _open(self, client: SoakClient, receive_buffer: int | None = None) -> None:
        connection = client.connect(receive_buffer)
        if connection is None:
            self._later(0.5, lambda: self._open(client))
            return
        self._reading[connection.fileno()] = client
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _hang_up(self, client: SoakClient, *, abruptly: bool = False) -> None:
        assert client.socket is not None
        number = client.socket.fileno()
        del self._reading[number]
        if number in self._stalled:
            self._stalled.discard(number)
        else:
            self._epoll.unregister(number)
        client.close(abruptly=abruptly)

    def _kill_client(self) -> None:
        client = self._rng.choice(self.clients)
        if client.socket is None:
            return
        self._hang_up(client, abruptly=self._rng.random() < 0.75)
        self.counts["clients killed"] += 1
        small = RECEIVE_BUFFER if self._rng.random() < 0.3 else None
        self._later(self._rng.uniform(0.0, 0.5), lambda: self._open(client, small))

    def _stall_client(self) -> None:
        client = self._rng.choice(self.clients)
        connection = client.socket
        if connection is None or connection.fileno() in self._stalled:
            return
        self.counts["clients stalled"] += 1
        self._epoll.unregister(connection.fileno())
        self._stalled.add(connection.fileno())
        self._later(self._rng.uniform(3.0, 25.0), lambda: self._wake(client, connection))

    def _wake(self, client: SoakClient, connection: Any) -> None:
        if connection is not None and client.socket is connection and connection.fileno() in self._stalled:
            self._stalled.discard(connection.fileno())
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _fault(self) -> None:
        fault = FAULTS[self.counts["faults of the upstream"] % len(FAULTS)]
        self.counts["faults of the upstream"] += 1
        self._upstream.become(fault)
        self._later(FAULT_LASTS, lambda: self._upstream.become("ok"))

    def _kill_worker(self) -> None:
        others = [pid for pid in family(self._gateway.pid) if pid not in self._stable]
        if others:
            os.kill(others[-1], signal.SIGKILL)
            self.counts["workers killed"] += 1

    def _sample(self) -> None:
        self.memory.append((time.monotonic(), float(sum(resident(pid) for pid in self._stable))))


def family(pid: int) -> list[int]:
    """Return a process and its children, oldest first."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *sorted(int(child) for child in listed)]


def resident(pid: int) -> int:
    """Return the resident memory of a process in KB."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


def descriptors(pid: int) -> int:
    """Return the number of open descriptors of a process and its children."""
    return sum(len(list(Path(f"/proc/{member}/fd").iterdir())) for member in family(pid))
