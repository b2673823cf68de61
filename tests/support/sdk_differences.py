"""Where an official SDK differs from the gateway on purpose: named exclusions, with which a comparison may fail.

An exclusion is applied only to a cell that does differ. docs/compatibility.md lists the differences for users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from gateway.flags import Result, User
from official_sdks import Answer

NUMERIC = {*range(10, 16), 18, 19}
TEXTUAL = {0, 1, 2, 3, 16, 17, *range(20, 26), *range(28, 34)}
LISTS = {26, 27, 34, 35}


@attrs.frozen
class Cell:
    """One flag and one user: the gateway's result and the one of an SDK."""

    config: dict[str, Any]
    key: str
    user: User | None
    ours: Result
    theirs: Answer

    @property
    def agrees(self) -> bool:
        """Value, variation ID and reason are equal, or both fail."""
        ours, theirs = self.ours, self.theirs
        if ours.error is not None or theirs.error is not None:
            return (ours.error is None) == (theirs.error is None)
        same_kind = isinstance(ours.value, bool) == isinstance(theirs.value, bool)
        mine = (ours.value, ours.variation_id, ours.matched)
        return same_kind and mine == (theirs.value, theirs.variation_id, theirs.matched)

    def flags(self) -> Iterator[dict[str, Any]]:
        """Yield the flag and those that it depends on."""
        seen, waiting = set(), [self.key]
        while waiting:
            key = waiting.pop()
            if key not in seen and key in self.config["f"]:
                seen.add(key)
                flag = self.config["f"][key]
                yield flag
                for rule in flag.get("r", []):
                    waiting += [condition["p"]["f"] for condition in rule["c"] if "p" in condition]

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """Every user condition that can take part, those of segments and prerequisites included."""
        found = [condition for segment in self.config["s"] for condition in segment["r"]]
        for flag in self.flags():
            for rule in flag.get("r", []):
                found += [condition["u"] for condition in rule["c"] if "u" in condition]
        return found

    def read(self) -> list[tuple[int, object]]:
        """Comparator and attribute value of every condition whose attribute the user has."""
        mine = self.user.attributes if self.user else {}
        return [(c["c"], mine[c["a"]]) for c in self.conditions if c["a"] in mine]

    def as_text(self) -> Iterator[object]:
        """Yield the attribute values that are compared or hashed as text."""
        yield from (value for comparator, value in self.read() if comparator in TEXTUAL)
        names = {flag.get("a", "Identifier") for flag in self.config["f"].values()}
        yield from (value for name, value in (self.user.attributes if self.user else {}).items() if name in names)


def number_text(cell: Cell) -> bool:
    """Numbers as text: the Go SDK keeps 16 significant digits, the Python SDK up to 17."""
    return any(isinstance(v, float) and f"{v:.16g}" != _python_number(v) for v in cell.as_text())


def _python_number(number: float) -> str:
    text = str(number)
    return str(int(number)) if "e" not in text and number.is_integer() else text


def number_text_of_javascript(cell: Cell) -> bool:
    """Numbers as text: JavaScript keeps up to 17 digits, and has no exponent between 1e-6 and 1e21."""
    values = [v for v in cell.as_text() if isinstance(v, float)]
    return any(f"{v:.16g}" != f"{v:.17g}" or abs(v) >= 1e16 or 0 < abs(v) < 1e-4 for v in values)


def empty_text(cell: Cell) -> bool:
    """An empty attribute is missing for the Python and JavaScript SDKs and a value like any other for the Go SDK."""
    return any(value == "" for _, value in cell.read())


def list_for_number(cell: Cell) -> bool:
    """A list where a number is needed: the Python SDK fails, the Go SDK skips the rule."""
    return any(comparator in NUMERIC and isinstance(value, tuple) for comparator, value in cell.read())


def number_form(cell: Cell) -> bool:
    """Texts that only some of the languages read as a number."""
    return any(c in NUMERIC and v in {"1e400", "0x1p4", "1_000", "\u2028"} for c, v in cell.read())


def list_form(cell: Cell) -> bool:
    """JSON with null for a list or an item of it, and U+2028 in a list that is used as text."""
    odd = {"null", '["x",null]'}
    return any((c in LISTS and v in odd) or (isinstance(v, tuple) and "\u2028" in str(v)) for c, v in cell.read())


def unreached_circle(cell: Cell) -> bool:
    """A circle of prerequisites fails the flag in the Go SDK, and in others only when a rule gets there."""
    return (cell.ours.error or "").startswith("circular dependency") and cell.theirs.error is None


def unserved_value(cell: Cell) -> bool:
    """The Python SDK checks the type of a value before it checks whether the rule serves it."""
    return "is not of the expected type" in (cell.theirs.error or "")


def wrong_type(cell: Cell) -> bool:
    """The Go SDK serves a value of another type than the setting's; the gateway fails the flag."""
    return "is not of the expected type" in (cell.ours.error or "")


def missing_operand(cell: Cell) -> bool:
    """Without a comparison value Go fails for all users, and others only for users with the attribute, or never."""
    return any(not {"l", "s", "d"} & condition.keys() for condition in cell.conditions)


def unknown_comparator(cell: Cell) -> bool:
    """A comparator that no version defines fails in the JavaScript SDK only for users with the attribute."""
    return any(condition["c"] == 36 for condition in cell.conditions)


def malformed_version_in_segment(cell: Cell) -> bool:
    """A malformed comparison version: Go skips the rule, JavaScript reads it as "not in the segment"."""
    malformed = {"", "nonsense", "1.2", "01.2.3"}
    conditions = [c for segment in cell.config["s"] for c in segment["r"] if c["c"] in range(4, 10)]
    return any(malformed & {c.get("s"), *c.get("l", ())} for c in conditions)


def empty_versions(cell: Cell) -> bool:
    """A list of blank versions: Python does not look at the user's version then, Go does."""
    return any(c["c"] in {4, 5} and not any(v.strip() for v in c.get("l", ())) for c in cell.conditions)


def shares_below_100(cell: Cell) -> bool:
    """Percentage options that do not cover the user fail the flag in the JavaScript SDK."""
    return "Sum of percentage option" in (cell.theirs.error or "")


Exclusion = Callable[[Cell], bool]
EXCLUSIONS: dict[str, tuple[Exclusion, ...]] = {
    "go": (wrong_type,),
    "javascript": (
        shares_below_100,
        number_text_of_javascript,
        empty_text,
        number_form,
        list_form,
        unreached_circle,
        missing_operand,
        unknown_comparator,
        malformed_version_in_segment,
    ),
    "python": (
        number_text,
        empty_text,
        list_for_number,
        number_form,
        list_form,
        unreached_circle,
        unserved_value,
        missing_operand,
        empty_versions,
    ),
}
