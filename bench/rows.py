"""Rows of the table: the figures of each server, and their targets."""

# ruff: noqa: RUF001  (mathematical signs are part of the printed table)

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import attrs

from bench.servers import BASELINE, KINDS, ONE, TWO

if TYPE_CHECKING:
    from collections.abc import Sequence

ABSENT = "not available"


@attrs.frozen
class Goal:
    """A bound for the figure of one server, absolute or ``relative`` to that of the baseline."""

    kind: str
    sense: str
    bound: float
    relative: bool

    def text(self) -> str:
        bound = f"{self.bound:g}" if self.bound >= 1 or not self.relative else f"{self.bound:.3g}"
        who = " with 2" if self.kind == TWO else ""
        return f"{self.sense} {bound}{' × baseline' if self.relative else ''}{who}"

    def reached(self, row: Row) -> bool | None:
        """Return whether the goal is reached; None if the figure was not measured."""
        figure = row.ratio(self.kind) if self.relative else row.figure(self.kind)
        if figure is None:
            return None
        return figure >= self.bound if self.sense == "≥" else figure <= self.bound


def share(bound: float) -> list[Goal]:
    """Return a goal: at most this share of the baseline's figure."""
    return [Goal(ONE, "≤", bound, True)]


def cost(one: float, two: float | None = None) -> list[Goal]:
    """Return goals: at most the baseline's processor time divided by this, with 1 and with 2 workers."""
    return [Goal(ONE, "≤", 1 / one, True)] + ([Goal(TWO, "≤", 1 / two, True)] if two else [])


def most(bound: float, kind: str = ONE) -> list[Goal]:
    """Return a goal: at most this figure."""
    return [Goal(kind, "≤", bound, False)]


@attrs.define
class Row:
    """One row; the ``samples`` of each server are in the order of the rounds, so that a ratio compares one round."""

    name: str
    unit: str
    goals: list[Goal] = attrs.field(factory=list)
    samples: dict[str, list[float]] = attrs.field(factory=dict)
    note: str = ""

    def add(self, kind: str, value: float) -> None:
        self.samples.setdefault(kind, []).append(value)

    def figure(self, kind: str) -> float | None:
        found = self.samples.get(kind)
        return median(found) if found else None

    def ratio(self, kind: str) -> float | None:
        own, base = self.samples.get(kind), self.samples.get(BASELINE)
        if not own or not base:
            return None
        return median(mine / its if its else 0.0 for mine, its in zip(own, base, strict=False))

    def verdict(self) -> str:
        found = [goal.reached(self) for goal in self.goals]
        if not found:
            return "reported"
        if False in found:
            missed = [goal.kind for goal, good in zip(self.goals, found, strict=True) if good is False]
            return "missed" if len(missed) == len(found) else f"missed with {' and '.join(missed)}"
        if None in found:
            return "reached; 2 workers not available" if True in found else ABSENT
        return "reached"

    def cells(self) -> list[str]:
        """Return the texts of the row: name, the figure of each server, two ratios, goal, verdict."""
        figures = [number(self.figure(kind)) for kind in KINDS]
        ratios = ["–" if (found := self.ratio(kind)) is None else f"{found:.3g} ×" for kind in (ONE, TWO)]
        goal = ", ".join(goal.text() for goal in self.goals) or "–"
        return [f"{self.name}, {self.unit}" if self.unit else self.name, *figures, *ratios, goal, self.verdict()]

    def progress(self) -> str:
        """Return the name and the numbers for one line of progress."""
        return "  ".join(self.cells()[: NUMBERS + 1])

    def plain(self) -> dict[str, Any]:
        """Return the row for the JSON file."""
        return {
            "name": self.name,
            "unit": self.unit,
            "figures": {kind: self.figure(kind) for kind in KINDS},
            "ratios": {kind: self.ratio(kind) for kind in (ONE, TWO)},
            "goals": [goal.text() for goal in self.goals],
            "verdict": self.verdict(),
            "samples": self.samples,
            "note": self.note,
        }


HEAD = ("row", *KINDS, "ratio 1", "ratio 2", "target", "verdict")
NUMBERS = len(KINDS) + 2  # columns of figures and ratios


def number(value: float | None) -> str:
    """Format with three significant digits, from 100 on as an integer with thousands separators."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """Format the rows as a table for a terminal."""
    lines = [list(HEAD), *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    text = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1 : NUMBERS + 1], widths[1 : NUMBERS + 1], strict=True)]
        cells += [cell.ljust(width) for cell, width in zip(line[NUMBERS + 1 :], widths[NUMBERS + 1 :], strict=True)]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "-" * max(len(line) for line in text))
    return "\n".join(text)
