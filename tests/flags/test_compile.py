"""How one flag is decided: order, conditions, percentages, segments, prerequisites, and each kind of fault."""

import json
from hashlib import sha256

import pytest

from gateway.flags import User, load
from gateway.flags.definition import parse_flag
from gateway.flags.percentage import bucket, options_by_bucket

SALT = "pepper"
ON = {"v": {"b": True}, "i": "on"}
OFF = {"t": 0, "v": {"b": False}, "i": "off"}
ANNA = User({"Identifier": "anna", "Email": "anna@example.com", "Age": 42.0, "Tags": ("x", "y"), "Version": "1.2.3"})


def config(flags, *segments, salt=SALT):
    return load(json.dumps({"p": {"s": salt}, "s": list(segments), "f": flags}).encode(), "e")


def on_if(*conditions, **rest):
    return {**OFF, "r": [{"c": list(conditions), "s": ON}], **rest}


def user(name, comparator, **operand):
    return {"u": {"a": name, "c": comparator, **operand}}


def hashed(text, context="flag"):
    return sha256((text + SALT + context).encode()).hexdigest()


def outcome(snapshot, who=ANNA, key="flag"):
    result = snapshot.evaluate(key, who)
    return result.error if result.error is not None else result.value


def holds(condition, who=ANNA, **rest):
    return outcome(config({"flag": on_if(condition), **rest}), who)


@pytest.mark.parametrize(
    ("comparator", "operand", "expected"),
    [
        (0, {"l": ["anna", "bob"]}, True),
        (2, {"l": ["x", "nn"]}, True),
        (2, {"l": []}, False),
        (28, {"s": "anna"}, True),
        (28, {"s": "Anna"}, False),
        (30, {"l": ["x", "an"]}, True),
        (32, {"l": ["x", "na"]}, True),
        (16, {"l": [hashed("anna")]}, True),
        (16, {"l": [hashed("anna").upper(), "nothex"]}, True),
        (16, {"l": ["00", hashed("bob")]}, False),
        (20, {"s": hashed("anna")}, True),
        (20, {"s": hashed("anna").upper()}, False),
        (22, {"l": ["2_" + hashed("an"), "9_" + hashed("x")]}, True),
        (22, {"l": [" +2 _" + hashed("an") + "_rest"]}, True),
        (22, {"l": ["2_" + hashed("nn")]}, False),
        (24, {"l": ["2_" + hashed("na")]}, True),
        (24, {"l": ["0_" + hashed("")]}, True),
        (24, {"l": ["5_" + hashed("anna")]}, False),
    ],
)
def test_text_comparators_and_their_negations(comparator, operand, expected):
    """Each comparator on texts holds or not, and the next number is its exact opposite."""
    assert expected is holds(user("Identifier", comparator, **operand))
    assert (not expected) is holds(user("Identifier", comparator + 1, **operand))


@pytest.mark.parametrize(
    ("comparator", "operand", "expected"),
    [
        (34, {"l": ["y"]}, True),
        (34, {"l": ["z"]}, False),
        (26, {"l": [hashed("y")]}, True),
        (26, {"l": [hashed("z")]}, False),
    ],
)
def test_list_comparators_and_their_negations(comparator, operand, expected):
    """Lists are read from lists and from JSON texts alike."""
    for who in (ANNA, User({"Tags": '["x","y"]'})):
        assert expected is holds(user("Tags", comparator, **operand), who)
        assert (not expected) is holds(user("Tags", comparator + 1, **operand), who)


@pytest.mark.parametrize(
    ("comparator", "operand", "expected"),
    [
        (4, {"l": ["1.2.3", " "]}, True),
        (5, {"l": ["1.2.3"]}, False),
        (4, {"l": []}, False),
        (5, {"l": []}, True),
        (6, {"s": "1.2.4"}, True),
        (7, {"s": "1.2.3"}, True),
        (8, {"s": "1.2.3-rc"}, True),
        (9, {"s": "1.2.4"}, False),
        (4, {"l": ["1.2.3", "bad"]}, False),
        (5, {"l": ["bad"]}, False),
        (6, {"s": "bad"}, False),
    ],
)
def test_version_comparators(comparator, operand, expected):
    """Versions compare as versions; a malformed comparison value skips the rule, negated or not."""
    assert expected is holds(user("Version", comparator, **operand))


