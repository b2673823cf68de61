"""docs/many-nodes.md: the files that it shows are those of the project, its arithmetic is right, its texts exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.settings import load

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/many-nodes.md").read_text("utf-8")
COMPOSE = ROOT / "etc/compose/many-nodes"
PLAN = PAGE.partition("\n## A million streams")[2].partition("\n## ")[0]
NUMBER = r"[\d,]+(?:\.\d+)?"
EQUATION = re.compile(
    rf"({NUMBER}) ?([a-zA-Zµ%]*) ([×÷]) ({NUMBER}) ?([a-zA-Zµ%]*)[^=;,|]{{0,40}} = ({NUMBER}) ?([a-zA-Zµ%]*)"
)
SIZES = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "ms": 1e-3, "µs": 1e-6}


@pytest.mark.parametrize("name", ["compose.yml", "flaggateway.yml", "nginx.conf"])
def test_the_page_shows_the_files(name: str) -> None:
    """Whole, so that they can be copied from it."""
    blocks = re.findall(r"```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert (COMPOSE / name).read_text("utf-8") in blocks
    assert f"etc/compose/many-nodes/{name})" in PAGE


def test_the_settings_are_valid() -> None:
    """With the variables of the compose file."""
    environment = {"CONFIGCAT_SHOP_KEY": "any", "CONFIGCAT_OUTBOX_URL": "postgresql://u:p@postgres:5432/flaggateway"}
    loaded = load((COMPOSE / "flaggateway.yml").read_text("utf-8"), environment)
    assert () == loaded.problems
    assert loaded.settings.cache.redis.enabled


def number(text: str, unit: str) -> float:
    return float(text.replace(",", "")) * SIZES.get(unit, 1.0)


def equations() -> Iterator[tuple[str, float, float]]:
    """Yield each equation of the plan with what it amounts to and what the page has."""
    for found in EQUATION.finditer(PLAN):
        left, left_unit, sign, right, right_unit, result, unit = found.groups()
        one, other = number(left, left_unit), number(right, right_unit)
        yield found[0], one * other if sign == "×" else one / other, number(result, unit)


def test_the_arithmetic_of_the_plan_is_right() -> None:
    """Each equation, within half a percent: results are rounded."""
    found = list(equations())
    assert 25 <= len(found)
    assert [] == [text for text, computed, shown in found if abs(computed - shown) > 0.005 * shown]


def test_the_measured_figures_of_the_plan_are_those_of_the_benchmark() -> None:
    """Those that its table takes from README.md and scale.md of docs/benchmarks; a new run changes both."""
    results = json.loads((ROOT / "docs/benchmarks/results.json").read_text("utf-8"))
    rows = {row["name"]: row["figures"] for row in results["rows"]}
    scale = json.loads((ROOT / "docs/benchmarks/scale.json").read_text("utf-8"))
    (large,) = [step for step in scale["steps"] if step["streams"] == 100_000]
    tenth, everyone = (large["changes"][name]["work"] for name in ("10 % of the users", "all users"))
    wanted = {
        "memory": f"{large['memory']:.3g} KB, {large['kernel']:.3g} KB",
        "idle": f"{large['idle']:.3g} % of a core",
        "change": f"{tenth:,.0f} ms, {everyone:,.0f} ms",
        "opened": f"{large['opening']:.0f} µs",
        "accepted": f"{rows['streams accepted']['2 workers']:,.0f} per second",
        "TLS": f"{rows['TLS: handshakes and streams accepted']['2 workers']:,.0f} per second",
        "memory with TLS": f"{rows['TLS, 2,000 streams: memory each']['2 workers']:.3g} KB",
        "percentage": f"{rows['percentage flag edited: server CPU per user']['2 workers']:.3g} µs",
        "bytes": f"{rows['change for 10 % of users: bytes sent']['baseline']:.3g} MB ÷ 8,000",
    }
    assert {} == {name: text for name, text in wanted.items() if text not in PLAN}


def test_the_texts_of_the_runbook_are_those_of_the_gateway() -> None:
    """What an operator searches for at night is in the code, up to what differs from case to case."""
    code = "".join(path.read_text("utf-8") for path in (ROOT / "gateway").rglob("*.py"))
    plain = re.sub(r'"\s*f?"', "", code)
    missing = []
    for cell in re.findall(r"^\| [^|]+\| ([^|]+)\|", PAGE.partition("## Runbook")[2], re.MULTILINE):
        for text in re.findall(r"`([^`]{20,})`", cell):
            if " " not in text:
                continue  # the name of a field
            parts = [part.strip() for part in re.split(r"…|\(…\)|\bshop\b|\bb\b|\bX\b", text)]
            missing += [part for part in parts if len(part) > 8 and part not in plain]
    assert [] == missing
