"""Rows of HTTP/2 beside HTTP/1.1, both over TLS: requests, streams opened, pushed events and memory."""

# ruff: noqa: RUF001  (mathematical signs are part of the printed table)

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bench import configs, h2load
from bench.certificates import Certificates
from bench.http2_readers import Http2Readers
from bench.readers import Readers
from bench.request_rows import FLAGS, ROUTES, WORK
from bench.rows import Row, most
from bench.servers import ONE, Server
from bench.stream_rows import edited, tenth

if TYPE_CHECKING:
    from pathlib import Path

    from bench.plan import Plan

STREAMS = 1_000
SHARED = 50  # streams of one connection, as behind a proxy
PUSHES = 5
HTTP1, HTTP2, MANY = "HTTP/1.1", "HTTP/2", "HTTP/2, 10 at a time"
LOADS = {HTTP1: ("--h1",), HTTP2: ("-m1",), MANY: ("-m10",)}
ALONE, TOGETHER = "HTTP/2", f"HTTP/2, {SHARED} a connection"
REQUEST_BOUND, PUSH_BOUND = 1 / 0.35, 1 / 0.5  # times the processor time of HTTP/1.1


class Compared:
    """Rows of one figure with each protocol, and rows of the ratio to the first one, HTTP/1.1."""

    def __init__(self, name: str, unit: str, protocols: list[str], bound: float | None = None) -> None:
        goals = [] if bound is None else most(round(bound, 2))
        self._rows = {each: Row(f"{name}, {each}", unit) for each in protocols}
        self._ratios = {each: Row(f"{name}: {each} ÷ {protocols[0]}", "×", goals) for each in protocols[1:]}

    def add(self, found: dict[str, float]) -> None:
        """Add the figures of one round, which were measured one after the other."""
        first = next(iter(found))
        for protocol, figure in found.items():
            self._rows[protocol].add(ONE, figure)
            if protocol != first:
                self._ratios[protocol].add(ONE, figure / found[first])

    def every(self) -> list[Row]:
        return [*self._rows.values(), *self._ratios.values()]


def measure(plan: Plan, home: Path) -> list[Row]:
    """Return the rows; each round measures the protocols one after the other.

    :raises RuntimeError: ``h2load`` is missing, or a request or a stream failed
    """
    certificates = Certificates(home)
    return [*_requests(plan, home, certificates), *_streams(plan, home, certificates)]


def _requests(plan: Plan, home: Path, certificates: Certificates) -> list[Row]:
    if not h2load.available():
        raise RuntimeError("h2load is not installed: apt-get install nghttp2-client")
    rows = {route: Compared(f"TLS: {ROUTES[route][0]}", WORK, list(LOADS), REQUEST_BOUND) for route in h2load.BODIES}
    with Server(ONE, home, configs.config(FLAGS), tls=certificates.settings) as server:
        for number in range(plan.rounds + 1):
            for route, compared in rows.items():
                found = {
                    protocol: h2load.run(server, route, plan.seconds, *options)["cpu_us"]
                    for protocol, options in LOADS.items()
                }
                if number:  # the first round warms up
                    compared.add(found)
                plan.log(f"{route}  {'  '.join(f'{name}: {figure:.0f} µs' for name, figure in found.items())}")
    return [row for compared in rows.values() for row in compared.every()]


def _streams(plan: Plan, home: Path, certificates: Certificates) -> list[Row]:
    kinds = [HTTP1, ALONE, TOGETHER]
    opening = Compared("TLS: stream accepted", WORK, kinds)
    memory = Compared(f"TLS: memory per idle stream, {STREAMS:,} users", "KB", kinds)
    pushing = Compared("TLS: change for all users, each", WORK, kinds, PUSH_BOUND)
    http1, http2 = (certificates.context(name) for name in ("http/1.1", "h2"))
    with contextlib.ExitStack() as stack:
        servers: list[Server] = []
        readers: list[Readers] = []
        took: list[float] = []
        sizes: list[float] = []
        for kind in kinds:
            server = Server(ONE, home, edited(FLAGS, 0, 0), guarded=True, tls=certificates.settings)
            servers.append(stack.enter_context(server))
            each = {ALONE: 1, TOGETHER: SHARED}.get(kind, 0)
            reader = (
                Http2Readers(server.port, tls=http2, control=http1, each=each)
                if each
                else Readers(server.port, tls=http1)
            )
            readers.append(stack.enter_context(reader))
            before, used = server.resident(), server.processor()
            reader.open(tenth(STREAMS))
            took.append((server.processor() - used) / STREAMS * 1e6)
            reader.settle(1.0)
            sizes.append((server.resident() - before) / STREAMS / 1024)
        opening.add(dict(zip(kinds, took, strict=True)))
        memory.add(dict(zip(kinds, sizes, strict=True)))
        for number in range(PUSHES):
            found = {}
            for kind, server, reader in zip(kinds, servers, readers, strict=True):
                before = server.processor()
                reader.push(lambda: server.put(edited(FLAGS, number + 1, 0)), STREAMS)  # noqa: B023
                found[kind] = (server.processor() - before) / STREAMS * 1e6
            pushing.add(found)
            plan.log(f"push  {'  '.join(f'{name}: {figure:.0f} µs' for name, figure in found.items())}")
    return [row for compared in (opening, pushing, memory) for row in compared.every()]