@pytest.mark.parametrize(
    ("comparator", "number", "expected"),
    [
        (10, 42, True),
        (11, 42, False),
        (12, 42.5, True),
        (13, 42, True),
        (14, 42, False),
        (15, 42, True),
        (18, 43, True),
        (18, 42, False),
        (19, 41, True),
        (19, 42, False),
    ],
)
def test_number_and_time_comparators(comparator, number, expected):
    """Numbers and times compare as numbers, from a number or a text."""
    for who in (ANNA, User({"Age": " 42,0"})):
        assert expected is holds(user("Age", comparator, d=number), who)


ANY_OPERAND = {"l": ["1_" + "0" * 64], "s": "1.0.0", "d": 1}


@pytest.mark.parametrize("comparator", range(36))
def test_a_missing_attribute_or_user_skips_the_rule(comparator):
    """Without the attribute, or without a user, no comparator holds, not even a negated one."""
    condition = user("Missing", comparator, **ANY_OPERAND)

    assert holds(condition) is False
    assert holds(condition, None) is False


def test_an_empty_attribute_is_a_value_like_any_other():
    """An empty text is not a missing attribute: the Go peer compares it, and so negated comparators hold."""
    empty = User({"A": ""})

    assert [False, True] == [holds(user("A", comparator, l=["x"]), empty) for comparator in (0, 1)]
    assert [True, False] == [holds(user("A", comparator, s=""), empty) for comparator in (28, 29)]
    assert holds(user("A", 11, d=1), empty) is False


@pytest.mark.parametrize("comparator", [*range(4, 16), 18, 19, 26, 27, 34, 35])
def test_an_unreadable_attribute_skips_the_rule(comparator):
    """An attribute of the wrong kind makes no comparator hold, not even a negated one."""
    for value in ("no", 1.0) if comparator not in {*range(10, 16), 18, 19} else ("no", ("x",)):
        assert holds(user("A", comparator, **ANY_OPERAND), User({"A": value})) is False


@pytest.mark.parametrize("comparator", range(36))
def test_a_missing_comparison_value_is_a_fault_for_users(comparator):
    """Without a comparison value of its type the flag fails, but not while there is no user."""
    for operand in ({}, {"l": [1], "s": 1, "d": "1"}, {"l": "x", "d": True}):
        condition = user("Identifier", comparator, **operand)

        assert "comparison value '<nil>' is invalid" == holds(condition)
        assert holds(condition, None) is False


@pytest.mark.parametrize("entry", ["", "5", "_x", "5_", "x_y", "-1_y", "٣_y", "1" * 19 + "_y"])
def test_malformed_hashed_lengths_are_a_fault(entry):
    """A hashed prefix is a length, an underscore and a digest; anything else fails the flag."""
    for comparator in range(22, 26):
        condition = user("Identifier", comparator, l=[entry])

        assert "comparison value '<nil>' is invalid" == holds(condition)
        assert holds(condition, None) is False


def test_a_bad_salt_fails_hashed_comparators_only():
    """A salt that is no text concerns the flags that need it, and no salt is an empty one."""
    flags = {"flag": on_if(user("Identifier", 16, l=[])), "plain": on_if(user("Identifier", 0, l=["anna"]))}
    bad = config(flags, salt=5)

    assert "config JSON salt is not a string" == outcome(bad)
    assert outcome(bad, None) is False
    assert outcome(bad, key="plain") is True
    unsalted = sha256(b"annaflag").hexdigest()
    assert outcome(config({"flag": on_if(user("Identifier", 20, s=unsalted))}, salt=None)) is True


