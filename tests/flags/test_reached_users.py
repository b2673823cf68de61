"""Which users a change can concern: the texts of attributes that name them, and no user is missed."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.flags import ConfigError, Snapshot, User, difference, load, reach, reached_users
from gateway.testing import strategies
from gateway.testing.damage import damaged

ON = {"v": {"b": True}, "i": "on"}
OFF = {"t": 0, "v": {"b": False}, "i": "off"}
STAFF = {"n": "staff", "r": [{"a": "Email", "c": 0, "l": ["a@x", "b@x"]}]}


def is_one_of(*texts: str, attribute: str = "Identifier", negated: bool = False) -> dict[str, Any]:
    """A condition on whole texts."""
    return {"u": {"a": attribute, "c": int(negated), "l": list(texts)}}


def rule(*conditions: dict[str, Any], served: Any = ON) -> dict[str, Any]:
    return {"c": list(conditions), "s": served}


IN_STAFF = {"s": {"s": 0, "c": 0}}
NOT_IN_STAFF = {"s": {"s": 0, "c": 1}}
VERSION = {"u": {"a": "Version", "c": 6, "s": "2.0.0"}}
HASHED = {"u": {"a": "Email", "c": 16, "l": ["00" * 32]}}
BROKEN = {"u": {"a": "Email", "c": 2}}
ASKS_BASE = {"p": {"f": "base", "c": 0, "v": {"b": True}}}
ELSE = rule(is_one_of("Z", attribute="Country"), served={"v": {"b": True}, "i": "else"})


def config(*rules: dict[str, Any], segment: dict[str, Any] = STAFF, **more: Any) -> dict[str, Any]:
    """A config with one flag of these rules, and one that needs it."""
    flags = {"base": {**OFF, "r": list(rules)}, "asks": {**OFF, "r": [rule(ASKS_BASE)]}}
    return {"p": {"s": "salt"}, "s": [segment], "f": {**flags, **more}}


def snapshots(old: dict[str, Any], new: dict[str, Any]) -> tuple[Snapshot, Snapshot]:
    first = load(json.dumps(old).encode(), "1")
    return first, load(json.dumps(new).encode(), "2", first)


def reached(old: dict[str, Any], new: dict[str, Any]) -> dict[str, set[str]] | None:
    first, second = snapshots(old, new)
    found = reach(first, second, difference(first, second))
    return None if found is None else {name: set(texts) for name, texts in found.items()}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(config(ELSE), config(rule(is_one_of("a", "b")), ELSE), {"Identifier": {"a", "b"}}, id="new rule"),
        pytest.param(config(rule(is_one_of("a")), ELSE), config(ELSE), {"Identifier": {"a"}}, id="rule removed"),
        pytest.param(
            config(rule(is_one_of("a", "b"))), config(rule(is_one_of("b", "c"))), {"Identifier": {"a", "c"}},
            id="edited",
        ),
        pytest.param(
            config(rule(is_one_of("a", "b", negated=True))),
            config(rule(is_one_of("b", negated=True))),
            {"Identifier": {"a"}},
            id="negated, edited",
        ),
        pytest.param(
            config(rule(is_one_of("a", "b"))), config(rule(is_one_of("a", "b"), served=OFF)),
            {"Identifier": {"a", "b"}},
            id="other value served",
        ),
        pytest.param(
            config(rule(VERSION, is_one_of("a")), ELSE), config(ELSE), {"Identifier": {"a"}}, id="second condition"
        ),
        pytest.param(
            config(rule({"u": {"a": "Plan", "c": 28, "s": "pro"}})), config(), {"Plan": {"pro"}}, id="equals"
        ),
        pytest.param(config(rule(IN_STAFF)), config(), {"Email": {"a@x", "b@x"}}, id="segment"),
        pytest.param(
            config(rule(NOT_IN_STAFF)),
            config(rule(NOT_IN_STAFF), segment=STAFF | {"r": [{"a": "Email", "c": 0, "l": ["a@x"]}]}),
            {"Email": {"b@x"}},
            id="segment edited, used negated",
        ),
        pytest.param(
            config(rule(is_one_of("a")), rule(HASHED), ELSE),
            config(rule(is_one_of("b")), rule(HASHED), rule(is_one_of("Y", attribute="Country"))),
            {"Identifier": {"a", "b"}, "Country": {"Y", "Z"}},
            id="two edits, one with another value served",
        ),
        pytest.param(
            config(rule(is_one_of("a")), rule(HASHED)),
            config(rule(is_one_of("b")), rule(HASHED), rule(is_one_of("Y", attribute="Country"))),
            None,
            id="a rule in between that any user may match",
        ),
        pytest.param(
            config(rule(is_one_of("a"), is_one_of("Y", attribute="Country"))),
            config(rule(is_one_of("b"), is_one_of("Z", attribute="Country"))),
            {"Identifier": {"a", "b"}, "Country": {"Y", "Z"}},
            id="two attributes",
        ),
        pytest.param(config(rule(HASHED)), config(rule(HASHED, served=OFF)), None, id="hashed"),
        pytest.param(config(rule(is_one_of("a", negated=True))), config(), None, id="negated, removed"),
        pytest.param(config(rule(NOT_IN_STAFF)), config(), None, id="not in a segment, removed"),
        pytest.param(config(rule(IN_STAFF)), config(rule(NOT_IN_STAFF)), None, id="a condition on a segment negated"),
        pytest.param(
            config(rule(is_one_of("a"))), config(rule(is_one_of("a", negated=True))), None, id="a condition negated"
        ),
        pytest.param(config(rule(BROKEN, is_one_of("a"))), config(), None, id="an earlier condition fails"),
        pytest.param(config(rule(ASKS_BASE, is_one_of("a"))), config(), None, id="a circle"),
        pytest.param(config(), config() | {"p": {"s": "pepper"}, "f": config(rule(HASHED))["f"]}, None, id="salt"),
        pytest.param(config(), config(added=OFF), None, id="flag added"),
        pytest.param(config(added=OFF), config(), None, id="flag removed"),
        pytest.param(config(), config(base=OFF | {"v": {"b": True}}), None, id="default value"),
        pytest.param(config(), config(), {}, id="no change"),
    ],
)  # fmt: skip
def test_a_change_concerns_the_users_that_its_rules_name(
    old: dict[str, Any], new: dict[str, Any], expected: dict[str, set[str]] | None
) -> None:
    """The texts by attribute, also of a flag that needs the edited one; None where any user may be concerned."""
    assert reached(old, new) == expected
    if expected is not None:
        assert reached(new, old) == expected


def test_long_definitions_and_many_flags_concern_any_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bounds nothing is decoded and compared."""
    edit = config(rule(is_one_of("a"))), config(rule(is_one_of("b")))
    monkeypatch.setattr(reached_users, "DEFINITION_BYTES", 10)
    assert reached(*edit) is None
    monkeypatch.undo()
    monkeypatch.setattr(reached_users, "FLAGS_COMPARED", 0)
    assert reached(*edit) is None


