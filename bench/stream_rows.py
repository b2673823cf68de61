"""Rows of event streams: memory, opening, pushes to some and to all users, requests during a push, idle streams."""

# ruff: noqa: TID251  (this process has no reactor)

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from bench import configs
from bench.readers import QUIET, Push, Readers, request
from bench.rows import Row, cost, most, share
from bench.servers import BASELINE, KINDS, ONE, PEER, ROOT, TWO, Server

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from bench.plan import Plan

FLAGS = 100
IDLE_SECONDS = 10.0  # half of the heartbeat interval
PROBED_PUSHES = 4
PEER_QUIET = 3.0  # seconds after an event until the next change; another product may send some events much later


def edited(flags: int, everybody: int, marked: int) -> bytes:
    """Return a config with these versions of the flag for all users and of the flag for marked users."""
    return configs.config(flags, everybody=configs.text_flag(f"v{everybody}"), marked=configs.marked_flag(f"v{marked}"))


def tenth(count: int, query: str = "") -> Iterator[bytes]:
    """Return stream requests of ``count`` users, every tenth of them marked."""
    return (request(configs.watched_user(number, marked=number % 10 == 0), query) for number in range(count))


class StreamRows:
    """The rows that are measured with one set of streams."""

    def __init__(self, count: int) -> None:
        each = f"{count:,} users"
        self.memory = Row(f"memory per idle stream, {each}", "KB", most(3.0) + share(0.25))
        self.opened = Row("streams accepted", "1/s")
        self.opening = Row("stream accepted", "µs of processor time", cost(2, 2))
        self.sent = Row("change for 10 % of users: bytes sent", "MB", share(0.11))
        self.some = Row("change for 10 % of users: last client updated", "ms", share(0.1))
        self.work = Row("change for 10 % of users: server CPU", "ms", share(1 / 15))
        self.all = Row("change for all users: last client updated", "ms", share(0.25))
        self.all_work = Row("change for all users: server CPU", "ms")
        self.probed = Row(f"evaluate p99 during a push to {count:,} streams", "ms", most(25))
        self.idle = Row(f"{count:,} idle streams with heartbeats", "% of a core", most(3))
        self.pushes: list[dict[str, Any]] = []

    def every(self) -> list[Row]:
        return [
            self.memory, self.opened, self.opening, self.sent, self.some, self.work, self.all, self.all_work,
            self.probed, self.idle,
        ]  # fmt: skip


def measure(plan: Plan, home: Path, raw: dict[str, Any]) -> list[Row]:
    """Return the stream rows; every pass starts each server afresh, so that all have the same age."""
    rows = StreamRows(plan.streams)
    for number in range(plan.passes):
        for kind in KINDS:
            with Server(kind, home, edited(FLAGS, 0, 0), guarded=True) as server:
                if server.available:
                    _one(plan, server, rows, last=number == plan.passes - 1)
        plan.log(rows.some.progress())
        plan.log(rows.all.progress())
    raw["pushes"] = rows.pushes
    return [row for row in rows.every() if row.samples]


def _one(plan: Plan, server: Server, rows: StreamRows, *, last: bool) -> None:
    count = plan.streams
    with Readers(server.port) as readers:
        before, used = server.resident(), server.processor()
        seconds, numbers = readers.open(tenth(count))
        marked = set(numbers[::10])
        rows.opening.add(server.kind, (server.processor() - used) / count * 1e6)
        readers.settle(PEER_QUIET if server.kind == PEER else 1.0)
        rows.memory.add(server.kind, (server.resident() - before) / count / 1024)
        rows.opened.add(server.kind, count / seconds)
        if last and server.kind in {ONE, TWO} and not plan.quick:
            rows.idle.add(server.kind, _idle(server, readers))
        version = 0
        for _ in range(plan.pushes):
            version += 1
            expected = count if server.kind == BASELINE else count // 10
            push, work = _push(server, readers, edited(FLAGS, 0, version), expected, marked)
            rows.sent.add(server.kind, push.received / 1e6)
            rows.some.add(server.kind, push.last)
            rows.work.add(server.kind, work * 1e3)
            rows.pushes.append(
                {"change": "10 %", "server": server.kind, "delays": push.delays[:: max(1, count // 4_000)]}
            )
        for everybody in range(plan.pushes):
            push, work = _push(server, readers, edited(FLAGS, everybody + 1, version), count)
            rows.all.add(server.kind, push.last)
            rows.all_work.add(server.kind, work * 1e3)
            rows.pushes.append({"change": "all", "server": server.kind, "delays": push.delays[:: count // 400]})
        if last and server.kind in {ONE, TWO}:
            rows.probed.add(server.kind, _probed(server, readers, count, version))


def _push(
    server: Server, readers: Readers, config: bytes, expected: int, of: Container[int] = ()
) -> tuple[Push, float]:
    before = server.processor()
    quiet = PEER_QUIET if server.kind == PEER else QUIET
    push = readers.push(lambda: server.put(config), expected, quiet=quiet, of=of)
    if push.unexpected and server.kind != PEER:  # another product may also send events that change nothing
        raise RuntimeError(f"{server.kind}: {push.unexpected} events more than the expected {expected}")
    return push, server.processor() - before


def _idle(server: Server, readers: Readers) -> float:
    """Return the processor time in percent of a core while only heartbeats are sent."""
    before, began = server.processor(), time.monotonic()
    while time.monotonic() - began < IDLE_SECONDS:
        readers.settle(0.3)
        time.sleep(0.2)
    return (server.processor() - before) / (time.monotonic() - began) * 100


def _probed(server: Server, readers: Readers, count: int, marked: int) -> float:
    """Return the p99 in milliseconds of evaluations that were due during a push to all streams."""
    command = [sys.executable, "-m", "bench.probe", str(server.port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
        assert probe.stdout is not None
        assert probe.stdin is not None
        probe.stdout.readline()
        windows = []
        for everybody in range(PROBED_PUSHES):
            push, _ = _push(server, readers, edited(FLAGS, 100 + everybody, marked), count)
            windows.append((push.began, push.ended))
        probe.stdin.close()
        found = json.loads(probe.stdout.read())
    delays = sorted(delay for due, delay, _ in found if any(began <= due <= ended for began, ended in windows))
    return delays[int(len(delays) * 0.99)] * 1e3
