"""Bar and line plots as SVG text, readable on light and dark pages."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from bench.servers import BASELINE, ONE, PEER, TWO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLOURS = {BASELINE: "#8a8f98", ONE: "#2f7ed8", TWO: "#e07b39", PEER: "#7a5cc4"}
WIDTH, LEFT, TOP, BOTTOM = 720, 190, 40, 46
FONT = 'font-family="sans-serif" font-size="12" fill="#777"'

Point = tuple[float, float]


def _document(title: str, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img">'
    named = f'<title>{escape(title)}</title>\n<text x="10" y="20" {FONT} font-weight="bold">{escape(title)}</text>'
    return "\n".join([head, named, *parts, "</svg>\n"])


def _label(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {FONT}>{escape(text)}</text>'


def _legend(kinds: Sequence[str], y: float, colours: Mapping[str, str]) -> list[str]:
    parts = []
    start = LEFT if len(kinds) <= 4 else 10
    for place, kind in enumerate(kinds):
        x = start + place * 120
        parts.append(f'<rect x="{x}" y="{y - 10:.1f}" width="12" height="12" fill="{colours[kind]}"/>')
        parts.append(_label(x + 18, y, kind))
    return parts


def bars(title: str, groups: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """Return a plot of horizontal bars, one group per row; the longest bar fills the width."""
    longest = max((value for group in groups.values() for value in group.values()), default=1.0)
    parts: list[str] = []
    y = float(TOP)
    for name, group in groups.items():
        parts.append(_label(LEFT - 8, y + 8 * len(group) + 4, name, "end"))
        for kind, value in group.items():
            length = (WIDTH - LEFT - 90) * value / longest
            parts.append(f'<rect x="{LEFT}" y="{y:.1f}" width="{length:.1f}" height="13" fill="{COLOURS[kind]}"/>')
            parts.append(
                _label(LEFT + length + 5, y + 11, f"{value:,.3g} {unit}" if value < 100 else f"{value:,.0f} {unit}")
            )
            y += 16
        y += 10
    kinds = [kind for kind in COLOURS if any(kind in group for group in groups.values())]
    return _document(title, y + BOTTOM, [*parts, *_legend(kinds, y + 18, COLOURS)])


def _scale(low: float, high: float, start: float, end: float, *, log: bool) -> tuple[list[float], Mapping[str, float]]:
    """Return the ticks of an axis, and the axis for ``_place``."""
    if not log:
        step = 10 ** math.floor(math.log10(max(high - low, 1e-9)))
        step = step if (high - low) / step >= 4 else step / 4
        ticks = [low + step * index for index in range(int((high - low) / step) + 1)]
    else:
        ticks = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
        low, high = ticks[0], ticks[-1]
    return ticks, {"low": low, "high": high, "start": start, "end": end, "log": float(log)}


def _positive(line: Sequence[Point]) -> Sequence[Point]:
    return [point for point in line if min(point) > 0]


def _place(value: float, axis: Mapping[str, float]) -> float:
    low, high = axis["low"], axis["high"]
    if axis["log"]:
        value, low, high = math.log10(value), math.log10(low), math.log10(high)
    return axis["start"] + (axis["end"] - axis["start"]) * (value - low) / max(high - low, 1e-9)


def lines(
    title: str,
    series: Mapping[str, Mapping[str, Sequence[Point]]],
    x_name: str,
    y_name: str,
    *,
    log: bool,
    colours: Mapping[str, str] = COLOURS,
) -> str:
    """Return a plot with a line per group (solid, then dashed) and server; ``log`` makes both axes logarithmic.

    A logarithmic plot leaves out what is not above zero, as a server that answered nothing in its time.
    ``colours`` replaces the servers by other lines, six at most.
    """
    if log:
        series = {name: {kind: _positive(line) for kind, line in group.items()} for name, group in series.items()}
    points = [point for group in series.values() for line in group.values() for point in line]
    if not points:
        return _document(title, 60, [])
    height = 360
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_ticks, x_axis = _scale(min(xs) if log else 0.0, max(xs), 70, WIDTH - 20, log=log)
    y_ticks, y_axis = _scale(min(ys) if log else 0.0, max(ys), height - 70, TOP, log=log)
    parts = []
    for tick in x_ticks:
        x = _place(tick, x_axis)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - 70}" stroke="#8884"/>')
        parts.append(_label(x, height - 54, f"{tick:,.0f}", "middle"))
    for tick in y_ticks:
        y = _place(tick, y_axis)
        parts.append(f'<line x1="70" y1="{y:.1f}" x2="{WIDTH - 20}" y2="{y:.1f}" stroke="#8884"/>')
        parts.append(_label(64, y + 4, f"{tick:,.0f}", "end"))
    for place, (name, group) in enumerate(series.items()):
        dash = ' stroke-dasharray="6 4"' if place else ""
        for kind, line in group.items():
            path = " ".join(f"{_place(x, x_axis):.1f},{_place(y, y_axis):.1f}" for x, y in line)
            stroke = f'fill="none" stroke="{colours[kind]}" stroke-width="2"{dash}'
            parts.append(f'<polyline points="{path}" {stroke}><title>{escape(f"{name}, {kind}")}</title></polyline>')
    parts.append(_label(WIDTH - 20, height - 36, x_name, "end"))
    parts.append(_label(70, TOP - 6, f"{y_name} ({', '.join(series)}: solid, dashed)" if len(series) > 1 else y_name))
    kinds = [kind for kind in colours if any(kind in group for group in series.values())]
    return _document(title, height, [*parts, *_legend(kinds, height - 14, colours)])
