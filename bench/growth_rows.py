"""Rows of growth: with the number of streams that a change does not affect, and with the number of flags."""

# ruff: noqa: RUF001  (mathematical signs are part of the printed table)

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench import configs
from bench.readers import Readers, request
from bench.rows import Row, most
from bench.servers import ONE, TWO, Server
from bench.stream_rows import edited, tenth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.plan import Plan

FEW, MANY = 1_000, 16_000
TOUCHED = 100
ROUNDS = 5
SMALL, LARGE = 50, 5_000  # flags
DELTA = "?mode=delta"


def connections(plan: Plan, home: Path) -> list[Row]:
    """Compare few and many streams: a new rule for 100 users, and an edit of a percentage flag without new outcomes."""
    last = Row(f"rule for {TOUCHED} users, last client updated: {MANY:,} ÷ {FEW:,} streams", "×", most(2, TWO))
    each = Row("percentage flag edited: server CPU per user", "µs", most(3, ONE) + most(3, TWO))
    for kind in (ONE, TWO):
        seen = {}
        for count in (FEW, MANY):
            with Server(kind, home, _config(0, 2), guarded=True) as server:
                if not server.available:
                    break
                seen[count] = _grown(server, count)
        if len(seen) == 2:
            (few, few_cpu), (many, many_cpu) = seen[FEW], seen[MANY]
            plan.log(f"{kind}: {few:.1f} ms with {FEW:,} streams, {many:.1f} ms with {MANY:,}")
            last.note += f"{kind}: {few:.1f} ms and {many:.1f} ms. "
            last.add(kind, many / few)
            each.add(kind, (many_cpu - few_cpu) / (MANY - FEW) * 1e6)
    return [last, each]


def _config(marked: int, parts: int) -> bytes:
    return configs.config(100, marked=configs.marked_flag(f"v{marked}"), split=configs.split_flag(parts))


def _grown(server: Server, count: int) -> tuple[float, float]:
    """Return milliseconds until the last of 100 users is updated, and CPU seconds of a change without new outcomes."""
    users = (configs.watched_user(number, marked=number < TOUCHED) for number in range(count))
    with Readers(server.port) as readers:
        readers.open(request(user) for user in users)
        readers.settle(1.0)
        delays, work = [], []
        for number in range(ROUNDS):
            delays.append(readers.push(lambda: server.put(_config(number + 1, 2)), TOUCHED).last)  # noqa: B023
            readers.settle()
        for number in range(ROUNDS):
            before = server.processor()
            push = readers.push(lambda: server.put(_config(ROUNDS, 2 + (number + 1) % 2)), 0)  # noqa: B023
            readers.settle(0.5)
            if push.unexpected:
                raise RuntimeError("an event was sent for a change that changes no outcome")
            work.append(server.processor() - before)
        return median(delays), median(work)


def flags(plan: Plan, home: Path) -> list[Row]:
    """Compare delta streams with few and many flags: time until the last of a tenth of the users is updated."""
    row = Row(f"delta, 10 % of {plan.delta_streams:,} users: delay with {LARGE:,} flags − with {SMALL}", "ms", most(60))
    for kind in (ONE, TWO):
        seen = {}
        for count in (SMALL, LARGE):
            with Server(kind, home, edited(count, 0, 0), guarded=True) as server:
                if server.available:
                    delay = _delta(server, count, plan.delta_streams)
                    if delay is not None:
                        seen[count] = delay
                        plan.log(f"{kind}: {delay:.1f} ms with {count:,} flags")
        if len(seen) == 2:
            row.note += f"{kind}: {seen[SMALL]:.1f} ms and {seen[LARGE]:.1f} ms. "
            row.add(kind, seen[LARGE] - seen[SMALL])
    return [row]


def _delta(server: Server, flags: int, streams: int) -> float | None:
    with Readers(server.port) as readers:
        readers.open(_some(tenth(streams, DELTA)))
        if b"event: put" not in readers.first:
            return None  # this version has no delta streams
        readers.open(tenth(streams, DELTA))
        readers.settle(1.0)
        delays = []
        for number in range(ROUNDS):
            config = edited(flags, 0, number + 1)
            marked = (streams + 9) // 10 + 1  # plus the stream that was opened first, whose user is marked too
            delays.append(readers.push(lambda: server.put(config), marked).last)  # noqa: B023
        return median(delays)


def _some(requests: Iterator[bytes]) -> Iterator[bytes]:
    yield next(requests)
