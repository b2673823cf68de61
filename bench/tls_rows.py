"""Rows of TLS: memory, handshakes and pushes of 2,000 streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.certificates import Certificates
from bench.readers import Readers
from bench.rows import Row, most
from bench.servers import ONE, TWO, Server
from bench.stream_rows import edited, tenth

if TYPE_CHECKING:
    from pathlib import Path

    from bench.plan import Plan

STREAMS = 2_000


def measure(plan: Plan, home: Path) -> list[Row]:
    """Return the TLS rows, measured with certificates generated for this run."""
    certificates = Certificates(home)
    context = certificates.context("http/1.1")
    memory = Row(f"TLS, {STREAMS:,} streams: memory each", "KB", most(30))
    opened = Row("TLS: handshakes and streams accepted", "1/s")
    pushed = Row("TLS: change for all users, last client updated", "ms")
    for kind in (ONE, TWO):
        with Server(kind, home, edited(100, 0, 0), guarded=True, tls=certificates.settings) as server:
            if not server.available:
                continue
            with Readers(server.port, tls=context) as readers:
                before = server.resident()
                seconds, _ = readers.open(tenth(STREAMS))
                readers.settle(1.0)
                memory.add(kind, (server.resident() - before) / STREAMS / 1024)
                opened.add(kind, STREAMS / seconds)
                for number in range(3):
                    config = edited(100, number + 1, 0)
                    pushed.add(kind, readers.push(lambda: server.put(config), STREAMS).last)  # noqa: B023
        plan.log(opened.progress())
    return [memory, opened, pushed]
