"""Several load processes (``bench.crowd``) and one server with many workers, controlled from one process."""

# ruff: noqa: TID251  (this process has no reactor)

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from bench import machine
from bench.readers import QUIET, REFRESH, Push
from bench.servers import ROOT, TWO, Server

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = 600.0  # seconds for one step, on a busy machine
POLL = 0.05  # seconds between two questions to the load processes
SPARE_FILES = 3_000  # of each process, beside its streams: workers do not get equal numbers


def processes_for(streams: int, limit: int) -> int:
    """Return how many processes hold so many streams, at least two, if each may open ``limit`` files."""
    return max(2, -(-streams // max(1, limit - SPARE_FILES)))


class Fleet(Server):
    """A gateway with many workers that can be killed and started again on the same port."""

    def again(self) -> None:
        """Start the gateway again after ``stop``.

        :raises RuntimeError: if it does not start
        """
        self.__enter__()
        if not self.available:
            raise RuntimeError("the gateway did not start again")

    def reload(self) -> None:
        """Send SIGHUP to the leader."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        return self.family()[1:]

    def all_listen(self) -> bool:
        """Return whether every worker serves clients, by the overview of the diagnostics port."""
        workers = self._overview()
        return len(workers) == self._settings["workers"] and all(one["listening"] for one in workers)

    def spread(self) -> list[int]:
        """Return the number of streams of each worker; nothing if the diagnostics port does not answer."""
        return [one["streams"] for one in self._overview()]

    def _overview(self) -> list[dict[str, Any]]:
        with contextlib.suppress(OSError, ValueError):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.diag_port}/api/v1/overview", timeout=5) as answer:
                found: list[dict[str, Any]] = json.load(answer)["workers"]
            return found
        return []

    def proportional(self) -> int:
        """Return the memory of all processes in bytes, of pages shared with others their part."""
        return sum(machine.proportional(pid) for pid in self.family())

    def peak(self) -> int:
        """Return the sum of the largest resident memory of each process, in bytes."""
        return sum(machine.peak(pid) for pid in self.family())


class Crowds:
    """All load processes; a context manager."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.crowd", str(port), f"127.0.{number + 1}"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]
        self.size = 0

    def __enter__(self) -> Self:
        for process in self._processes:
            self._answer(process)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def grow(self, size: int) -> float:
        """Open streams until ``size`` are open; return the seconds until each had its first event."""
        self.reset()
        began, step = time.monotonic(), len(self._processes)
        for number, process in enumerate(self._processes):
            self._send(process, "open", [self.size + number, size, step])
        for process in self._processes:
            self._answer(process)
        more, self.size = size - self.size, size
        self.wait(lambda status: status["open"] >= size and status["frames"] >= more)
        status = self.status()
        if status["refused"] or status["ended"]:
            raise RuntimeError(f"{status['refused']} streams were refused and {status['ended']} ended while opening")
        return max(self.arrivals()) - began

    def push(self, change: Callable[[], None], expected: int) -> Push:
        """Call ``change``, send a refresh request, and wait for ``expected`` events.

        :raises RuntimeError: if events are missing after ``TIMEOUT`` seconds, or a stream has ended
        """
        self.reset()
        change()
        with contextlib.closing(socket.create_connection(("127.0.0.1", self._port))) as control:
            began = time.monotonic()
            control.sendall(REFRESH)
            self.wait(lambda status: status["frames"] >= expected)
            self.settle()
        status = self.status()
        if status["ended"]:
            raise RuntimeError(f"{status['ended']} streams ended during a push")
        return Push(began, self.arrivals(), int(status["received"]), int(status["frames"]) - expected)

    def refresh(self) -> None:
        """Send a refresh request; if it is lost with its worker, the next one loads the config."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 5) as control:
            control.sendall(REFRESH)
            control.recv(4096)

    def settle(self) -> None:
        """Wait until no event has arrived for ``QUIET`` seconds."""
        seen = -1.0
        while (now := self.status()["frames"]) != seen:
            seen = now
            time.sleep(QUIET)

    def wait(self, done: Callable[[dict[str, float]], bool], meanwhile: Callable[[], None] | None = None) -> None:
        """Wait until ``done`` is true of the sums of all processes' figures; call ``meanwhile`` in between.

        :raises RuntimeError: after ``TIMEOUT`` seconds
        """
        deadline = time.monotonic() + TIMEOUT
        while not done(status := self.status()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"not reached in {TIMEOUT:.0f} s: {status}")
            if meanwhile is not None:
                meanwhile()
            time.sleep(POLL)

    def reset(self) -> None:
        """Forget what was counted."""
        self._every("reset", None)

    def behave(self, *, patient: bool, window: int) -> None:
        """Set whether streams that end wait for their ``retry`` time, and how many a process opens at one time."""
        self._every("behave", [patient, window])

    def status(self) -> dict[str, float]:
        """Return the sums of the figures of all processes."""
        found = self._every("status", None)
        return {name: sum(one[name] for one in found) for name in found[0]}

    def arrivals(self) -> list[float]:
        """Return the time of the last event of each user that had one since ``reset``."""
        return [at for found in self._every("arrivals", None) for at in found]

    def causes(self) -> dict[str, int]:
        """Return how often an attempt or a stream has ended since ``reset``, by what ended it."""
        return dict(sum(map(Counter, self._every("causes", None)), Counter[str]()))

    def _every(self, name: str, argument: Any) -> list[Any]:
        for process in self._processes:
            self._send(process, name, argument)
        return [self._answer(process) for process in self._processes]

    def _send(self, process: subprocess.Popen[str], name: str, argument: Any) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps([name, argument]) + "\n")
        process.stdin.flush()

    def _answer(self, process: subprocess.Popen[str]) -> Any:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("a load process has ended")
        return json.loads(line)


def scaled(home: Any, config: bytes, workers: int) -> Fleet:
    """Return the gateway with so many workers."""
    return Fleet(TWO, home, config, guarded=True, workers=workers)
