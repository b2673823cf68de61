"""What changed in a flag, in words: values, rules, conditions, options."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.flags import difference, load
from gateway.webhooks import describe_flags
from outbound_scene import boolean, config, in_segment, rule, segment


def when(attribute: str, comparator: int, **operand: Any) -> dict[str, Any]:
    return {"u": {"a": attribute, "c": comparator, **operand}}


def where(value: bool, *conditions: dict[str, Any]) -> dict[str, Any]:
    return {"c": list(conditions), "s": {"v": {"b": value}}}


COUNTRIES = where(True, when("Country", 0, l=["DE", "FR"]))
ADULTS = where(False, when("Age", 15, d=18), in_segment(0))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            [ADULTS, COUNTRIES],
            [ADULTS, where(True, when("Country", 0, l=["DE"]))],
            "rule 2: Country is one of DE, FR → DE",
        ),
        ([ADULTS], [COUNTRIES, ADULTS], "rule 1 added: if Country is one of DE, FR, it serves true"),
        (
            [ADULTS, COUNTRIES],
            [COUNTRIES],
            "rule 1 removed: if Age >= 18 and the user is in segment home, it served false",
        ),
        ([COUNTRIES], [where(False, *COUNTRIES["c"])], "rule 1: true → false"),
        (
            [COUNTRIES],
            [where(False, when("Country", 1, l=["DE", "FR"]))],
            "rule 1: Country is one of DE, FR → Country is not one of DE, FR; it serves true → false",
        ),
        (
            [ADULTS],
            [where(False, when("Age", 15, d=21.5))],
            "rule 1: Age >= 18 and the user is in segment home → Age >= 21.5",
        ),
        (
            [where(True, in_segment(0))],
            [where(True, in_segment(0, negated=True))],
            "rule 1: the user is in segment home → the user is not in segment home",
        ),
        (
            [where(True, when("Email", 16, l=["0" * 64]))],
            [where(True, when("Email", 16, l=["0" * 64, "1" * 64]))],
            "rule 1: Email is one of 1 hashed value → 2 hashed values",
        ),
        (
            [where(True, {"p": {"f": "other", "c": 0, "v": {"s": "a"}}})],
            [where(True, {"p": {"f": "other", "c": 0, "v": {"s": "b"}}})],
            "rule 1: flag other is a → b",
        ),
        (
            [where(True, {"u": {"a": "X", "c": 99}})],
            [where(True, {})],
            "rule 1: X comparator 99 → a malformed condition",
        ),
        (
            [where(True, when("Born", 18, d=1_700_000_000.5))],
            [where(True, when("Born", 18, d=1e300))],
            "rule 1: Born before 2023-11-14T22:13:20.500Z → 1e+300",
        ),
        ([{"c": 7}], [{"c": 8}], "rule 1: its definition changed"),
        ([COUNTRIES], [COUNTRIES | {"s": {"v": {"b": True}, "i": "other"}}], "rule 1: its definition changed"),
        (
            [],
            [where(True, when("N", 10, d=number)) for number in range(12)],
            "; ".join(f"rule {number + 1} added: if N = {number}, it serves true" for number in range(10))
            + "; 2 more rules",
        ),
    ],
)
def test_what_changed_in_the_rules(old: list[Any], new: list[Any], text: str) -> None:
    """Rules are found by their content, so an inserted one changes no other; one that differs shows its difference."""
    home = [segment("home", "DE")]
    assert [text] == described(config({"f": boolean(False, *old)}, home), config({"f": boolean(False, *new)}, home))


def test_very_many_rules_are_compared_by_their_numbers() -> None:
    """To align them would take a time that grows with their square."""
    rules = [where(True, when("N", 10, d=number)) for number in range(400)]
    (text,) = described(config({"f": boolean(False, *rules)}), config({"f": boolean(False, *rules[1:])}))
    assert text.startswith("rule 1: N = 0 → 1; rule 2: N = 1 → 2;")
    assert text.endswith("; 390 more rules")


def test_other_parts_of_a_flag() -> None:
    """Default, options, segment, salt; and flags that come and go."""
    home, flag = [segment("home", "DE")], boolean(False, rule(True, in_segment(0)))
    options = boolean(True, p=[{"p": 100, "v": {"b": True}}])
    assert ["false → true; percentage options none → true 100 %"] == described(
        config({"f": boolean(False)}), config({"f": options})
    )
    assert ["still false, a segment that it uses changed"] == described(
        config({"f": flag}, home), config({"f": flag}, [segment("home", "FR")])
    )
    assert ["true", "it was false"] == described(config({"a": boolean(False)}), config({"b": boolean(True)}))


def described(old: Any, new: Any) -> list[str]:
    before, after = (load(json.dumps(each).encode(), "") for each in (old, new))
    return [each.text for each in describe_flags(before, after, difference(before, after))]