@pytest.mark.parametrize(
    ("definition", "error"),
    [
        ([], "the setting is not an object"),
        (None, "the setting is not an object"),
        ({**OFF, "r": {}}, "targeting rules are not a list"),
        ({**OFF, "r": [None]}, "a targeting rule is not an object"),
        ({**OFF, "a": 5}, "the percentage attribute is not a string"),
        ({**OFF, "t": 4}, "setting type is unsupported"),
        ({**OFF, "t": "0"}, "setting type is unsupported"),
        ({"t": 0}, "setting value is nil"),
        ({"t": 0, "v": 5}, "setting value is not of the expected type 'bool'"),
        ({"t": 0, "v": {"s": "x"}}, "setting value is not of the expected type 'bool'"),
        ({"t": 0, "v": {"b": 1}}, "setting value is not of the expected type 'bool'"),
        ({"t": 1, "v": {"s": 1}}, "setting value is not of the expected type 'string'"),
        ({"t": 2, "v": {"i": True}}, "setting value is not of the expected type 'int'"),
        ({"t": 2, "v": {"i": 1.5}}, "setting value is not of the expected type 'int'"),
        ({"t": 2, "v": {"i": None}}, "setting value is not of the expected type 'int'"),
        ({"t": 3, "v": {"d": "1"}}, "setting value is not of the expected type 'double'"),
        ({**OFF, "i": 5}, "the variation ID is not a string"),
        ({**OFF, "p": {}}, "percentage options are malformed"),
        ({**OFF, "p": [None]}, "percentage options are malformed"),
        ({**OFF, "p": [{"p": 1.5, **ON}]}, "percentage options are malformed"),
        ({**OFF, "p": [{"p": 100}]}, "setting value is nil"),
        ({**OFF, "r": [{"c": {}, "s": ON}]}, "conditions are not a list"),
        ({**OFF, "r": [{"c": [], "s": 5}]}, "the served value is not an object"),
        ({**OFF, "r": [{"c": [], "p": 5}]}, "percentage options are malformed"),
        (on_if(None), "condition isn't a type of user, segment, or prerequisite condition"),
        (on_if({}), "condition isn't a type of user, segment, or prerequisite condition"),
        (on_if({"u": 5}), "the user condition is not an object"),
        (on_if({"u": {"a": 5}}), "comparison attribute is not a string"),
        (on_if(user("A", 36)), "comparison operator is invalid"),
        (on_if(user("A", -1)), "comparison operator is invalid"),
        (on_if(user("A", "0")), "comparison operator is invalid"),
        (on_if({"s": 5}), "the segment condition is not an object"),
        (on_if({"s": {"s": "0", "c": 0}}), "segment reference is invalid"),
        (on_if({"s": {"s": 9, "c": 0}}), "segment reference is invalid"),
        (on_if({"s": {"s": -1, "c": 0}}), "segment reference is invalid"),
        (on_if({"s": {"s": 0, "c": 2}}), "comparison operator is invalid"),
        (on_if({"s": {"s": 1, "c": 0}}), "the segment is not an object"),
        (on_if({"s": {"s": 2, "c": 0}}), "the segment is malformed"),
        (on_if({"s": {"s": 3, "c": 0}}), "the user condition is not an object"),
        (on_if({"p": 5}), "the prerequisite condition is not an object"),
        (on_if({"p": {"c": 0}}), "prerequisite flag key is missing or invalid"),
        (on_if({"p": {"f": "other", "c": 2}}), "comparison operator is invalid"),
        (on_if({"p": {"f": "gone", "c": 0}}), "prerequisite 'gone' not found"),
    ],
)
def test_a_malformed_flag_fails_alone(definition, error):
    """Each malformed part gives its own error, and the flag beside it still works."""
    snapshot = config({"flag": definition, "other": OFF}, {"n": "s"}, 5, {"n": 5}, {"n": "t", "r": [5]})

    assert error == outcome(snapshot)
    assert outcome(snapshot, key="other") is False


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"s": "x"}, "x"),
        ({"i": 5}, "5"),
        ({"d": 1.5}, "1.5"),
        (None, "<nil>"),
        ({}, "<nil>"),
        ({"b": []}, "<nil>"),
        (5, "<nil>"),
    ],
)
def test_a_prerequisite_of_another_type_is_a_fault(value, shown):
    """A comparison value must have the type of the flag that it is compared with."""
    condition = {"p": {"f": "other", "c": 0, "v": value}}

    expected = f"type mismatch between comparison value '{shown}' and prerequisite flag 'other'"
    assert expected == holds(condition, other=OFF)


