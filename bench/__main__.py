"""Run the benchmark, print its table and write docs/benchmarks/: python -m bench [--quick] [--only NAME …]."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from bench import (
    export_rows,
    growth_rows,
    http2_rows,
    machine,
    report,
    request_rows,
    stalled_rows,
    stream_rows,
    tls_rows,
    wrk,
)
from bench.plan import QUICK, WHOLE
from bench.rows import Row, table

if TYPE_CHECKING:
    from collections.abc import Callable

MAIN = ("requests", "streams", "exporter")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the main rows, with less load; write no page")
    parser.add_argument("--only", nargs="+", help="only these parts; write no page")
    parser.add_argument("--streams", type=int, help="number of streams, in all stream rows")
    options = parser.parse_args()
    if not wrk.available():
        sys.exit("wrk is not installed: apt-get install wrk")
    plan = QUICK if options.quick else WHOLE
    if options.streams:
        plan = attrs.evolve(plan, streams=options.streams, delta_streams=options.streams)
    if machine.raise_limit() < plan.streams + 1_000:
        sys.exit(f"{plan.streams:,} streams need more open files than `ulimit -Hn` allows; raise it or use --streams")
    facts = {"date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"), **machine.describe()}
    facts["rounds"] = f"{plan.rounds} of requests, {plan.passes} over streams with {plan.pushes} changes of each kind"
    raw: dict[str, Any] = {}
    rows: list[Row] = []
    sizes: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        parts: dict[str, Callable[[], list[Row]]] = {
            "requests": lambda: request_rows.measure(plan, home, raw),
            "sizes": lambda: request_rows.sizes(plan, home, raw),
            "streams": lambda: stream_rows.measure(plan, home, raw),
            "exporter": lambda: export_rows.measure(plan, home, raw),
            "connections": lambda: growth_rows.connections(plan, home),
            "flags": lambda: growth_rows.flags(plan, home),
            "stalled": lambda: stalled_rows.measure(plan, home),
            "tls": lambda: tls_rows.measure(plan, home),
            "http2": lambda: http2_rows.measure(plan, home),
        }
        for name in options.only or (MAIN if plan.quick else parts):
            try:
                (sizes if name == "sizes" else rows).extend(parts[name]())
            except (RuntimeError, OSError) as error:  # continue with the other parts
                facts[f"not measured: {name}"] = str(error).splitlines()[0]
                plan.log(f"{name}: {error}")
            if not plan.quick and not options.only:
                report.write(rows, sizes, facts, raw)
    facts["load average at the end"] = " ".join(f"{load:.1f}" for load in os.getloadavg())
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), end="\n\n")
    print(table([*rows, *sizes]))
    for row in rows:
        if row.note:
            print(f"  {row.name}: {row.note}")
    if not plan.quick and not options.only:
        report.write(rows, sizes, facts, raw)
        print(f"\nwritten to {report.FOLDER}")


if __name__ == "__main__":
    main()
