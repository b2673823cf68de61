"""Rows of the exporter: its cost per evaluation, and the rate at which events are received."""

# ruff: noqa: RUF001, TID251  (mathematical signs are part of the printed table; this process has no reactor)

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING, Any

from bench import configs, wrk
from bench.receiver import Receiver
from bench.request_rows import FLAGS
from bench.rows import Goal, Row
from bench.servers import ONE, TWO, Server

if TYPE_CHECKING:
    from pathlib import Path

    from bench.plan import Plan

ARRIVE_SECONDS = 60.0  # from the end of the load until all events must have been received
PACED = 8  # connections: at most 800 evaluate-all requests a second in all, which cause 80,000 events


def measure(plan: Plan, home: Path, raw: dict[str, Any]) -> list[Row]:
    """Return the exporter's rows.

    :raises RuntimeError: if an event was dropped or not received.
    """
    cost = Row("exporter on ÷ off: evaluate one flag", "×", [Goal(ONE, "≥", 0.85, False), Goal(TWO, "≥", 0.85, False)])
    one = Row("exported from evaluate one, all received", "events/s", [Goal(TWO, "≥", 8_000, False)])
    many = Row("exported from evaluate all, all received", "events/s", [Goal(TWO, "≥", 20_000, False)])
    taken = raw.setdefault("exporter", [])
    for kind in (ONE, TWO):
        with Receiver() as receiver:
            settings = {
                "exporter": {"endpoint_url": receiver.url, "flush_interval": 1000, "bulk": True},
                "outbox": {"path": str(home / f"{kind}.sqlite3")},
            }
            config = configs.config(FLAGS)
            with Server(kind, home, config) as off, Server(kind, home, config, **settings) as on:
                if not on.available:
                    continue
                wrk.warm_up(off)
                wrk.warm_up(on)
                for _ in range(plan.turns):
                    before = wrk.run(off, "eval", FLAGS, plan.seconds)["rate"]
                    rate, arrived = _exported(on, receiver, "eval", plan.seconds)
                    cost.add(kind, rate / before)
                    one.add(kind, arrived)
                    taken.append({"server": kind, "off": before, "on": rate, "arrived": arrived})
                many.add(kind, _exported(on, receiver, "eval-all", 2 * plan.seconds, paced=True)[1])
        plan.log(cost.progress())
    return [cost, one, many]


def _exported(
    server: Server, receiver: Receiver, kind: str, seconds: int, *, paced: bool = False
) -> tuple[float, float]:
    """Return requests per second, and events per second between the first request and the last received event."""
    each = FLAGS if kind == "eval-all" else 1
    _settle(server, receiver)
    already, began = receiver.count, time.monotonic()
    load = {"script": "paced.lua", "connections": PACED} if paced else {}
    found = wrk.run(server, kind, FLAGS, seconds, **load)
    ended = _settle(server, receiver)
    arrived = receiver.count - already
    if arrived < found["requests"] * each:
        raise RuntimeError(f"only {arrived} of {found['requests'] * each:.0f} events were received")
    return found["rate"], arrived / (ended - began)


def _settle(server: Server, receiver: Receiver) -> float:
    """Wait until all collected events have been received, and return that time.

    :raises RuntimeError: if an event was dropped, or not received in time.
    """
    deadline = time.monotonic() + ARRIVE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.05)
        figures = _figures(server)
        if figures["dropped"]:
            raise RuntimeError(f"{figures['dropped']:.0f} events were dropped")
        if figures["waiting"] == 0 and figures["collected"] == figures["exported"] == receiver.count:
            seen = time.monotonic()
            time.sleep(0.5)  # a worker may not have sent its last events to the leader yet
            if _figures(server) == figures:
                return seen
    raise RuntimeError(f"not all events were received: {_figures(server)}")


def _figures(server: Server) -> dict[str, float]:
    client = http.client.HTTPConnection("127.0.0.1", server.diag_port, timeout=30)
    client.request("GET", "/metrics")
    page = client.getresponse().read().decode()
    client.close()
    found = {"collected": 0.0, "exported": 0.0, "dropped": 0.0, "waiting": 0.0}
    for line in page.splitlines():
        name, _, value = line.rpartition(" ")
        word = name.partition("{")[0].removeprefix("flaggateway_evaluations_").removesuffix("_total")
        if name.startswith("flaggateway_evaluations_") and word in found:
            found[word] += float(value)
    return found
