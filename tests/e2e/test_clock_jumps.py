"""A system clock that is set while a real gateway runs: heartbeats, polls, retries and times that clients see."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess
from jumping_clock import JumpingClock
from receiver import Receiver
from streams import Streams, stream_path

Start = Callable[..., GatewayProcess]

SOON = 60.0  # seconds on a busy machine; a timer that waits for the clock needs an hour


def config(number: int) -> dict[str, Any]:
    """A config whose one flag has this value."""
    return {"p": {"s": "salt"}, "f": {"number": {"t": 2, "v": {"i": number}, "i": f"v{number}"}}}


def settings(cdn: CdnStandIn, receiver: Receiver, database: Path, workers: int) -> dict[str, Any]:
    """The settings of a gateway that polls and sends a heartbeat every second."""
    return {
        "workers": workers,
        "sdks": {"shop": {"key": SDK_KEY, "base_url": cdn.url, "poll_interval": 1}},
        "http": {"sse": {"heart_beat_interval": 1, "drain_window": 0}},
        "outbox": {"path": str(database)},
        "webhooks": [{"name": "ops", "url": receiver.url}],
    }


def date_of(gateway: GatewayProcess) -> float:
    """Return the ``Date`` of an answer in Unix seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
    with contextlib.closing(connection):
        connection.request("POST", "/api/shop/eval", b'{"key":"number"}')
        return parsedate_to_datetime(str(connection.getresponse().getheader("Date"))).timestamp()


@pytest.mark.parametrize(
    ("workers", "jumps"),
    [
        pytest.param(2, (-3600,), id="an hour back, two workers"),
        pytest.param(1, (-30, 3600, -3600), id="three jumps, one process", marks=pytest.mark.slow),
    ],
)
def test_everything_goes_on_after_the_clock_was_set(
    gateway_process: Start, tmp_path: Path, workers: int, jumps: tuple[int, ...]
) -> None:
    """Heartbeats, polls, pushes and the retry of a message come as if nothing had happened; ``Date`` follows."""
    clock = JumpingClock(tmp_path / "clock")
    with CdnStandIn(config(0)) as cdn, Receiver(lambda _: 503) as receiver, contextlib.closing(Streams()) as streams:
        gateway = gateway_process(settings(cdn, receiver, tmp_path / "outbox.sqlite3", workers), env=clock.env)
        opened = [streams.open(gateway.port, stream_path("shop", {"Identifier": str(n)})) for n in range(20)]
        streams.read_until(lambda: all(stream.payloads for stream in opened), SOON)
        for number, ahead in enumerate(jumps, start=1):
            known = len(receiver.calls)
            cdn.set(config(number))
            streams.read_until(lambda number=number: all(len(s.payloads) == number + 1 for s in opened), SOON)
            eventually(lambda known=known: len(receiver.calls) > known, gateway.logs)
            calls = len(receiver.calls)
            clock.set(ahead)
            polls, beats = len(cdn.requests), [stream.comments for stream in opened]
            # The heads of answers are cached for a second.
            eventually(
                lambda ahead=ahead: abs(date_of(gateway) - datetime.now(UTC).timestamp() - ahead) < 20, gateway.logs
            )
            streams.read_until(
                lambda beats=beats: all(s.comments >= was + 3 for s, was in zip(opened, beats, strict=True)), SOON
            )
            eventually(lambda polls=polls: len(cdn.requests) >= polls + 3, gateway.logs, limit=SOON)
            eventually(lambda calls=calls: len(receiver.calls) > calls, gateway.logs, limit=SOON)
        cdn.set(config(99))
        streams.read_until(lambda: all(s.payloads[-1]["number"]["value"] == 99 for s in opened), SOON)
        assert "healthy" == json.loads(gateway.get("/status", diag=True)[1])["status"]
    assert "the system clock was set by" in gateway.logs()