def test_a_failing_prerequisite_fails_its_dependents():
    """The error of a prerequisite is the error of the flag that asks it."""
    condition = {"p": {"f": "other", "c": 0, "v": {"b": True}}}

    assert "setting value is nil" == holds(condition, other={"t": 0})
    assert "the setting is not an object" == holds(condition, other=5)
    assert "setting type is unsupported" == holds(condition, other={"t": 4, "v": {"b": True}})


def test_a_fault_costs_only_the_evaluations_that_reach_it():
    """A broken rule after one that matches does no harm, and neither does a value that is not served."""
    broken = {"c": [user("A", 99)], "s": ON}
    fine = {"c": [user("Identifier", 0, l=["anna"])], "s": ON}
    unserved = {"c": [user("Identifier", 0, l=["bob"])], "s": {"v": {"s": "wrong"}}}
    snapshot = config({"flag": {**OFF, "r": [unserved, fine, broken]}})

    assert outcome(snapshot) is True
    assert "comparison operator is invalid" == outcome(snapshot, User({"Identifier": "carl"}))
    assert "setting value is not of the expected type 'bool'" == outcome(snapshot, User({"Identifier": "bob"}))


def test_absent_numbers_count_as_zero():
    """Type, comparator, segment index and percentage are zero when they are absent."""
    segment = {"n": "s", "r": [{"a": "Identifier", "l": ["anna"]}]}
    snapshot = config({"flag": {"v": {"b": False}, "r": [{"c": [{"s": {}}], "s": ON}], "p": [ON]}}, segment)

    assert outcome(snapshot) is True
    assert outcome(snapshot, User({"Identifier": "bob"})) is False


def test_the_first_matching_rule_decides():
    """Rules are asked in order; all conditions of a rule must hold; a rule with nothing to serve is passed over."""

    def rule(value, *names):
        return {"c": [user("Identifier", 2, l=[name]) for name in names], "s": {"v": {"s": value}, "i": value}}

    empty = {"c": [user("Identifier", 2, l=["a"])]}
    flag = {"t": 1, "v": {"s": "0"}, "r": [empty, rule("1", "a", "b"), rule("2", "a"), rule("3", "a")]}
    snapshot = config({"flag": flag})

    assert ["1", "2", "0"] == [outcome(snapshot, User({"Identifier": name})) for name in ("ab", "a", "b")]
    assert [True, True, False] == [
        snapshot.evaluate("flag", User({"Identifier": name})).matched for name in ("ab", "a", "b")
    ]


def test_a_rule_without_conditions_always_matches():
    """No condition is no obstacle, with or without a user."""
    assert [True, True] == [outcome(config({"flag": on_if()}), who) for who in (ANNA, None)]


def shares(*percentages):
    return [{"p": share, "v": {"s": str(number)}, "i": f"v{number}"} for number, share in enumerate(percentages)]


def test_the_hundred_places_are_everybody_s():
    """The place of an attribute depends on key and text only; these are the known ones."""
    assert [73, 31, 41, 27] == [bucket(b"pctFlag", text) for text in ("test", "u1", "123", "")]


@pytest.mark.parametrize(
    ("percentages", "places"),
    [
        ((50, 50), [0] * 50 + [1] * 50),
        ((30,), [0] * 30 + [None] * 70),
        ((0, 100), [1] * 100),
        ((150, 50), [0] * 100),
        ((-10, 30, 90), [1] * 20 + [2] * 80),
        ((60, -30, 70), [0] * 60 + [2] * 40),
        ((), [None] * 100),
    ],
)
def test_shares_cumulate(percentages, places):
    """Each place belongs to the first option whose cumulated share lies above it."""
    options = parse_flag({"t": 1, "p": shares(*percentages)}).options
    expected = [None if place is None else options[place] for place in places]

    assert expected == list(options_by_bucket(options))


def test_percentages_need_a_user_and_the_attribute():
    """No user: skipped. No Identifier: the empty text. No other attribute: skipped. Numbers and lists: as text."""
    flags = {
        "pctFlag": {"t": 1, "v": {"s": "d"}, "p": shares(50, 50)},
        "byAge": {"t": 1, "v": {"s": "d"}, "a": "Age", "p": shares(100)},
    }
    snapshot = config(flags)

    def of(key, **own):
        return outcome(snapshot, User(own), key)

    assert ["1", "0", "0", "0"] == [of("pctFlag", Identifier=i) for i in ("test", "u1", 123.0, "")]
    assert "0" == of("pctFlag")
    assert ["0", "d"] == [of("byAge", Age=42.0), of("byAge", Identifier="x")]
    assert ["d", "d"] == [outcome(snapshot, None, key) for key in flags]


