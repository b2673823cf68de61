"""What an explanation says, and that it agrees with evaluation."""

import json
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluate_each import evaluate_each
from gateway.flags import ConfigError, User, explain, load
from gateway.testing import strategies
from gateway.testing.damage import damaged

ON = {"v": {"b": True}, "i": "on"}
OFF = {"t": 0, "v": {"b": False}, "i": "off"}
ANNA = User({"Identifier": "anna", "Email": "anna@example.com", "Age": 42.0})


def user(name, comparator, **operand):
    return {"u": {"a": name, "c": comparator, **operand}}


def rule(*conditions, **rest):
    return {"c": list(conditions), **(rest or {"s": ON})}


def text(flag, who=ANNA, segments=(), **others):
    raw = json.dumps({"p": {"s": "salt"}, "s": list(segments), "f": {"flag": flag, **others}}).encode()
    return explain(load(raw, "e"), "flag", who).text()


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_it_agrees_with_evaluation(data):
    """The explanation's outcome is the evaluation's, and exactly one thing is marked as deciding it."""
    case = data.draw(strategies.cases())
    config = data.draw(st.just(case.config) | damaged(case.config))
    try:
        snapshot = load(json.dumps(config).encode(), "e")
    except ConfigError:
        return
    for who in (*case.users, None):
        for result in evaluate_each(snapshot, who):
            found = explain(snapshot, result.key, who)
            assert (result.key, result.value, result.variation_id, result.matched, result.error) == (
                found.key,
                found.value,
                found.variation_id,
                found.matched,
                found.error,
            )
            assert type(result.value) is type(found.value)
            assert found.as_dict() == json.loads(json.dumps(found.as_dict()))
            if found.error is None:
                assert 1 == marks(found)


def marks(found):
    """How many lines of the flag itself (not of a prerequisite) are marked."""
    rules = sum(note.decided and note.percentage is None for note in found.rules)
    percentages = [note.percentage for note in found.rules if note.percentage] + [found.percentage]
    options = sum(option.decided for note in percentages if note for option in note.options)
    default = found.decided_by == "default value"
    return rules + options + default


def test_a_rule_decides():
    """The deciding rule is marked, what came before says why not, what comes after was not reached."""
    flag = {
        **OFF,
        "r": [
            rule(user("Email", 0, l=["bob@example.com"]), user("Age", 14, d=18)),
            rule(user("Country", 28, s="HU")),
            rule(user("Age", 14, d=18), user("Email", 2, l=["@example.com"])),
            rule(),
        ],
    }

    assert text(flag) == (
        "flag = true (variation 'on'), decided by rule 3\n"
        "  rule 1, serving true (variation 'on') → no match\n"
        "    User.Email IS ONE OF ['bob@example.com'] → false (it is 'anna@example.com')\n"
        "    User.Age > 18 → not reached (it is '42'; an earlier condition decides)\n"
        "  rule 2, serving true (variation 'on') → skipped\n"
        "    User.Country EQUALS 'HU' → skipped (the attribute is missing)\n"
        "  rule 3, serving true (variation 'on') → its conditions hold  ◄ decides\n"
        "    User.Age > 18 → true (it is '42')\n"
        "    User.Email CONTAINS ANY OF ['@example.com'] → true (it is 'anna@example.com')\n"
        "  rule 4, serving true (variation 'on') → not reached (an earlier rule decides)\n"
        "  default false (variation 'off')"
    )


def test_percentages_decide():
    """Bucket, shares and the chosen option are shown; options that were skipped say why."""
    options = [{"p": 30, "v": {"b": True}, "i": "a"}, {"p": 30, "v": {"b": False}}]
    flag = {**OFF, "r": [rule(user("Age", 10, d=42), p=options)], "p": options, "a": "Plan"}

    assert "percentage options by User.Plan (the attribute is missing)" in text(flag)
    assert "percentage options by User.Plan (there is no user)" in text(flag, None)
    assert "bucket 73 (no option covers it)" in text(flag, User({"Plan": "gold", "Age": 42.0}))
    chosen = text(flag, User({"Plan": "team", "Age": 42.0}))
    assert "decided by rule 1, option 2" in chosen
    assert "bucket 54\n      30% [0, 30): true (variation 'a')\n      30% [30, 60): false  ◄ decides" in chosen
    assert "decided by option 1" in text(flag, User({"Plan": "pro"}))


