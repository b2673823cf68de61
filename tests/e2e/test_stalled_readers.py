"""Readers that stop reading: other readers are not delayed, and new streams still open."""

from __future__ import annotations

import contextlib
import http.client
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway_process import GatewayProcess
from streams import Streams, stream_path

CHANGES = 1_000  # while the same readers are stalled, over the runs together
RUNS = 5  # each kind, alternating
STALLED = 64
WATCHING = 8
FILLER = 60  # flags that make a frame large enough that 1,000 of them overflow any buffer

pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]


class Source:
    """The config file of an SDK; ``change`` moves one number on and has the gateway read it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.client: http.client.HTTPConnection | None = None
        self.write()

    def change(self) -> float:
        """Write the next config, ask for it, and return when that was."""
        assert self.client is not None
        self.write()
        began = time.monotonic()
        self.client.request("POST", "/api/shop/refresh", headers={"X-Auth": "test"})
        answer = self.client.getresponse()
        answer.read()
        assert answer.status == 200
        return began

    def write(self) -> None:
        """Put the next config in place of the last, atomically."""
        self.number += 1
        filler = {f"filler{n:03}": {"t": 1, "v": {"s": "x" * 40}, "i": "f"} for n in range(FILLER)}
        flags: dict[str, Any] = {"number": {"t": 2, "v": {"i": self.number}, "i": "n"}, **filler}
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"p": {"s": "salt"}, "f": flags}), "utf-8")
        fresh.replace(self.path)


def p99(delays: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(delays, n=100)[98]


def all_have(source: Source, group: Streams) -> bool:
    """Whether each reader's last value is the newest."""
    return all(stream.payloads[-1]["number"]["value"] == source.number for stream in group.all)


def push(source: Source, watching: Streams, count: int) -> list[float]:
    """Make ``count`` changes, each after all readers have the one before; return every reader's delays."""
    delays: list[float] = []
    for _ in range(count):
        began = source.change()
        watching.read_until(lambda: all_have(source, watching))
        delays.extend(stream.arrivals[-1] - began for stream in watching.all)
    return delays


def watch(gateway: GatewayProcess, group: Streams, count: int, prefix: str, **options: Any) -> None:
    """Open ``count`` streams of users of their own."""
    for number in range(count):
        group.open(gateway.port, stream_path("shop", {"Identifier": f"{prefix}{number}"}), **options)


def test_readers_that_stall_do_not_delay_the_others(
    gateway_process: Callable[..., GatewayProcess], tmp_path: Path
) -> None:
    """The others' p99 stays within twice what it is without stalled readers (median of five alternating runs)."""
    source = Source(tmp_path / "config.json")
    local = {"key": "local", "offline": {"enabled": True, "local": {"file_path": str(source.path)}}}
    http_settings = {"sse": {"stall_timeout": 600}, "api": {"auth_headers": {"X-Auth": "test"}}}
    gateway = gateway_process({"sdks": {"shop": local}, "http": http_settings})
    source.client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
    alone: list[float] = []
    beside: list[float] = []
    with contextlib.closing(Streams()) as watching, contextlib.closing(Streams()) as stalled:
        watch(gateway, watching, WATCHING, "w")
        watching.read_until(lambda: all(stream.payloads for stream in watching.all))
        push(source, watching, 20)
        for _ in range(RUNS):
            alone.append(p99(push(source, watching, CHANGES // RUNS)))
            with contextlib.closing(Streams()) as stuck:
                watch(gateway, stuck, STALLED, "s", receive_buffer=4096)
                stuck.read_until(lambda: all(stream.status for stream in stuck.all))
                beside.append(p99(push(source, watching, CHANGES // RUNS)))
        # The same readers, never read again, through all the changes at once.
        watch(gateway, stalled, STALLED, "t", receive_buffer=4096)
        stalled.read_until(lambda: all(stream.payloads for stream in stalled.all))
        through = p99(push(source, watching, CHANGES))
        late = watching.open(gateway.port, stream_path("shop", {"Identifier": "late"}))
        watching.read_until(lambda: late.payloads)
        assert late.payloads[-1]["number"]["value"] == source.number
        stalled.read_until(lambda: all_have(source, stalled))
        most = max(len(stream.payloads) for stream in stalled.all)
    source.client.close()
    quiet, busy = statistics.median(alone), statistics.median(beside)
    print(f"p99 alone {quiet * 1000:.2f} ms, beside {STALLED} stalled readers {busy * 1000:.2f} ms")
    print(f"p99 of {CHANGES} changes in a row beside the same {STALLED} readers {through * 1000:.2f} ms")
    print(f"frames that a stalled reader was still sent, of {CHANGES}: {most} at most")
    assert busy <= 2 * quiet
    assert most < CHANGES / 2
