"""A gateway under everything that goes wrong in production at once: churn, faults of the upstream, kills, stalls."""

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
from soak_reader import SERIAL, SoakReader

READERS = 240
COUNTRIES = ("DE", "FR", "US", "GB", "JP")
FILLER = 30  # flags that nobody changes: frames of 3 KB, so that a stalled reader's buffers fill within seconds
SOMETIMES = 7  # every config of so many lacks a flag, and refuses those who ask for it alone
CHANGE_SECONDS = 1.0
KILL_SECONDS = 0.25  # between two readers that hang up; three in four with a reset
STALL_SECONDS = 1.5  # between two readers that stop reading
FAULT_SECONDS = 15.0  # between two faults of the upstream
FAULT_LASTS = 4.0
FAULTS = ("gone", "500", "malformed", "hang", "truncated")
WORKER_SECONDS = 60.0
SAMPLE_SECONDS = 2.0
SETTLE_SECONDS = 40.0  # for everybody to have the last value; the stalled come back and the upstream is asked again
RECEIVE_BUFFER = 4096


def config(number: int) -> dict[str, Any]:
    """Return the config of that number: its serial, flags that differ by country, share and plan, and filler."""

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
    """The fake CDN as a process, which can be gone or ill."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._process = self._start("ok", 0)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def become(self, mode: str) -> None:
        """Answer like this from now on; ``gone`` does not answer."""
        self.stop()
        if mode != "gone":
            self._process = self._start(mode, self.port)

    def stop(self) -> None:
        """Be gone."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _start(self, mode: str, port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gateway.testing.cdn", "--port", str(port), "--file", str(self._file)]
        return subprocess.Popen([*command, "--mode", mode], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


class Soak:
    """``run`` for a while, then ``finish``; what happened is in ``counts``, ``older``, ``memory``."""

    def __init__(self, gateway: GatewayProcess, upstream: Upstream, file: Path, seed: int = 11) -> None:
        self.counts: Counter[str] = Counter()
        self.memory: list[tuple[float, float]] = []
        self._gateway = gateway
        self._upstream = upstream
        self._file = file
        self._rng = random.Random(seed)
        self._number = 0
        self._stable = family(gateway.pid)[:2]  # the leader and the worker that is never killed
        self._epoll = select.epoll()
        self._reading: dict[int, SoakReader] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._stalled: set[int] = set()
        self.readers = [self._reader(number) for number in range(READERS)]

    def _reader(self, number: int) -> SoakReader:
        person = number - number % 2 if number < 40 else number  # the first forty share their user with a neighbour
        user = {"Identifier": f"soak-{person}", "Country": COUNTRIES[person % len(COUNTRIES)], "Plan": f"p{person % 3}"}
        key = (None, None, SERIAL, "local", None, "sometimes")[number % 6]
        return SoakReader(self._gateway.port, user, key=key, delta=number % 4 == 1)

    def run(self, seconds: float) -> None:
        """Let it all happen; call once."""
        end = time.monotonic() + seconds
        for reader in self.readers:
            self._open(reader)
        repeated = (
            (CHANGE_SECONDS, self.change),
            (KILL_SECONDS, self._kill_reader),
            (STALL_SECONDS, self._stall_reader),
            (FAULT_SECONDS, self._fault),
            (SAMPLE_SECONDS, self._sample),
        )
        for every, what in repeated:
            self._repeat(every, every, what, end)
        self._repeat(WORKER_SECONDS / 2, WORKER_SECONDS, self._kill_worker, end)
        while time.monotonic() < end:
            self._turn()

    def change(self) -> None:
        """Put the next config in place."""
        self._number += 1
        self.counts["changes"] += 1
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(config(self._number)), "utf-8")
        fresh.replace(self._file)

    def finish(self) -> list[str]:
        """Let the upstream be well, make a last change, and return what readers see that they should not."""
        self._upstream.become("ok")
        self.change()
        if self._number % SOMETIMES == 0:
            self.change()
        for reader in self.readers:
            self._wake(reader, reader.socket)
        until = time.monotonic() + SETTLE_SECONDS
        wrong = ["not looked at"]
        while wrong and time.monotonic() < until:
            next_look = time.monotonic() + 0.5
            while time.monotonic() < next_look:
                self._turn()
            wrong = self._wrong()
        return wrong

    def close(self) -> None:
        """Hang up everywhere."""
        for reader in self.readers:
            reader.close()
        self._epoll.close()

    def slope(self, warm_up: float) -> float | None:
        """Percent by which memory grows in ten minutes, after the warm-up; None without samples."""
        begin = self.memory[0][0] + warm_up if self.memory else 0.0
        late = [(at, size) for at, size in self.memory if at >= begin]
        if len(late) < 5:
            return None
        return linear_regression(*zip(*late, strict=True)).slope * 600 / fmean(size for _, size in late) * 100

    def _wrong(self) -> list[str]:
        """Readers whose last value is not what evaluating again gives."""
        snapshot = load(self._file.read_bytes(), "soak")
        wrong = []
        for number, reader in enumerate(self.readers):
            expected = json.loads(snapshot.encode_all(User(attributes_from_json(reader.user))))
            if reader.key is not None:
                expected = {reader.key: expected[reader.key]}
            if reader.state != expected:
                wrong.append(f"reader {number} (flag {reader.key}, delta {reader.delta}) is at {reader.number}")
        return wrong

    # --- what happens ---------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        wait = self._due[0][0] - time.monotonic() if self._due else 0.1
        for number, _ in self._epoll.poll(max(0.0, min(wait, 0.1)), 256):
            reader = self._reading[number]
            if not reader.take():
                self.counts["streams refused or ended"] += 1
                self._hang_up(reader)
                self._later(self._rng.uniform(0.5, 1.5), lambda reader=reader: self._open(reader))

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._order, what))

    def _repeat(self, first: float, every: float, what: Callable[[], None], end: float) -> None:
        def once() -> None:
            if time.monotonic() < end:
                what()
                self._later(every, once)

        self._later(first, once)

    def _open(self, reader: SoakReader, receive_buffer: int | None = None) -> None:
        link = reader.connect(receive_buffer)
        if link is None:
            self._later(0.5, lambda: self._open(reader))
            return
        self._reading[link.fileno()] = reader
        self._epoll.register(link.fileno(), select.EPOLLIN)

    def _hang_up(self, reader: SoakReader, *, abruptly: bool = False) -> None:
        assert reader.socket is not None
        number = reader.socket.fileno()
        del self._reading[number]
        if number in self._stalled:
            self._stalled.discard(number)
        else:
            self._epoll.unregister(number)
        reader.close(abruptly=abruptly)

    def _kill_reader(self) -> None:
        reader = self._rng.choice(self.readers)
        if reader.socket is None:
            return
        self._hang_up(reader, abruptly=self._rng.random() < 0.75)
        self.counts["readers killed"] += 1
        small = RECEIVE_BUFFER if self._rng.random() < 0.3 else None
        self._later(self._rng.uniform(0.0, 0.5), lambda: self._open(reader, small))

    def _stall_reader(self) -> None:
        reader = self._rng.choice(self.readers)
        link = reader.socket
        if link is None or link.fileno() in self._stalled:
            return
        self.counts["readers stalled"] += 1
        self._epoll.unregister(link.fileno())
        self._stalled.add(link.fileno())
        self._later(self._rng.uniform(3.0, 25.0), lambda: self._wake(reader, link))

    def _wake(self, reader: SoakReader, link: Any) -> None:
        if link is not None and reader.socket is link and link.fileno() in self._stalled:
            self._stalled.discard(link.fileno())
            self._epoll.register(link.fileno(), select.EPOLLIN)

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
    """Return the kilobytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


def descriptors(pid: int) -> int:
    """Return how many descriptors a process and its children have open."""
    return sum(len(list(Path(f"/proc/{member}/fd").iterdir())) for member in family(pid))
