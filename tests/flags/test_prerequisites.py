"""Chains of prerequisites: each is evaluated once per user, and only their depth is limited."""

import json
import sys

import pytest

import gateway.flags.compile as compile_module
from gateway.flags import User, explain, find_failing_flags, load
from gateway.flags.result import Result

LIMIT = 50  # docs/compatibility.md


def chain(length, rules=2):
    """Flags k000 (without prerequisites) to k<length-1>; each has ``rules`` rules on the one before it."""

    def flag(number):
        asked = {"p": {"f": f"k{number - 1:03}", "c": 0, "v": {"s": "never"}}}
        rule = {"c": [asked], "s": {"v": {"s": "rule"}}}
        plan = {"c": [{"u": {"a": "Plan", "c": 28, "s": "pro"}}], "s": {"v": {"s": "pro"}}}
        return {"t": 1, "v": {"s": f"value {number}"}, "r": [rule] * rules if number else [plan]}

    return {f"k{number:03}": flag(number) for number in range(length)}


def body(flags):
    return json.dumps({"p": {"s": "salt"}, "f": flags}).encode()


@pytest.fixture
def evaluations(monkeypatch):
    """The users for which a rule of any flag was evaluated, one for each time that a flag was."""
    seen = []
    for name in ("_general", "_single"):
        make = getattr(compile_module, name)

        def counted(*parts, make=make):
            resolve = make(*parts)

            def count(user):
                seen.append(user)
                return resolve(user)

            return count

        monkeypatch.setattr(compile_module, name, counted)
    return seen


def test_ten_flags_with_two_rules_each_on_the_next_have_values():
    """The config of the report: 1,023 possible evaluations, ten flags."""
    snapshot = load(body(chain(10)), "")

    assert [f"value {n}" for n in range(10)] == [snapshot.evaluate(key, User({})).value for key in snapshot.keys]
    assert {} == find_failing_flags(snapshot, None, {})


@pytest.mark.parametrize("user", [User({"Plan": "free"}), User({"Plan": "pro"}), None], ids=["free", "pro", "none"])
def test_the_deepest_chain_has_a_value_and_no_recursion_error(user):
    """At the limit a flag has a value and an explanation, also far down the stack."""
    snapshot = load(body(chain(LIMIT)), "")

    def deeper(levels, call):
        return call() if levels == 0 else deeper(levels - 1, call)

    def all_forms():
        explanation = explain(snapshot, "k049", user)
        json.dumps(explanation.as_dict())
        explanation.text()
        return explanation

    assert 1000 == sys.getrecursionlimit()
    result = deeper(200, lambda: snapshot.evaluate("k049", user))
    assert ("value 49", None) == (result.value, result.error)
    assert "value 49" == deeper(200, all_forms).value
    assert b'"k049":{"value":"value 49"' in snapshot.evaluate_all(user).json()


def test_one_flag_more_fails_with_the_limit_in_its_error():
    """The error of a flag beyond the limit names the limit; flags that have it as a prerequisite fail, too."""
    snapshot = load(body(chain(LIMIT + 2)), "")
    error = "prerequisite flags are nested too deeply: more than 50 flags in a chain"

    assert [None, error, error] == [snapshot.evaluate(key, None).error for key in ("k049", "k050", "k051")]


def test_each_flag_is_evaluated_at_most_a_few_times_per_user(evaluations):
    """The work grows with the number of conditions, not with the number of paths, and starts again for each user."""
    snapshot = load(body(chain(LIMIT, rules=3)), "")
    one, other = User({"Plan": "free"}), User({"Plan": "pro"})

    snapshot.evaluate("k049", one)
    first = len(evaluations)
    snapshot.evaluate_all(one)
    assert first <= len(evaluations) <= 3 * LIMIT * 3
    snapshot.evaluate("k049", other)
    assert len([user for user in evaluations if user is other]) == first


def test_results_follow_the_user_and_the_config():
    """A result that was kept for one user or one config is not served to another."""
    old = load(body(chain(12)), "")
    flags = chain(12)
    flags["k000"]["v"] = {"s": "never"}
    new = load(body(flags), "", old)
    free, pro = User({"Plan": "free"}), User({"Plan": "pro"})

    got = [snapshot.evaluate("k001", user).value for user in (free, pro, None, free) for snapshot in (old, new)]
    assert ["value 1", "rule"] == got[:2]
    assert ["value 1", "value 1", "value 1", "rule"] == got[2:6]
    assert got[:2] == got[6:]
    assert [new.evaluate(key, free) for key in new.keys] == list(_in_order(new, free))


def _in_order(snapshot, user) -> list[Result]:
    found = {result.key: result for result in snapshot.evaluate_all(user).results()}
    return [found[key] for key in snapshot.keys]


def test_a_shared_prerequisite_is_explained_once():
    """The explanation has the steps of each prerequisite once, and later only its result."""
    lines = explain(load(body(chain(LIMIT)), ""), "k049", User({})).text().splitlines()

    assert 1 == len([line for line in lines if "User.Plan" in line])
    assert any(line.endswith("(explained above)") for line in lines)
    assert len(lines) < 10 * LIMIT