def test_percentages_of_a_rule_come_before_those_of_the_setting():
    """A rule's options that cover nobody pass the user on to the next rule and then to the setting's options."""
    rule = {"c": [user("Identifier", 0, l=["anna"])], "p": shares(0)}
    served = {"c": [user("Identifier", 0, l=["anna"])], "p": shares(0, 100)}
    base = {"t": 1, "v": {"s": "d"}, "i": "d"}

    assert "1" == outcome(config({"flag": {**base, "r": [rule, served], "p": shares(100)}}))
    assert "0" == outcome(config({"flag": {**base, "r": [rule], "p": shares(100)}}))
    assert "d" == outcome(config({"flag": {**base, "r": [rule], "p": shares(0)}}))
    assert "d" == outcome(config({"flag": {**base, "r": [rule]}}))


SEGMENT = {"n": "beta", "r": [{"a": "Email", "c": 2, "l": ["@example"]}, {"a": "Age", "c": 14, "d": 18}]}


@pytest.mark.parametrize(
    ("own", "inside"),
    [
        ({"Email": "a@example.com", "Age": 20.0}, True),
        ({"Email": "a@other.com", "Age": 20.0}, False),
        ({"Email": "a@example.com", "Age": 3.0}, False),
        ({"Email": "a@example.com"}, None),
        ({}, None),
    ],
)
def test_segments(own, inside):
    """All conditions of a segment must hold; one that must be skipped skips the rule, negated or not."""
    flags = {"in": on_if({"s": {"s": 0, "c": 0}}), "out": on_if({"s": {"s": 0, "c": 1}})}
    snapshot = config(flags, SEGMENT)

    assert (inside is True) is outcome(snapshot, User(own), "in")
    assert (inside is False) is outcome(snapshot, User(own), "out")


def test_hashes_in_a_segment_are_salted_with_its_name():
    """The context of a hash is the segment's name inside a segment and the flag's key elsewhere."""
    segment = {"n": "beta", "r": [{"a": "Identifier", "c": 16, "l": [hashed("anna", "beta")]}]}
    snapshot = config(
        {"flag": on_if({"s": {"s": 0, "c": 0}}), "all": on_if({"s": {"s": 1, "c": 0}})}, segment, {"n": "x"}
    )

    assert outcome(snapshot) is True
    assert outcome(snapshot, None) is False
    assert [True, False] == [outcome(snapshot, who, "all") for who in (ANNA, None)]


@pytest.mark.parametrize(
    ("kind", "own", "value"), [(0, {"b": True}, True), (1, {"s": "x"}, "x"), (2, {"i": 1}, 1), (3, {"d": 1}, 1.0)]
)
def test_prerequisites_of_every_type(kind, own, value):
    """A prerequisite's value is compared in its own type, for users and for nobody."""
    other = {"t": kind, "v": own, "i": "x"}
    flags = {
        "other": other,
        "is": on_if({"p": {"f": "other", "c": 0, "v": own}}),
        "isn't": on_if({"p": {"f": "other", "c": 1, "v": own}}),
    }
    snapshot = config(flags)

    assert value == outcome(snapshot, key="other")
    for who in (ANNA, None):
        assert [True, False] == [outcome(snapshot, who, key) for key in ("is", "isn't")]


def test_attributes_are_collected_through_segments_and_prerequisites():
    """A flag names every attribute that can matter to it, sorted by bytes."""
    flags = {
        "flag": on_if(user("Ü", 0, l=[]), {"s": {"s": 0, "c": 0}}, {"p": {"f": "other", "c": 0, "v": {"b": True}}}),
        "other": {**OFF, "a": "Plan", "p": [{"p": 100, **ON}]},
        "none": OFF,
    }
    snapshot = config(flags, SEGMENT)

    assert ("Age", "Email", "Plan", "Ü") == snapshot.flags["flag"].attributes
    assert () == snapshot.flags["none"].attributes
