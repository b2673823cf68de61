"""Pauses that a large config causes for another SDK: ``python -m bench.large [--flags N] [--workers N] [--webhooks]``.

A file source changes from 30 to N flags, then in one flag, in the values of all flags, and back to 30; after the first
change all flags are evaluated and the config file is requested.  For each step two figures are printed, in
milliseconds: the longest turn of the event loop of leader and workers, as processor time, which other programs on the
machine hardly change, and the longest answer to a client that evaluates one flag of another SDK every 5 ms.
"""

# ruff: noqa: TID251  (this process has no reactor)

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs

from bench import readers
from bench.configs import COUNTRIES, SALT, user
from bench.receiver import Receiver
from bench.servers import ONE, ROOT, TOKEN, TWO, Server

if TYPE_CHECKING:
    from collections.abc import Callable

HOOK = ROOT / "bench" / "pauses"  # holds the module that measures inside the processes
FEW = 30
LARGE = 20_000
EVERY = 0.005  # seconds between two requests of the client of the other SDK
QUIET = 1.0  # seconds without a long turn after a step, so that what follows it belongs to it
TIMEOUT = 600.0  # seconds for one step
FORMATS = ("envelope", "environment", "notifier", "slack")


def config(count: int, text: str, marker: str, salt: str = SALT) -> bytes:
    """Return a config of ``count`` flags of some 450 bytes: two rules and percentage options that serve ``text``."""
    flags: dict[str, Any] = {}
    for number in range(count):
        key = f"flag{number:06}"
        serves = [{"v": {"s": f"{text} {kind}"}, "i": f"{number:06}{kind}"} for kind in "abcd"]
        where = [COUNTRIES[number % 16], COUNTRIES[(number + 5) % 16]]
        flags[key] = {
            "t": 1,
            **serves[0],
            "r": [
                {"c": [{"u": {"a": "Country", "c": 0, "l": where}}], "s": serves[1]},
                {"c": [{"u": {"a": "Email", "c": 2, "l": [f"@{key}.example", "@example.org"]}}], "s": serves[2]},
            ],
            "p": [{"p": 50, **serves[3]}, {"p": 50, **serves[0]}],
        }
        if number % 100 == 99:
            previous = f"flag{number - 1:06}"
            condition = {"p": {"f": previous, "c": 0, "v": {"s": f"{text} a"}}}
            flags[key]["r"].append({"c": [condition], "s": serves[1]})
    flags["marker"] = {"t": 1, "v": {"s": marker}, "i": "marker"}
    return json.dumps({"p": {"u": "https://example.invalid", "r": 0, "s": salt}, "f": flags}).encode()


class OtherClient:
    """Evaluates one flag of the SDK ``other`` every 5 ms in a thread; ``longest`` is in seconds."""

    def __init__(self, port: int) -> None:
        self.longest = 0.0
        self._port = port
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def take(self) -> float:
        longest, self.longest = self.longest, 0.0
        return longest

    def _run(self) -> None:
        body = b'{"key":"flag000001"}'
        request = b"POST /api/other/eval HTTP/1.1\r\nHost: bench\r\nX-Auth: %b\r\nContent-Length: %d\r\n\r\n%b"
        with socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT) as client:
            while not self._ended.wait(EVERY):
                began = time.monotonic()
                client.sendall(request % (TOKEN.encode(), len(body), body))
                if not client.recv(65536).startswith(b"HTTP/1.1 200"):
                    raise RuntimeError("the other SDK is not served")
                self.longest = max(self.longest, time.monotonic() - began)


