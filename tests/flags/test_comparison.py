"""The first decision that differs between two explanations."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given

from gateway import flags
from gateway.flags import User, first_difference
from gateway.testing import strategies


def served(value: str) -> dict[str, Any]:
    return {"s": {"v": {"s": value}}}


def country(*names: str) -> dict[str, Any]:
    return {"c": [{"u": {"a": "Country", "c": 0, "l": list(names)}}]}


FLAG = {"t": 1, "v": {"s": "default"}, "r": [country("DE") | served("german"), country("FR", "BE") | served("french")]}
HALF = [{"p": 50, "v": {"s": "a"}}, {"p": 50, "v": {"s": "b"}}]
DEPENDENT = {
    "t": 1,
    "v": {"s": "off"},
    "r": [{"c": [{"p": {"f": "flag", "c": 0, "v": {"s": "german"}}}], **served("on")}],
}


def config(**more: Any) -> flags.Snapshot:
    """Return a config with the flag ``flag`` and others."""
    return flags.load(json.dumps({"f": {"flag": FLAG} | more}).encode(), "")


def difference(key: str, one: Any, other: Any, *configs: flags.Snapshot) -> tuple[Any, ...] | None:
    """Return the difference for two users, of one config or two, as a tuple."""
    first, second = configs[0], configs[-1]
    found = first_difference(flags.explain(first, key, User(one)), flags.explain(second, key, User(other)))
    return None if found is None else (found.place, found.first, found.second)


def test_the_condition_that_parts_two_users() -> None:
    """The earliest one, with the attribute of each."""
    assert None is difference("flag", {"Country": "FR"}, {"Country": "BE"}, config())
    assert (
        ("rule 2", "condition 1"),
        "User.Country IS ONE OF ['FR', 'BE'] → false (it is 'US')",
        "User.Country IS ONE OF ['FR', 'BE'] → true (it is 'FR')",
    ) == difference("flag", {"Country": "US"}, {"Country": "FR"}, config())
    place, first, second = difference("flag", {"Country": "DE"}, {}, config())
    assert (("rule 1", "condition 1"), True, True) == (place, "→ true" in first, "→ skipped" in second)


def test_the_decision_inside_a_prerequisite_comes_first() -> None:
    """The condition on the prerequisite differs only because of it."""
    place, _, _ = difference("dependent", {"Country": "DE"}, {"Country": "FR"}, config(dependent=DEPENDENT))
    assert ("rule 1", "condition 1", "flag 'flag'", "rule 1", "condition 1") == place


def test_percentage_options_part_users_of_different_options_only() -> None:
    """The bucket alone is no difference."""
    snapshot = config(half={"t": 1, "v": {"s": "x"}, "p": HALF})
    by_value: dict[object, list[dict[str, str]]] = {}
    for number in range(20):
        user = {"Identifier": str(number)}
        by_value.setdefault(snapshot.evaluate("half", User(user)).value, []).append(user)
    assert None is difference("half", *by_value["a"][:2], snapshot)
    place, first, second = difference("half", by_value["a"][0], by_value["b"][0], snapshot)
    assert (("percentage options",), '50% [0, 50): "a"', '50% [50, 100): "b"') == (
        place,
        first[first.index("50% [") :],
        second[second.index("50% [") :],
    )


def test_two_configs() -> None:
    """A changed rule is a difference even if both serve the same value; a rule that one lacks is shown as None."""
    changed = FLAG | {"r": [country("DE", "AT") | served("german"), FLAG["r"][1]]}
    german = {"Country": "DE"}
    place, first, second = difference("flag", german, german, config(), config(flag=changed))
    assert (("rule 1", "condition 1"), True, True) == (place, "['DE']" in first, "['DE', 'AT']" in second)
    fewer = FLAG | {"r": []}
    place, first, second = difference("flag", german, german, config(), config(flag=fewer))
    assert (("rule 1", "condition 1"), True) == (place, "value: flag" in second)


@given(case=strategies.cases())
def test_users_with_different_results_part_somewhere(case: strategies.Case) -> None:
    """No difference means the same result, for any config; one that exists has a place and two sides."""
    snapshot = flags.load(case.body, "")
    users = [*case.users, None]
    for one, other in pairwise(users):
        for key in snapshot.keys:
            found = first_difference(flags.explain(snapshot, key, one), flags.explain(snapshot, key, other))
            if found is None:
                assert snapshot.evaluate(key, one).json == snapshot.evaluate(key, other).json
            else:
                assert found.place
