"""The report of ``bench.scale``: a Markdown page, its plots and JSON in docs/benchmarks/."""

# ruff: noqa: RUF001  (mathematical signs are part of the printed table)

from __future__ import annotations

import json
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from bench import plots
from bench.report import FOLDER, markdown
from bench.rows import number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PALETTE = ("#2f7ed8", "#7a5cc4", "#3a9d5d", "#d9a521", "#e07b39", "#c23b3b")
LINEAR = 1.25  # how much more than in proportion a figure may grow between two sizes, since runs vary
JUDGED_FROM = 5_000  # streams at a tenth; with fewer, what a process needs at all weighs more than what a stream needs
RARE_GROWTH = 2.0  # of a change for a fixed number of users, at ten times as many streams
OTHER_RUN = "Measured in a run of its own (`python -m bench.scale --only-restarts --write`):"
METHOD = """\
`make bench-scale` writes this page; do not edit it. [notes.md](notes.md#a-hundred-thousand-streams) explains it.

* Gateway and clients run on one machine and share its cores.
  Each stream is an evaluate-all stream of another user, with 106 flags and heartbeats every 20 s.
* Memory per stream is the growth of the proportional set size (PSS) of all processes of the gateway, leader included.
  Kernel memory is the growth of slabs, stacks and page tables of the machine, halved, since both ends of each
  connection are here.
* A change replaces the config file and requests a refresh; times start when the refresh is sent, and end when a client
  has received the last byte of its event. Each figure is the median of three changes.
* Growth compares the last two columns of which one has ten times as many streams as the other.
* The plots have logarithmic axes.
"""


def line(step: dict[str, Any]) -> str:
    """Return the figures of one number of streams in one line."""
    last = ", ".join(f"{name} {change['last']:.0f} ms" for name, change in step["changes"].items())
    return (
        f"{step['streams']:,} streams: {step['memory']:.2f} + {number(step['kernel'])} KB, "
        f"opened {step['rate']:,.0f}/s at {step['opening']:.0f} µs, idle {step['idle']:.1f} %; last client: {last}"
    )


def page(
    facts: dict[str, str],
    steps: Sequence[dict[str, Any]],
    restarts: Sequence[tuple[str, str]],
    restart_facts: dict[str, str] | None = None,
) -> str:
    """Return the page; ``restart_facts`` are of the run that measured the restarts, if it was another one."""
    parts = [
        f"# Scale: {steps[-1]['streams']:,} streams",
        METHOD,
        _facts(facts),
        "## Growth",
        _growth(steps),
        "![time of changes](scale-push.svg)",
        "![memory](scale-memory.svg)",
        f"## Changes with {steps[-1]['streams']:,} streams",
        _changes(steps[-1]),
    ]
    if restarts:
        parts += ["## Restarts", *([OTHER_RUN, _facts(restart_facts)] if restart_facts else []), _restarts(restarts)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def restarts_only(facts: dict[str, str], restarts: Sequence[tuple[str, str]]) -> str:
    """Return the part of the page on restarts, with the facts of a run that measured nothing else."""
    return _facts(facts) + "\n\n" + _restarts(restarts)


def write_restarts(facts: dict[str, str], restarts: Sequence[tuple[str, str]]) -> None:
    """Replace the restarts on the page and in the JSON by those of a run that measured nothing else."""
    document = json.loads((FOLDER / "scale.json").read_text("utf-8"))
    document |= {"restarts": restarts, "restart_facts": facts}
    document["facts"].pop("not all restarts were measured", None)
    (FOLDER / "scale.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    text = page(document["facts"], document["steps"], restarts, facts)
    (FOLDER / "scale.md").write_text(text, "utf-8")


def _restarts(restarts: Sequence[tuple[str, str]]) -> str:
    return markdown(("measured", "figure"), restarts)


def _facts(facts: dict[str, str]) -> str:
    return "\n".join(f"* {name}: {value}" for name, value in facts.items())


def write(facts: dict[str, str], steps: Sequence[dict[str, Any]], restarts: Sequence[tuple[str, str]]) -> None:
    """Replace the page, its plots and the JSON with those of this run."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    document = {"facts": facts, "steps": steps, "restarts": restarts}
    (FOLDER / "scale.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (FOLDER / "scale.md").write_text(page(facts, steps, restarts), "utf-8")
    names = list(steps[0]["changes"])
    colours = dict(zip((_short(name) for name in names), PALETTE, strict=True))
    last = {_short(name): [(step["streams"], step["changes"][name]["last"]) for step in steps] for name in names}
    drawing = plots.lines(
        "Milliseconds until the last client has a change", {"": last}, "streams", "ms", log=True, colours=colours
    )
    (FOLDER / "scale-push.svg").write_text(drawing, "utf-8")
    sizes = {"gateway": "memory", "kernel": "kernel"}
    colours = dict(zip(sizes, PALETTE, strict=False))
    lines = {
        name: [(step["streams"], step["streams"] * step[key] / 1024) for step in steps if step[key] is not None]
        for name, key in sizes.items()
    }
    drawing = plots.lines("Memory of all streams", {"": lines}, "streams", "MB", log=True, colours=colours)
    (FOLDER / "scale-memory.svg").write_text(drawing, "utf-8")


def _short(name: str) -> str:
    return name.removesuffix(" of the users").replace(" of a country", "").replace("100 users", "100 in a country")


def _growth(steps: Sequence[dict[str, Any]]) -> str:
    """Return the table with a column for each number of streams; growth compares with a tenth of the streams."""
    figures: list[tuple[str, str, Callable[[dict[str, Any]], float | None]]] = [
        ("memory per stream, gateway, KB", "each", itemgetter("memory")),
        ("memory per stream, kernel, KB", "each", itemgetter("kernel")),
        ("streams opened, 1/s", "", itemgetter("rate")),
        ("stream opened, µs of processor time", "each", itemgetter("opening")),
        ("idle, % of a core", "all", itemgetter("idle")),
    ]
    for name in steps[0]["changes"]:
        kind = "rare" if name.startswith("100 ") else "all"
        figures.append((f"change for {name}: last client, ms", kind, partial(_of_change, name, "last")))
        figures.append((f"change for {name}: processor time, ms", "all", partial(_of_change, name, "work")))
    head = ["row", *(f"{step['streams']:,}" for step in steps), "growth", "bound", "verdict"]
    tenth = next((step for step in steps if step["streams"] * 10 == steps[-1]["streams"]), None)
    lines = []
    for name, kind, figure in figures:
        cells = [name, *(number(figure(step)) for step in steps)]
        before, after = None if tenth is None else figure(tenth), figure(steps[-1])
        if not before or after is None or not kind:
            lines.append([*cells, "–", "–", "reported"])
            continue
        growth = after / before
        if tenth is None or tenth["streams"] < JUDGED_FROM:
            lines.append([*cells, f"{growth:.2f} ×", "–", "reported"])
            continue
        bound = {"each": LINEAR, "all": 10 * LINEAR, "rare": RARE_GROWTH}[kind]
        lines.append([*cells, f"{growth:.2f} ×", f"≤ {bound:g} ×", "reached" if growth <= bound else "missed"])
    return markdown(head, lines)


def _of_change(name: str, figure: str, step: dict[str, Any]) -> float:
    found: float = step["changes"][name][figure]
    return found


def _changes(step: dict[str, Any]) -> str:
    head = ("change for", "p50, ms", "p99, ms", "last client, ms", "processor time, ms")
    return markdown(
        head,
        [
            (name, *(number(change[figure]) for figure in ("p50", "p99", "last", "work")))
            for name, change in step["changes"].items()
        ],
    )
