"""The test matrices: configs and users by kind, with the result of every flag for every user.

The folder ``tests/e2e/matrices`` has one JSON file per kind. ``results`` has one line per user with the variation IDs
of the flags in order; the value belongs to the variation ID, which is unique within a flag. They are results of the
official Go SDK, which the gateway follows. ``differing`` lists the cells in which another SDK has another result.

``python tests/support/matrix.py`` writes the files again; it needs all three SDKs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs

from matrix_kinds import Json, Users, build
from official_sdks import Answer, OfficialSdk, available_sdks

FOLDER = Path(__file__).resolve().parent.parent / "e2e" / "matrices"
FAILED = "!"  # in place of the variation ID of a flag that fails

Differing = dict[str, dict[str, list[int]]]  # numbers of users, by the name of the SDK and the key of the flag


@attrs.frozen
class Cell:
    """One flag for one user and its right result; ``matched`` if a rule or a percentage option decides."""

    key: str
    user: Json | None
    value: Any
    variation_id: str
    matched: bool


@attrs.frozen
class Matrix:
    """A config, users, and the results."""

    name: str
    config: Json
    users: Users
    results: tuple[tuple[str, ...], ...]
    differing: Differing

    @property
    def keys(self) -> list[str]:
        """The keys of the flags in the order of the columns."""
        return list(self.config["f"])

    def cells(self) -> Iterator[list[Cell]]:
        """Yield the cells of each user."""
        columns = [(key, _values(flag), flag["i"]) for key, flag in self.config["f"].items()]
        for user, row in zip(self.users, self.results, strict=True):
            yield [
                Cell(key, user, values[found], found, found != default)
                for (key, values, default), found in zip(columns, row, strict=True)
            ]

    def text(self) -> str:
        """Return the content of the file."""
        parts = {
            "config": _text(self.config),
            "users": _lines(map(_text, self.users)),
            "results": _lines(_text(" ".join(row)) for row in self.results),
            "differing": _text(self.differing),
        }
        return "{\n" + ",\n".join(f'"{name}": {part}' for name, part in parts.items()) + "\n}\n"


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _lines(items: Iterator[str]) -> str:
    return "[\n" + ",\n".join(items) + "\n]"


def _values(flag: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a flag by variation ID."""
    served = [flag, *flag.get("p", ())]
    for rule in flag["r"]:
        served += rule.get("p", ()) or [rule["s"]]
    return {each["i"]: next(iter(each["v"].values())) for each in served}


def read(name: str) -> Matrix:
    """Return a stored matrix."""
    stored = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    results = tuple(tuple(row.split(" ")) for row in stored["results"])
    return Matrix(name, stored["config"], stored["users"], results, stored["differing"])


def names() -> list[str]:
    """Return the names of the stored matrices."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def variations(sdk: OfficialSdk, config: Json, users: Users) -> list[dict[str, str]]:
    """Return the variation ID of every flag for each user, according to an official SDK."""
    flags = config["f"]
    values = {key: _values(flag) for key, flag in flags.items()}
    return [
        {key: _variation(found[key], values[key], flags[key]["i"]) for key in flags}
        for found in sdk.evaluate(config, users)
    ]


def _variation(answer: Answer, values: Mapping[str, Any], default: str) -> str:
    if answer.error is not None:
        return FAILED
    assert values[answer.variation_id] == answer.value
    assert answer.matched == (answer.variation_id != default)
    return answer.variation_id


def differing(
    config: Json, results: Sequence[Sequence[str]], found: Sequence[Mapping[str, str]]
) -> dict[str, list[int]]:
    """Return the numbers of the users for which the results of an SDK differ, by the key of the flag."""
    cells: dict[str, list[int]] = {}
    for number, (row, mine) in enumerate(zip(results, found, strict=True)):
        for key, variation in zip(config["f"], row, strict=True):
            if mine[key] != variation:
                cells.setdefault(key, []).append(number)
    return cells


def main() -> None:
    """Write all files."""
    sdks, lacking = available_sdks()
    assert not lacking, lacking
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        go, *others = [stack.enter_context(sdk) for sdk in sdks]
        for name, (config, users) in build().items():
            rows = variations(go, config, users)
            results = tuple(tuple(row[key] for key in config["f"]) for row in rows)
            unequal = {sdk.name: differing(config, results, variations(sdk, config, users)) for sdk in others}
            matrix = Matrix(name, config, users, results, unequal)
            (FOLDER / f"{name}.json").write_text(matrix.text(), "utf-8")
            counts = {sdk: sum(map(len, cells.values())) for sdk, cells in unequal.items()}
            print(f"{name}: {len(users) * len(matrix.keys)} cells, differing in other SDKs: {counts}")


if __name__ == "__main__":
    main()