class Turns:
    """The long turns of the event loops, which ``bench/pauses/sitecustomize.py`` writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}

    def take(self) -> dict[int, float]:
        """Return the longest turn of each process since the last call, in milliseconds."""
        found: dict[int, float] = {}
        for file in self._folder.iterdir():
            if not file.name.isdigit():
                continue
            text = file.read_text()
            new, self._read[file.name] = text[self._read.get(file.name, 0) :], len(text)
            found[int(file.name)] = max((float(line) for line in new.splitlines()), default=0.0)
        return found


@attrs.frozen
class Step:
    """The result of one step."""

    name: str
    turns: list[float]  # the longest turn of the leader's and of each worker's event loop, in ms of processor time
    answer: float  # the longest one of the other client, in ms
    seconds: float
    processor: float  # seconds of processor time of all processes


class Run:
    """One gateway with the SDK ``sdk1``, whose config becomes large, and ``other``."""

    def __init__(self, server: Server, turns: Turns, client: OtherClient) -> None:
        self._server = server
        self._turns = turns
        self._client = client
        self.steps: list[Step] = []

    def step(self, name: str, act: Callable[[], None]) -> None:
        """Measure ``act`` and what follows it."""
        began, used = time.monotonic(), self._server.processor()
        act()
        taken = time.monotonic() - began
        self._until_idle()
        used = self._server.processor() - used
        longest = self._turns.take()
        turns = [longest.get(pid, 0.0) for pid in self._server.family()]
        shown = Step(name, turns, self._client.take() * 1e3, taken, used)
        self.steps.append(shown)
        per_process = ", ".join(f"{turn:.0f}" for turn in turns)
        print(
            f"{name:28} longest turn {per_process:>16} ms; other SDK {shown.answer:6.0f} ms;"
            f" {taken:5.1f} s, {used:5.1f} s of processor time",
            file=sys.stderr,
            flush=True,
        )

    def change(self, name: str, body: bytes, marker: str) -> None:
        """Measure a change to ``body``, which was made before: that delayed the other client, which is a thread."""
        time.sleep(QUIET)  # so that a request that was delayed has ended
        self._client.take()
        self.step(name, lambda: self.publish(body, marker))

    def publish(self, body: bytes, marker: str) -> None:
        """Change the config, and wait until it is served."""
        self._server.put(body)
        self.call("POST", "/api/sdk1/refresh")
        until = time.monotonic() + TIMEOUT
        fresh = f'"{marker}"'.encode()
        while fresh not in self.call("POST", "/api/sdk1/eval", b'{"key":"marker"}'):
            if time.monotonic() > until:
                raise RuntimeError("the change was not published")
            time.sleep(0.1)

    def evaluate_all(self, user: bytes) -> None:
        """Evaluate all flags for a user."""
        self.call("POST", "/api/sdk1/eval-all", user)

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """Return the body of an answer, of a connection of its own."""
        client = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=TIMEOUT)
        client.request(method, path, body, {"X-Auth": TOKEN, **headers})
        answer = client.getresponse()
        found = answer.read()
        client.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {found[:200]!r}")
        return found

    def _until_idle(self) -> None:
        """Wait until the processes use little processor time."""
        until = time.monotonic() + TIMEOUT
        while time.monotonic() < until:
            before = self._server.processor()
            time.sleep(QUIET)
            if self._server.processor() - before < 0.3 * QUIET:
                return


def follow(port: int, request: bytes) -> None:
    """Open a stream and read it in a thread until the end of the process."""

    def read() -> None:
        with socket.create_connection(("127.0.0.1", port)) as stream:
            stream.sendall(request)
            while stream.recv(1 << 20):
                pass

    threading.Thread(target=read, daemon=True).start()


def measure(workers: int, flags: int, home: Path, *, webhooks: bool, streams: bool) -> list[Step]:
    """Run all steps, print them, and return them."""
    pauses = home / f"pauses-{workers}-{time.monotonic_ns()}"
    pauses.mkdir()
    small = home / "other.json"
    small.write_bytes(config(10, "other", "other"))
    environ = {"BENCH_PAUSES": str(pauses), "PYTHONPATH": f"{HOOK}:{ROOT}"}
    with Receiver() as receiver:
        endpoints = [{"name": f"to-{each}", "url": receiver.url, "format": each} for each in FORMATS]
        more: dict[str, Any] = {"webhooks": endpoints, "outbox": {"path": str(home / "outbox.db")}} if webhooks else {}
        kind = {1: ONE, 2: TWO}[workers]
        others = {"other": ("other-key", small)}
        first = config(FEW, "few", "few")
        server = Server(kind, home, first, guarded=True, environ=environ, others=others, **more)
        with server, OtherClient(server.port) as client:
            if streams:
                follow(server.port, readers.request(user(1)))
                follow(server.port, readers.request(user(2), "?mode=delta"))
            run = Run(server, Turns(pauses), client)
            everybody = json.dumps({"user": user(3)}).encode()
            path = "/configuration-files/configcat-proxy/sdk1/config_v6.json"
            run.step("idle", lambda: None)
            run.change(f"{FEW} to {flags} flags", config(flags, "one", "many"), "many")
            run.step("evaluate all, first", lambda: run.evaluate_all(everybody))
            run.step("evaluate all, again", lambda: run.evaluate_all(everybody))
            run.step("config file, brotli", lambda: run.call("GET", path, **{"Accept-Encoding": "br"}) and None)
            run.change("one flag", config(flags, "one", "one flag"), "one flag")
            run.change("all values", config(flags, "two", "all"), "all")
            run.change("another salt", config(flags, "two", "salt", "c2FsdA=="), "salt")
            run.change(f"{flags} to {FEW} flags", config(FEW, "few", "end"), "end")
            return run.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--flags", type=int, default=LARGE)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--webhooks", action="store_true", help="with an endpoint of each kind of format")
    parser.add_argument("--no-streams", action="store_true")
    parser.add_argument("--json", action="store_true", help="print the steps as JSON to standard output as well")
    options = parser.parse_args()
    steps: list[Step] = []
    for workers in options.workers:
        with tempfile.TemporaryDirectory(prefix="large-") as home:
            head = f"{workers} worker(s), {options.flags} flags, load {os.getloadavg()[0]:.1f}"
            print(head, file=sys.stderr, flush=True)
            streams = not options.no_streams
            steps += measure(workers, options.flags, Path(home), webhooks=options.webhooks, streams=streams)
    if options.json:
        print(json.dumps([attrs.asdict(step) for step in steps]))


if __name__ == "__main__":
    sys.exit(main())
