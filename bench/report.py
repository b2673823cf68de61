"""The report of a run: JSON, a Markdown page and its plots in docs/benchmarks/."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench import plots
from bench.rows import HEAD, Row
from bench.servers import KINDS, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = ROOT / "docs" / "benchmarks"
METHOD = """\
`make bench` writes this page; do not edit it.
[notes.md](notes.md) explains missed targets, [scale.md](scale.md) has many more streams.

* Everything runs on one machine: the server, and the load generator on the cores that the server leaves free.
* *Baseline* is [bench/baseline.py](../../bench/baseline.py): a plain Klein program with the same evaluator and msgspec.
  On a change it evaluates all flags once per connection and writes the result to each.
* A ratio compares figures of the same round, in which the servers are measured one after the other;
  the table shows the median of the rounds.
* Requests come from `wrk` with 2 threads and 64 connections, each request for another user; streams come from
  [bench/readers.py](../../bench/readers.py), each an evaluate-all stream of another user.
* Requests over TLS with HTTP/1.1 and HTTP/2 come from `h2load` with 1 thread and 10 connections, all of one user.
* A change replaces the server's config file and requests a refresh; times start when the refresh is sent.
* Targets of requests are on processor time, which depends less on other programs on the machine than a rate.
* [bench/configs.py](../../bench/configs.py) describes the mixes of flags; a row that names none has the usual one.
* Memory is resident memory, processor time is user and system time; both are sums over the server's processes.
"""


def write(rows: Sequence[Row], sizes: Sequence[Row], facts: dict[str, str], raw: dict[str, Any]) -> None:
    """Replace the page, its plots and the JSON with those of this run."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    document = {"facts": facts, "rows": [row.plain() for row in (*rows, *sizes)], **raw}
    (FOLDER / "results.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    for name, drawing in _plots(rows, raw).items():
        (FOLDER / f"{name}.svg").write_text(drawing, "utf-8")
    (FOLDER / "README.md").write_text(_page(rows, sizes, facts), "utf-8")


def _page(rows: Sequence[Row], sizes: Sequence[Row], facts: dict[str, str]) -> str:
    goals = [row for row in rows if row.goals]
    counts = {verdict: sum(row.verdict().startswith(verdict) for row in goals) for verdict in ("reached", "missed")}
    parts = [
        "# Benchmark",
        METHOD,
        "\n".join(f"* {name}: {value}" for name, value in facts.items()),
        f"{len(goals)} rows have a target: {counts['reached']} reach it, {counts['missed']} miss it.",
        _table(rows),
        "## Notes on rows\n\n" + "\n".join(f"* {row.name}: {row.note}" for row in rows if row.note),
        "## Plots",
        "\n\n".join(f"![{name}]({name}.svg)" for name in ("requests", "flags", "push", "memory")),
        "## Other sizes",
        _table(sizes),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _table(rows: Sequence[Row]) -> str:
    return markdown(HEAD, [row.cells() for row in rows])


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def _plots(rows: Sequence[Row], raw: dict[str, Any]) -> dict[str, str]:
    def figures(wanted: str) -> dict[str, dict[str, float]]:
        return {
            row.name: {kind: value for kind in KINDS if (value := row.figure(kind)) is not None}
            for row in rows
            if row.unit == wanted and row.samples
        }

    sizes: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for one in raw.get("sizes", ()):
        sizes.setdefault(one["route"], {}).setdefault(one["server"], []).append((one["flags"], one["rate"]))
    delays: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for push in raw.get("pushes", ()):
        last = len(push["delays"]) - 1
        line = [(delay, 100 * place / max(last, 1)) for place, delay in enumerate(push["delays"])]
        delays.setdefault(push["change"], {})[push["server"]] = line
    return {
        "requests": plots.bars("Requests per second, 100 flags", figures("requests/s"), "/s"),
        "flags": plots.lines("Requests per second by flags in the config", sizes, "flags", "requests/s", log=True),
        "push": plots.lines(
            "Readers that received a change, by milliseconds after it", delays, "ms", "% of readers", log=False
        ),
        "memory": plots.bars("Memory per stream", figures("KB"), "KB"),
    }
