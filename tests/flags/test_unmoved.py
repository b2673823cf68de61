"""Who gets the very same from two versions of a flag, seen without working both out where that can be done."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.flags import Snapshot, User, load, unchanged_test

EVERYBODY = [User({}), *[User({"Identifier": f"u{n}", "Email": f"e{n}"}) for n in range(200)]]


def share(*percents: int, attribute: str = "Identifier", served: tuple[bool, ...] = (True, False)) -> dict[str, Any]:
    """A flag of percentage options."""
    options = [
        {"p": percent, "v": {"b": value}, "i": str(value)} for percent, value in zip(percents, served, strict=False)
    ]
    return {"t": 0, "v": {"b": False}, "i": "none", "p": options, "a": attribute}


def versions(old: dict[str, Any], new: dict[str, Any]) -> tuple[Snapshot, Snapshot]:
    """One flag in two configs that follow each other."""
    first = load(json.dumps({"f": {"flag": old}}).encode(), "1")
    return first, load(json.dumps({"f": {"flag": new}}).encode(), "2", first)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (share(10, 90), share(20, 80)),
        (share(10, 90), share(10, 20)),
        (share(10, 20), share(10, 20) | {"v": {"b": True}, "i": "other"}),
        (share(50, 50), share(50, 50, attribute="Email")),
        (share(50, 50, attribute="Email"), share(40, 60, attribute="Email")),
        (share(50, 50), {"t": 0, "v": {"b": False}, "i": "none"}),
        ({"t": 0, "v": {"b": True}, "i": "True"}, share(50, 50)),
    ],
)
def test_it_agrees_with_working_out_both(old: dict[str, Any], new: dict[str, Any]) -> None:
    """For everybody, those without the attribute included; some are moved and some are not, where that can be."""
    before, after = versions(old, new)
    same = unchanged_test(before.flags["flag"], after.flags["flag"])
    expected = [before.evaluate("flag", user) is after.evaluate("flag", user) for user in EVERYBODY]
    assert expected == [same(user) for user in EVERYBODY]
    assert False in expected
