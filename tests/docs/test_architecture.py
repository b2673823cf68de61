"""docs/architecture.md names modules and rooms that exist, and rows that the import rules have."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8")
GATEWAY = ROOT / "gateway"


def test_every_named_module_exists():
    """Each path such as `web/answers/api.py` is a module of the gateway."""
    named = re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)*\.py)`", PAGE)
    assert len(named) > 50
    assert [] == [name for name in named if not (GATEWAY / name).is_file()]


def test_the_table_has_every_room_in_the_row_of_the_import_rules():
    """Rooms of one layer are in one row, and a higher layer has a higher number."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(rule["layers"] for rule in rules if rule["type"] == "layers")
    rows: dict[str, set[str]] = {}
    for number, names in re.findall(r"^\| (\d+) \| (.+?) \|", PAGE, re.MULTILINE):
        rows.setdefault(number, set()).update(name.removesuffix(".py") for name in re.findall(r"`([a-z_.]+)`", names))
    shown = [rows[number] for number in sorted(rows, key=int, reverse=True)]
    assert shown == [set(re.split(r"\s*[|:]\s*", layer)) for layer in layers]


def test_every_room_is_in_the_table():
    """No room, and no module beside the rooms, is missing."""
    present = {path.name for path in GATEWAY.iterdir() if (path / "__init__.py").is_file()}
    present |= {path.name for path in GATEWAY.glob("*.py")} - {"__init__.py"}
    table = PAGE.partition("## Rooms")[2].partition("## Journey")[0]
    assert present == {name for name in re.findall(r"`([a-z_.]+)`", table) if name in present}
