"""Minutes of reconnecting clients and faults; ``make soak MINUTES=10`` runs longer and checks memory, too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cdn_stand_in import SDK_KEY
from eventually import eventually
from gateway_process import GatewayProcess
from soak import Soak, Upstream, config, descriptors, family

MINUTES = float(os.environ.get("SOAK_MINUTES") or 1)
WARM_UP = 120.0  # seconds before memory is measured
LONG = 5.0  # minutes; shorter runs do not check memory
SLOPE = 1.0  # percent per 10 minutes
KILLS_PER_MINUTE = 100
OWN = 2  # descriptors that may be open or not: the pooled connection to the upstream, and a new one

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(MINUTES * 60 + 180)]


def test_no_client_ends_with_a_wrong_or_older_value_and_nothing_leaks(
    gateway_process: Callable[..., GatewayProcess], tmp_path: Path
) -> None:
    """After all faults each client has the values of a fresh evaluation, and never got an older value."""
    file = tmp_path / "upstream.json"
    file.write_text(json.dumps(config(0)), "utf-8")
    upstream = Upstream(file)
    try:
        sdk = {"key": SDK_KEY, "base_url": f"http://127.0.0.1:{upstream.port}", "poll_interval": 1}
        sse = {"stall_timeout": 15, "heart_beat_interval": 2, "drain_window": 0}
        gateway = gateway_process({"workers": 2, "sdks": {"soak": sdk}, "http": {"sse": sse}})
        workers = len(family(gateway.pid)) - 1
        before = descriptors(gateway.pid)
        soak = Soak(gateway, upstream, file)
        try:
            soak.run(MINUTES * 60)
            wrong = soak.finish()
        finally:
            soak.close()
        older = [(number, pair) for number, client in enumerate(soak.clients) for pair in client.older]
        frames = sum(client.frames for client in soak.clients)
        slope = soak.slope(WARM_UP if MINUTES >= LONG else MINUTES * 30)
        eventually(lambda: descriptors(gateway.pid) <= before + OWN, lambda: f"{descriptors(gateway.pid)} > {before}")
        after = descriptors(gateway.pid)
        clients = f"{len(soak.clients)} clients, {frames} frames"
        print(f"\nsoak of {MINUTES:g} min, {workers or 'no'} worker processes, {clients}")
        for name, count in sorted(soak.counts.items()):
            print(f"  {name}: {count}")
        print(f"  descriptors: {before} before, {after} after")
        print(f"  memory: {soak.memory[0][1] / 1024:.1f} MB, at the end {soak.memory[-1][1] / 1024:.1f} MB", end="; ")
        print("too short for a slope" if slope is None else f"slope {slope:+.2f} % per 10 minutes")
        print(f"  wrong at the end: {len(wrong)}; older after newer: {len(older)}")
    finally:
        upstream.stop()
    assert wrong == []
    assert older == []
    assert soak.counts["clients killed"] >= KILLS_PER_MINUTE * MINUTES
    assert workers == 0 or soak.counts["workers killed"] >= max(1, int(MINUTES))
    if MINUTES >= LONG:
        assert slope is not None
        assert slope <= SLOPE
