"""Many changes for many endpoints, some dead or slow: the healthy ones get all messages at the required rate."""

from __future__ import annotations

import os
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess
from receivers_apart import ReceiversApart
from soak import resident

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
CHANGES = 5000 if NIGHTLY else 500
HEALTHY = 15
FORMATS = ("envelope", "notifier", "environment", "audit_log", "slack", "teams", "discord")
PER_CHANGE = {"envelope": 2}  # FLAG_UPDATED and CONFIG_UPDATED; one in every other format
RATE = 500  # messages per second, all healthy endpoints together, from the first change to the last; nightly run
GROWTH = 40 * 1024  # kilobytes of memory: SQLite's 16 MiB of cache, windows of 64 messages, connections; no backlog
LATER = 4 * 1024  # kilobytes of it that the second half of many changes may add, when that cache is full
SECRET = "whsec_" + b64encode(b"load" * 8).decode()
SDKS = 10  # that change at the same time: a change waits until the one before is on disk
ALLOWED = {"X-Test": "yes"}  # refreshes of callers without credentials are limited to one per second

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(60 + CHANGES / 10)]


def config(number: int) -> dict[str, Any]:
    """A config whose one flag has this value."""
    return {"p": {"s": "salt"}, "f": {"number": {"t": 2, "v": {"i": number}, "i": f"v{number}"}}}


def endpoints(url: str) -> list[dict[str, Any]]:
    """Fifteen that are healthy, in all formats; three that are dead, each in its own way; two that are slow."""
    formats = {f"well{number}": FORMATS[number % len(FORMATS)] for number in range(HEALTHY)}
    others = {"refuses": "http://127.0.0.1:1/", "hangs": f"{url}/hang/hangs", "fails": f"{url}/broken/fails"}
    others |= {f"slow{number}": f"{url}/slow/slow{number}" for number in range(2)}
    hooks = [{"name": name, "format": style, "url": f"{url}/well/{name}"} for name, style in formats.items()]
    hooks += [{"name": name, "format": "notifier", "url": where} for name, where in others.items()]
    return [hook | {"secret": SECRET} for hook in hooks]


def cpu_seconds(pid: int) -> float:
    """The CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waited_seconds(pid: int) -> float:
    """How long a process's main thread was ready to run, and the machine ran another process."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9


def change(gateway: GatewayProcess, sdk: str, cdn: CdnStandIn, half: int) -> None:
    """Make this SDK's share of one half of the changes, each as soon as the one before is recorded and served."""
    share = CHANGES // SDKS // 2
    for number in range(half * share + 1, (half + 1) * share + 1):
        cdn.set(config(number))
        assert gateway.post(f"/api/{sdk}/refresh", headers=ALLOWED)[0] == 200


def test_dead_and_slow_endpoints_delay_no_other(gateway_process: Callable[..., GatewayProcess], tmp_path: Path) -> None:
    """Each healthy endpoint gets every message once, signed, without a gap; in the nightly run at 500 a second."""
    with ExitStack() as stack:
        receivers = stack.enter_context(ReceiversApart(SECRET))
        cdns = {f"sdk{number}": stack.enter_context(CdnStandIn(config(0))) for number in range(SDKS)}
        hooks = endpoints(receivers.url)
        expected = {
            hook["name"]: CHANGES * PER_CHANGE.get(hook["format"], 1)
            for hook in hooks
            if hook["name"].startswith("well")
        }
        gateway = gateway_process(
            {
                "sdks": {
                    sdk: {"key": SDK_KEY, "base_url": cdn.url, "poll_interval": 3600} for sdk, cdn in cdns.items()
                },
                "http": {"api": {"auth_headers": ALLOWED}},
                "outbox": {"path": str(tmp_path / "outbox.sqlite3")},
                "webhooks": hooks,
                "log": {"level": "error"},
            }
        )
        before = peak = resident(gateway.pid)
        summary: dict[str, Any] = {}

        def arrived() -> bool:
            nonlocal summary, peak
            summary = receivers.summary()
            peak = max(peak, resident(gateway.pid))
            return all(summary["got"].get(name, {}).get("messages") == count for name, count in expected.items())

        began, spent, waited = time.monotonic(), cpu_seconds(gateway.pid), waited_seconds(gateway.pid)
        with ThreadPoolExecutor(SDKS) as drivers:
            for half in range(2):
                halfway = resident(gateway.pid)
                for each in [drivers.submit(change, gateway, sdk, cdn, half) for sdk, cdn in cdns.items()]:
                    each.result()
        changed = time.monotonic() - began
        eventually(arrived, lambda: f"{summary}", limit=30 + CHANGES / 20)
        took = summary["last"] - began
        used, waited = cpu_seconds(gateway.pid) - spent, waited_seconds(gateway.pid) - waited
    total = sum(expected.values())
    print(f"\n{CHANGES} changes in {changed:.1f} s, {total} messages in {took:.1f} s: {total / took:.0f} per second")
    print(
        f"the gateway's CPU: {used / total * 1000:.2f} ms for each message, changes and dead endpoints included;",
        end="",
    )
    print(f" it waited {waited:.1f} s for a processor: {total / (took - waited):.0f} messages per second of the rest")
    print(f"memory: {before / 1024:.1f} MB before, {halfway / 1024:.1f} halfway, {peak / 1024:.1f} MB at most")
    for name, count in expected.items():
        assert summary["got"][name] == {"calls": count, "messages": count, "unsigned": 0, "gapless": True}
    # Receivers and CDNs wait for a processor too when others use the machine, so only the nightly run checks the rate.
    assert not NIGHTLY or total / (took - waited) >= RATE
    assert peak - before <= GROWTH
    assert peak - halfway <= LATER or not NIGHTLY