# Every user that is missed would have the Results of before

TEXTS = ("a", "b", "c", "1", '["a"]')
PEOPLE = [
    User({name: value for name, value in zip(("Identifier", "Country"), pair, strict=True) if value is not None})
    for pair in [(i, c) for i in (*TEXTS, 1.0, ("a",), None) for c in ("a", "b", ("a",), None)]
]
texts = st.lists(st.sampled_from(TEXTS), max_size=3, unique=True)
user_conditions = st.one_of(
    st.builds(
        lambda name, comparator, operand: {"a": name, "c": comparator, "l": operand},
        st.sampled_from(["Identifier", "Country"]),
        st.sampled_from([0, 0, 0, 1, 2, 30, 34, 16]),
        texts,
    ),
    st.builds(
        lambda name, comparator, operand: {"a": name, "c": comparator, "s": operand},
        st.sampled_from(["Identifier", "Country"]),
        st.sampled_from([28, 29, 6]),
        st.sampled_from(TEXTS),
    ),
    st.just({"a": "Identifier", "c": 0}),
)
conditions = st.one_of(
    user_conditions.map(lambda condition: {"u": condition}),
    st.builds(lambda index, negated: {"s": {"s": index, "c": negated}}, st.integers(0, 2), st.integers(0, 1)),
    st.builds(
        lambda key, negated, value: {"p": {"f": key, "c": negated, "v": {"b": value}}},
        st.sampled_from(["f0", "f1", "f2"]),
        st.integers(0, 1),
        st.booleans(),
    ),
)
rules = st.builds(
    lambda found, value: {"c": found, "s": {"v": {"b": value}, "i": str(value)}},
    st.lists(conditions, min_size=1, max_size=2),
    st.booleans(),
)
flags = st.lists(rules, max_size=3).map(lambda found: {**OFF, "r": found})
segments = st.lists(user_conditions, min_size=1, max_size=2)


@st.composite
def edits(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A config and an edited copy of it."""
    old = {
        "p": {"s": "salt"},
        "s": [{"n": f"s{index}", "r": draw(segments)} for index in range(2)],
        "f": {f"f{index}": draw(flags) for index in range(3)},
    }
    new = copy.deepcopy(old)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(["rule", "rule", "condition", "condition", "segment", "added", "removed"]))
        found = new["f"][draw(st.sampled_from(sorted(new["f"])))]["r"]
        index = draw(st.integers(0, max(0, len(found) - 1)))
        if place == "segment":
            new["s"][draw(st.integers(0, 1))]["r"] = draw(segments)
        elif place == "added" or not found:
            found.insert(index, draw(rules))
        elif place == "removed":
            del found[index]
        elif place == "rule":
            found[index] = draw(rules)
        else:
            found[index]["c"][0] = draw(conditions)
    return old, new


def check(first: Snapshot, second: Snapshot, people: list[User]) -> int:
    """Compare the Results of all users that the change does not concern; return how many there are."""
    found = reach(first, second, difference(first, second))
    if found is None:
        return 0
    others = [
        user
        for user in (None, *people)
        if user is None or not any(user.text.get(name) in texts for name, texts in found.items())
    ]
    for user in others:
        for key in second.flags:
            assert first.evaluate(key, user).ofrep == second.evaluate(key, user).ofrep, (key, user and user.values)
    return len(others)


def test_no_concerned_user_is_missed() -> None:
    """Users with none of the texts have the same Results after random edits; many of these edits name few users."""
    named = 0

    @given(edit=edits())
    def compare(edit: tuple[dict[str, Any], dict[str, Any]]) -> None:
        nonlocal named
        first, second = snapshots(*edit)
        named += check(first, second, PEOPLE) > 1 and bool(difference(first, second).updated)

    compare()
    assert named >= 5


@settings(max_examples=20)
@given(data=st.data())
def test_no_concerned_user_is_missed_in_unusual_configs(data: st.DataObject) -> None:
    """The same with every comparator, percentages and damaged definitions."""
    case = data.draw(strategies.cases())
    try:
        first = load(case.body, "1")
        second = load(json.dumps(data.draw(damaged(case.config))).encode(), "2", first)
    except ConfigError:
        return
    check(first, second, list(case.users))