def test_a_segment_decides():
    """A segment shows its conditions as far as they were asked."""
    segments = [
        {"n": "beta", "r": [{"a": "Email", "c": 2, "l": ["@x"]}, {"a": "Age", "c": 14, "d": 1}]},
        {"n": "bad", "r": [5]},
    ]
    inside = text({**OFF, "r": [rule({"s": {"s": 0, "c": 1}})]}, segments=segments)

    assert "User IS NOT IN SEGMENT 'beta' → true\n      User.Email CONTAINS ANY OF ['@x'] → false" in inside
    assert "User.Age" not in inside
    missing = text({**OFF, "r": [rule({"s": {"s": 0, "c": 0}})]}, User({}), segments=segments)
    assert "IS IN SEGMENT 'beta' → skipped (the attribute is missing)" in missing
    assert "number 7 → failed (segment reference is invalid)" in text({**OFF, "r": [rule({"s": {"s": 7, "c": 0}})]})
    broken = text({**OFF, "r": [rule({"s": {"s": 1, "c": 0}})]}, segments=segments)
    assert "malformed condition → failed (the user condition is not an object)" in broken


def test_a_prerequisite_decides():
    """A prerequisite is explained in full where it was asked, and not where it was not reached."""
    asks = {"p": {"f": "other", "c": 0, "v": {"b": True}}}
    other = {**OFF, "r": [rule(user("Age", 10, d=42))]}

    found = text({**OFF, "r": [rule(asks)]}, other=other)
    assert "Flag 'other' EQUALS True → true\n      other = true (variation 'on'), decided by rule 1" in found
    unreached = text({**OFF, "r": [rule(user("Age", 10, d=1), asks)]}, other=other)
    assert "Flag 'other' EQUALS True → not reached" in unreached
    assert "other = " not in unreached
    gone = text({**OFF, "r": [rule({"p": {"f": "gone", "c": 1}})]})
    assert "Flag 'gone' DOES NOT EQUAL nothing → failed (prerequisite 'gone' not found)" in gone
    assert gone.startswith("flag has no value: prerequisite 'gone' not found")
    circle = text({**OFF, "r": [rule({"p": {"f": "flag", "c": 0}})]})
    assert "flag has no value: circular dependency detected" in circle


def test_hashed_values_are_counted():
    """HashLookup tell an operator nothing, so their number is shown."""
    digest = sha256(b"x").hexdigest()
    flag = {
        **OFF,
        "r": [rule(user("Email", 16, l=[digest])), rule(user("Email", 17, l=[])), rule(user("Email", 20, s=digest))],
    }
    found = text(flag, User({"Email": "a"}))

    assert digest not in found
    assert "IS ONE OF [1 hashed value] → false" in found
    assert "IS NOT ONE OF [0 hashed values] → true" in found
    assert "EQUALS <hashed value>" in text({**OFF, "r": [rule(user("Email", 20, s=digest))]})


def test_long_lists_are_cut():
    """Only the first ten comparison values are listed."""
    found = text({**OFF, "r": [rule(user("Email", 0, l=[f"u{n}" for n in range(12)]))]})

    assert "'u9', … 2 more]" in found


@pytest.mark.parametrize(
    ("condition", "own", "expected"),
    [
        (
            user("A", 4, l=["1.0.0"]),
            {"A": "x"},
            "IS ONE OF ['1.0.0'] → skipped (it is 'x'; the attribute is not a semantic version)",
        ),
        (user("A", 6, s="bad"), {"A": "1.0.0"}, "the comparison value is not a semantic version"),
        (user("A", 10, d=1.5), {"A": "x"}, "User.A = 1.5 → skipped (it is 'x'; the attribute is not a number)"),
        (user("A", 18, d=1), {"A": "x"}, "User.A BEFORE 1 → skipped (it is 'x'; the attribute is not a number)"),
        (user("A", 34, l=["x"]), {"A": "x"}, "the attribute is not a list of texts"),
        (user("A", 40), {"A": "x"}, "User.A comparator 40 → failed (it is 'x'; comparison operator is invalid)"),
        (user("A", 28), {"A": "x"}, "User.A EQUALS <missing> → failed"),
        (5, {}, "malformed condition → failed"),
    ],
)
def test_why_a_condition_was_skipped_or_failed(condition, own, expected):
    """Each reason for a skipped or failed condition is named."""
    assert expected in text({**OFF, "r": [rule(condition)]}, User(own))


def test_nothing_to_serve_and_broken_values():
    """A rule without an outcome, a value of a wrong type and malformed percentages say so."""
    assert "rule 1 → its conditions hold (it has nothing to serve)" in text({**OFF, "r": [{"c": []}]})
    assert "flag has no value: setting value is nil\n  default nothing: setting value is nil" == text({"t": 0})
    wrong = text({**OFF, "r": [rule(s={"v": {"s": "x"}})]})
    assert "rule 1, serving nothing: setting value is not of the expected type 'bool' →" in wrong
    assert "percentage options by User.Identifier (percentage options are malformed)" in text({**OFF, "p": 5})
    assert "percentage options are malformed" in text({**OFF, "r": [rule(p=5)]})
    assert "flag has no value: the setting is not an object\n  default never served" == text(5)


def test_an_unknown_flag_is_a_key_error():
    """Asking about a flag that does not exist raises KeyError."""
    with pytest.raises(KeyError):
        explain(load(b'{"f":{}}', "e"), "flag", None)
