"""Rows of requests per second: evaluate, OFREP and the config file, also with other numbers of flags."""

# ruff: noqa: RUF001  (mathematical signs are part of the printed table)

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from bench import configs, wrk
from bench.rows import Goal, Row, cost
from bench.servers import BASELINE, KINDS, ONE, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.plan import Plan

FLAGS = 100
SIZES = (20, 100, 1_000, 5_000)
ROUTES: dict[str, tuple[str, list[Goal]]] = {
    "eval": ("evaluate one flag", cost(10, 10)),
    "eval-all": ("evaluate all flags", cost(5, 5)),
    "ofrep": ("OFREP single", cost(9, 9)),
    "ofrep-all": ("OFREP bulk", cost(4.5, 4.5)),
    "cdn": ("config file, plain", cost(10)),
    "cdn-gzip": ("config file, gzip", cost(10)),
}
MIXES: dict[str, tuple[configs.Mix, dict[str, list[Goal]]]] = {  # beside the usual mix
    "light": (configs.light, {"eval-all": cost(9, 9), "ofrep-all": cost(6, 6)}),
    "heavy": (configs.heavy, {"eval-all": cost(5, 5), "ofrep-all": cost(4, 4)}),
}
WORK = "µs of processor time"


def measure(plan: Plan, home: Path, raw: dict[str, Any]) -> list[Row]:
    """Return the request rows; every round measures the servers one after the other.

    The goals are on processor time, which depends less on other programs of the machine than a rate does.
    """
    rates = {route: Row(name, "requests/s") for route, (name, _) in ROUTES.items()}
    works = {route: Row(name, WORK, goals) for route, (name, goals) in ROUTES.items()}
    empty = Row("baseline: an empty Klein route ÷ evaluate one flag", "×", [Goal(BASELINE, "≥", 0.5, False)])
    gzip = Row("config file: gzip ÷ plain", "×", [Goal(ONE, "≤", 1.1, False)])
    taken = raw.setdefault("requests", [])

    def add(server: Server, route: str) -> None:
        found = wrk.run(server, route, FLAGS, plan.seconds)
        rates[route].add(server.kind, found["rate"])
        works[route].add(server.kind, found["cpu_us"])
        taken.append({"route": route, "server": server.kind, **found})

    with _servers(home, configs.config(FLAGS)) as servers:
        for _ in range(plan.rounds):
            for route in ROUTES:
                for server in servers:
                    add(server, route)
                plan.log(works[route].progress())
            nothing = wrk.run(servers[0], "empty", FLAGS, plan.seconds)["cpu_us"]
            empty.add(BASELINE, nothing / works["eval"].samples[BASELINE][-1])
            for server in servers[1:]:
                plain, packed = (works[route].samples[server.kind][-1] for route in ("cdn", "cdn-gzip"))
                gzip.add(server.kind, packed / plain)
    return [empty, *rates.values(), *works.values(), gzip, *_mixes(plan, home, raw)]


def _mixes(plan: Plan, home: Path, raw: dict[str, Any]) -> list[Row]:
    """Return the processor time of all flags in the light and in the heavy mix."""
    found = []
    taken = raw.setdefault("mixes", [])
    for mix, (flags, targets) in MIXES.items():
        rows = {route: Row(f"{ROUTES[route][0]}, {mix} mix", WORK, goals) for route, goals in targets.items()}
        with _servers(home, configs.config(FLAGS, flags)) as servers:
            for _ in range(plan.rounds):
                for route, row in rows.items():
                    for server in servers:
                        figures = wrk.run(server, route, FLAGS, plan.seconds)
                        row.add(server.kind, figures["cpu_us"])
                        taken.append({"mix": mix, "route": route, "server": server.kind, **figures})
                    plan.log(row.progress())
        found += rows.values()
    return found


@contextlib.contextmanager
def _servers(home: Path, config: bytes) -> Iterator[list[Server]]:
    """Run all servers with this config, warmed up, the baseline first."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(Server(kind, home, config)) for kind in KINDS]
        servers = [server for server in started if server.available]
        for server in servers:
            wrk.warm_up(server)
        yield servers


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
        plan.log(every.progress())
    return found
