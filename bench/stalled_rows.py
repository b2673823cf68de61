"""Rows of readers that stop reading: their effect on other readers, and their memory."""

# ruff: noqa: RUF001  (mathematical signs are part of the printed table)

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench import configs
from bench.readers import Readers, request
from bench.rows import Row, most
from bench.servers import ONE, Server
from bench.stream_rows import edited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.plan import Plan

READERS = 2_000
STALLED = 200  # a tenth
OTHERS = 200  # readers that are sent each change and read it; only they and the stalled ones are sent it
RUNS = 5  # of each kind (without and with stalled readers), alternating
CHANGES = 1_000  # with stalled readers, in all runs together
ALONE = 40  # changes of one run without stalled readers
RECEIVE_BUFFER = 4096  # bytes


def measure(plan: Plan, home: Path) -> list[Row]:
    """Return the ratio of the others' p99 with and without stalled readers, and the memory of stalled readers."""
    late = Row(f"p99 of others with {STALLED} of {READERS:,} readers stalled ÷ none stalled", "×", most(1.2))
    memory = Row("memory per stalled reader", "KB", most(200))
    growth = Row("memory per stalled reader, growth in the second half of a run", "KB")
    with Server(ONE, home, edited(100, 0, 0), guarded=True) as server, Readers(server.port) as readers:
        readers.open(_users(READERS - STALLED - OTHERS, marked=False))
        others = frozenset(readers.open(_users(OTHERS, marked=True))[1])
        stalled = readers.open(_users(STALLED, marked=True, first=OTHERS), receive_buffer=RECEIVE_BUFFER)[1]
        readers.settle(1.0)
        version = 0

        def changes(count: int, expected: int) -> list[float]:
            nonlocal version
            delays: list[float] = []
            for _ in range(count):
                version += 1
                config = edited(100, 0, version)
                delays += readers.push(lambda: server.put(config), expected, quiet=0, of=others).delays  # noqa: B023
            return delays

        changes(20, OTHERS + STALLED)
        before = server.resident()
        alone, with_stalled, half, full = [], [], [], []
        for number in range(RUNS):
            alone.append(_p99(changes(ALONE, OTHERS + STALLED)))
            readers.stall(stalled)
            delays = changes(CHANGES // RUNS // 2, OTHERS)
            half.append(server.resident())
            delays += changes(CHANGES // RUNS // 2, OTHERS)
            full.append(server.resident())
            with_stalled.append(_p99(delays))
            readers.wake(stalled)
            readers.settle(0.5)
            plan.log(
                f"run {number + 1}: p99 {alone[-1]:.1f} ms without, {with_stalled[-1]:.1f} ms with stalled readers"
            )
        late.add(ONE, median(with_stalled) / median(alone))
        late.note = f"p99 {median(alone):.1f} ms without stalled readers, {median(with_stalled):.1f} ms with them"
        memory.add(ONE, (max(half + full) - before) / STALLED / 1024)
        growth.add(ONE, median(late - early for early, late in zip(half, full, strict=True)) / STALLED / 1024)
    return [late, memory, growth]


def _users(count: int, *, marked: bool, first: int = 0) -> Iterator[bytes]:
    start = first if marked else 10_000
    return (request(configs.watched_user(number, marked=marked)) for number in range(start, start + count))


def _p99(delays: list[float]) -> float:
    return sorted(delays)[int(len(delays) * 0.99)]
