"""Rows of requests per second: evaluate, OFREP and the config file, also with other numbers of flags."""

# ruff: noqa: RUF001  (mathematical signs are part of the printed table)

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from bench import configs, wrk
from bench.rows import Goal, Row, times
from bench.servers import BASELINE, KINDS, ONE, Server

if TYPE_CHECKING:
    from pathlib import Path

    from bench.plan import Plan

FLAGS = 100
SIZES = (20, 100, 1_000, 5_000)
ROUTES: dict[str, tuple[str, list[Goal]]] = {
    "eval": ("evaluate one flag", times(10, 17)),
    "eval-all": ("evaluate all flags", times(5, 9)),
    "ofrep": ("OFREP single", times(9, 15)),
    "ofrep-all": ("OFREP bulk", times(4.5, 8)),
    "cdn": ("config file, plain", times(10)),
    "cdn-gzip": ("config file, gzip", times(10)),
}


def measure(plan: Plan, home: Path, raw: dict[str, Any]) -> list[Row]:
    """Return the request rows; every round measures the servers one after the other."""
    rows = {kind: Row(name, "requests/s", goals) for kind, (name, goals) in ROUTES.items()}
    empty = Row("baseline: evaluate one flag ÷ empty Klein route", "×", [Goal(BASELINE, "≥", 0.5, False)])
    gzip = Row("config file: gzip ÷ plain", "×", [Goal(ONE, "≥", 0.9, False)])
    taken = raw.setdefault("requests", [])
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(Server(kind, home, configs.config(FLAGS))) for kind in KINDS]
        servers = [server for server in started if server.available]
        for server in servers:
            wrk.warm_up(server)
        for _ in range(plan.rounds):
            for kind, row in rows.items():
                for server in servers:
                    found = wrk.run(server, kind, FLAGS, plan.seconds)
                    row.add(server.kind, found["rate"])
                    taken.append({"route": kind, "server": server.kind, **found})
                if kind == "eval":
                    rate = wrk.run(servers[0], "empty", FLAGS, plan.seconds)["rate"]
                    plan.log(f"an empty Klein route answers {rate:,.0f} requests/s")
                    empty.add(BASELINE, row.samples[BASELINE][-1] / rate)
                plan.log("  ".join(row.cells()[:6]))
            for server in servers[1:]:
                gzip.add(server.kind, rows["cdn-gzip"].samples[server.kind][-1] / rows["cdn"].samples[server.kind][-1])
    return [empty, *rows.values(), gzip]


def sizes(plan: Plan, home: Path, raw: dict[str, Any]) -> list[Row]:
    """Return rows of evaluate one and all with configs of other sizes, without targets; used for the plot."""
    found = []
    taken = raw.setdefault("sizes", [])
    for flags in SIZES:
        config = configs.config(flags)
        one, every = (Row(f"{name}, {flags:,} flags", "requests/s") for name in ("evaluate one", "evaluate all"))
        for kind in KINDS:
            with Server(kind, home, config) as server:
                if not server.available:
                    continue
                wrk.warm_up(server)
                for route, row in (("eval", one), ("eval-all", every)):
                    figures = wrk.run(server, route, flags, 1)
                    row.add(kind, figures["rate"])
                    taken.append({"route": route, "server": kind, "flags": flags, **figures})
        found += [one, every]
        plan.log("  ".join(every.cells()[:6]))
    return found
