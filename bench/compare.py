"""Processor time of this checkout and of an earlier revision, measured in turns: python -m bench.compare REVISION

Processor time depends less on other programs than a rate does; the two servers of a row run at the same time and get
their load one after the other, so a slow phase of the machine meets both.  The table shows the median of each server
and the median of the ratios of the rounds.  Exit status 1 if a ratio is above ``LIMIT``.
"""

# ruff: noqa: RUF001  (mathematical signs are part of the printed table)

from __future__ import annotations

import contextlib
import functools
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import trustme

from bench import configs, machine, wrk
from bench.readers import Readers
from bench.receiver import Receiver
from bench.request_rows import FLAGS, ROUTES
from bench.servers import ONE, ROOT, Server
from bench.stream_rows import edited, tenth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 1.05
ROUNDS = 9
SECONDS = 1  # of one run of wrk
STREAMS = 2_000
PUSHES = 3  # of each kind in one round


class Rows:
    """Samples of both servers: processor time in microseconds, or kilobytes."""

    def __init__(self) -> None:
        self.samples: dict[str, tuple[list[float], list[float]]] = {}

    def add(self, name: str, before: float, after: float) -> None:
        pair = self.samples.setdefault(name, ([], []))
        pair[0].append(before)
        pair[1].append(after)

    def ratio(self, name: str) -> float:
        return median(after / before for before, after in zip(*self.samples[name], strict=True))

    def table(self) -> str:
        lines = ["| row | before | after | after ÷ before |", "| --- | ---: | ---: | ---: |"]
        for name, (before, after) in self.samples.items():
            lines.append(f"| {name} | {median(before):.3g} | {median(after):.3g} | {self.ratio(name):.3f} |")
        return "\n".join(lines)


@contextlib.contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Yield a checkout of ``revision`` that exists while the context is open."""
    with tempfile.TemporaryDirectory() as home:
        root = Path(home) / "before"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", str(root), revision], check=True, cwd=ROOT)
        try:
            yield root
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(root)], check=True, cwd=ROOT)


def requests(rows: Rows, pair: Callable[..., contextlib.AbstractContextManager[list[Server]]]) -> None:
    """Add processor time per request of each route, and of evaluate one with the exporter on."""
    config = configs.config(FLAGS)
    with pair(config) as servers:
        for server in servers:
            wrk.warm_up(server)
        for number in range(ROUNDS):
            for route, (name, _) in ROUTES.items():
                rows.add(f"{name}, µs", *in_turns(servers, number, functools.partial(cost_of, route)))
    with Receiver() as receiver, tempfile.TemporaryDirectory() as folder:
        exporter = {"endpoint_url": receiver.url, "flush_interval": 1000}
        with pair(config, exporter=exporter, outboxes=Path(folder)) as servers:
            for number in range(ROUNDS):
                cost = in_turns(servers, number, functools.partial(cost_of, "eval"))
                rows.add("evaluate one flag with exporter, µs", *cost)


def streams(rows: Rows, pair: Callable[..., contextlib.AbstractContextManager[list[Server]]], home: Path) -> None:
    """Add opening, memory and pushes of streams, then opening and pushes over TLS."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(home / "key.pem")
    for number, blob in enumerate(leaf.cert_chain_pems):
        blob.write_to_path(home / "cert.pem", append=number > 0)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["http/1.1"])
    tls = {"enabled": True, "certificates": [{"cert": str(home / "cert.pem"), "key": str(home / "key.pem")}]}
    for label, client, settings in (("", None, {}), ("TLS: ", context, {"tls": tls})):
        for _ in range(3):
            with pair(edited(FLAGS, 0, 0), guarded=True, **settings) as servers, contextlib.ExitStack() as stack:
                connected = [(each, stack.enter_context(Readers(each.port, tls=client))) for each in servers]
                _streams(rows, label, connected)


def _streams(rows: Rows, label: str, connected: list[tuple[Server, Readers]]) -> None:
    opened, memory = [], []
    for server, readers in connected:
        before = server.resident()
        opened.append(used(server, functools.partial(readers.open, tenth(STREAMS))) / STREAMS)
        readers.settle(1.0)
        memory.append((server.resident() - before) / STREAMS / 1024)
    rows.add(f"{label}stream opened, µs", *opened)
    rows.add(f"{label}memory per stream, KB", *memory)
    for version in range(1, PUSHES + 1):
        for kind, everybody, expected in (("10 %", version - 1, STREAMS // 10), ("all", version, STREAMS)):
            change = edited(FLAGS, everybody, version)
            cost = [
                used(server, functools.partial(readers.push, functools.partial(server.put, change), expected))
                for server, readers in connected
            ]
            rows.add(f"{label}change for {kind} of {STREAMS:,} streams, µs", *cost)


def cost_of(route: str, server: Server) -> float:
    """Return the processor time of one request in microseconds."""
    return wrk.run(server, route, FLAGS, SECONDS)["cpu_us"]


def in_turns(servers: list[Server], number: int, measure: Callable[[Server], float]) -> list[float]:
    """Measure both servers, in odd rounds the second one first: what runs first is often slower."""
    order = servers if number % 2 == 0 else servers[::-1]
    found = {server: measure(server) for server in order}
    return [found[server] for server in servers]


def used(server: Server, work: Callable[[], object]) -> float:
    """Return the processor time in microseconds that the server used during ``work``."""
    before = server.processor()
    work()
    return (server.processor() - before) * 1e6


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if not wrk.available():
        print("bench.compare needs wrk: etc/setup/debian wrk", file=sys.stderr)
        return 2
    machine.raise_limit()
    rows = Rows()
    with checkout(sys.argv[1]) as root, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)

        @contextlib.contextmanager
        def pair(config: bytes, *, outboxes: Path | None = None, **settings: object) -> Iterator[list[Server]]:
            with contextlib.ExitStack() as stack:
                servers = []
                for number, place in enumerate((root, ROOT)):
                    own = {} if outboxes is None else {"outbox": {"path": str(outboxes / f"{number}.sqlite3")}}
                    servers.append(stack.enter_context(Server(ONE, home, config, root=place, **settings, **own)))
                yield servers

        requests(rows, pair)
        streams(rows, pair, home)
    print(rows.table())
    slower = [name for name in rows.samples if rows.ratio(name) > LIMIT]
    print(f"\nmore than {LIMIT:g} ×: {', '.join(slower) or 'none'}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
