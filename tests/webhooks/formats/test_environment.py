"""Format environment, against its seed's example and schema."""

from gateway.webhooks.formats import compose
from gateway.webhooks.formats.environment import IDENTIFIER_LIMIT
from outbound_scene import (
    CountedIds,
    bodies,
    boolean,
    change_of,
    check,
    config,
    endpoint,
    in_segment,
    is_one_of,
    messages_about,
    rule,
    segment,
    shape,
    textual,
)


def example_state(*, enabled, initial):
    return {
        "enabled": enabled,
        "environment": 23,
        "feature": {
            "created_date": "2020-02-25T22:11:16.355547Z",
            "default_enabled": False,
            "description": None,
            "id": 2411,
            "initial_value": initial,
            "name": "feature_name",
            "project": 12,
            "type": "FLAG",
        },
        "feature_segment": None,
        "feature_state_value": None,
        "id": 10430,
        "identity": None,
        "identity_identifier": None,
    }


EXAMPLE = {
    "data": {
        "changed_by": "Some User",
        "new_state": example_state(enabled=True, initial="blue"),
        "previous_state": example_state(enabled=False, initial="red"),
        "timestamp": "2020-03-07T13:59:07.040Z",
    },
    "event_type": "FLAG_UPDATED",
}


class ExampleIds(CountedIds):
    """The integers of the example."""

    def environment(self, sdk_id):
        return 23

    def feature(self, sdk_id, key):
        from attrs import evolve

        return evolve(super().feature(sdk_id, key), id=2411)

    def state(self, sdk_id, key, target):
        return 10430


def calls_for(old, new, **options):
    change = change_of(config(*old), config(*new))
    found = bodies(messages_about(change, "environment", **options))
    for body in found:
        check("environment", body)
    return found


def test_the_example_of_the_original_fits_the_schema():
    """The schema accepts the example of the original's documentation."""
    check("environment", EXAMPLE)


def test_the_example_field_by_field():
    """A boolean flag that is turned on gives the example, except author and first value."""
    ids = ExampleIds(initial={"feature_name": False})
    (body,) = calls_for([{"feature_name": boolean(False)}], [{"feature_name": boolean(True)}], ids=ids)
    expected = {
        "data": {
            **EXAMPLE["data"],
            "changed_by": "Jane Doe",
            "new_state": example_state(enabled=True, initial=False),
            "previous_state": example_state(enabled=False, initial=False),
        },
        "event_type": "FLAG_UPDATED",
    }
    assert body == expected
    assert shape(body) == shape(EXAMPLE)


def test_a_flag_of_another_type_is_enabled_and_has_a_value():
    """Flags that are not boolean are CONFIG, enabled, and carry their value as it is."""
    old = {"size": {"t": 2, "v": {"i": 3}}, "text": textual("red"), "share": {"t": 3, "v": {"d": 0.5}}}
    new = {"size": {"t": 2, "v": {"i": 4}}, "text": textual("blue"), "share": {"t": 3, "v": {"d": 0.75}}}
    ids = CountedIds(initial={"size": "3", "text": "red", "share": "0.5"})
    found = [body["data"]["new_state"] for body in calls_for([old], [new], ids=ids)]
    assert [(s["enabled"], s["feature_state_value"], s["feature"]["type"]) for s in found] == [
        (True, 0.75, "CONFIG"),
        (True, 4, "CONFIG"),
        (True, "blue", "CONFIG"),
    ]
    assert [(s["feature"]["default_enabled"], s["feature"]["initial_value"]) for s in found] == [
        (True, "0.5"),
        (True, "3"),
        (True, "red"),
    ]


def test_creating_is_an_update_without_a_previous_state():
    """A new flag is FLAG_UPDATED with a null previous state."""
    (body,) = calls_for([{}], [{"new": boolean(True)}])
    assert (body["event_type"], body["data"]["previous_state"]) == ("FLAG_UPDATED", None)


def test_deleting_has_no_new_state():
    """A deleted flag is FLAG_DELETED with a null new state, and keeps its id."""
    ids = CountedIds()
    created = calls_for([{}], [{"x": boolean(True)}], ids=ids)[0]["data"]["new_state"]
    (body,) = calls_for([{"x": boolean(True)}], [{}], ids=ids)
    assert (body["event_type"], body["data"]["new_state"]) == ("FLAG_DELETED", None)
    assert body["data"]["previous_state"] == created


def test_a_rule_on_a_segment_is_one_more_call():
    """A new rule on a segment is sent with the segment's id, its name, and the rule's index."""
    home, away = segment("home", "DE"), segment("away", "FR")
    old = boolean(False, rule(True, in_segment(0)))
    new = boolean(False, rule(True, in_segment(0)), rule(True, in_segment(1)))
    own, extra = calls_for([{"f": old}, [home, away]], [{"f": new}, [home, away]])
    assert own["data"]["new_state"]["feature_segment"] is None
    assert extra["data"]["previous_state"] is None
    state = extra["data"]["new_state"]
    number = state["feature_segment"].pop("id")
    assert state["feature_segment"] == {"segment": {"id": 1, "name": "away"}, "priority": 1}
    assert (number, state["enabled"]) == (state["id"], True)
    assert state["id"] != own["data"]["new_state"]["id"]


def test_an_updated_segment_is_a_call_for_each_rule_on_it():
    """The flag that uses an updated segment is updated, and so is its override for that segment, not for others."""
    flag = boolean(False, rule(True, in_segment(0)), rule(True, in_segment(1)))
    old, new = [segment("a", "DE"), segment("b", "FR")], [segment("a", "AT"), segment("b", "FR")]
    found = calls_for([{"f": flag}, old], [{"f": flag}, new])
    segments = [body["data"]["new_state"]["feature_segment"] for body in found]
    assert [s and s["segment"]["name"] for s in segments] == [None, "a"]


def test_a_removed_rule_is_deleted_for_its_segment():
    """A rule on a segment that is removed is FLAG_DELETED with that feature_segment; the flag itself is updated."""
    home = segment("home", "DE")
    found = calls_for([{"f": boolean(False, rule(True, in_segment(0)))}, [home]], [{"f": boolean(False)}, [home]])
    assert [body["event_type"] for body in found] == ["FLAG_UPDATED", "FLAG_DELETED"]
    assert found[1]["data"]["previous_state"]["feature_segment"]["segment"]["name"] == "home"


def test_rules_that_exclude_make_no_calls():
    """Negated segments, other attributes, negated and hashed comparators are no overrides."""
    rules = [
        rule(True, in_segment(0, negated=True)),
        rule(True, is_one_of("x", attribute="Email")),
        rule(True, is_one_of("x", comparator=1)),
        rule(True, is_one_of("0" * 64, comparator=16)),
    ]
    assert (
        len(
            calls_for(
                [{"f": boolean(False)}, [segment("a", "DE")]], [{"f": boolean(False, *rules)}, [segment("a", "DE")]]
            )
        )
        == 1
    )


def test_a_malformed_type_or_comparator_does_not_suppress_other_calls():
    """A list or an object in the place of a number is sent like any other definition."""
    for odd in ([1], {}, "x", 1.5):
        comparing = {"s": {"s": 0, "c": odd}}
        new = {"f": {"t": odd, "v": {"b": True}}, "g": boolean(False, rule(True, comparing)), "h": boolean(True)}
        old = {"f": boolean(False), "g": boolean(True), "h": boolean(False)}
        found = calls_for([old, [segment("a", "DE")]], [new, [segment("a", "DE")]])
        assert ["f", "g", "h"] == [body["data"]["new_state"]["feature"]["name"] for body in found]


def test_each_identifier_in_clear_is_one_more_call():
    """A rule on identifiers is one call per identifier, for equals and is-one-of; the first rule decides."""
    equals = {"u": {"a": "Identifier", "c": 28, "s": "z"}}
    rules = (
        rule("x", is_one_of("a", "b"), field="s"),
        rule("y", is_one_of("b"), field="s"),
        rule("w", equals, field="s"),
    )
    found = calls_for([{"f": textual("base")}], [{"f": textual("base", *rules)}])
    states = [body["data"]["new_state"] for body in found]
    assert [(s["identity_identifier"], s["identity"], s["feature_state_value"]) for s in states] == [
        (None, None, "base"),
        ("a", None, "x"),
        ("b", None, "x"),
        ("z", None, "w"),
    ]
    assert len({s["id"] for s in states}) == 4


def test_only_identifiers_that_changed_make_calls():
    """One more identifier in a rule is one more call; another one's removal is a deletion."""
    old = boolean(False, rule(True, is_one_of("a", "b")))
    new = boolean(False, rule(True, is_one_of("b", "c")))
    found = calls_for([{"f": old}], [{"f": new}])
    assert [body["event_type"] for body in found] == ["FLAG_UPDATED", "FLAG_UPDATED", "FLAG_DELETED"]
    assert found[1]["data"]["new_state"]["identity_identifier"] == "c"
    assert found[2]["data"]["previous_state"]["identity_identifier"] == "a"


def test_identifiers_beyond_the_bound_are_counted():
    """At most 100 identifiers of one rule are sent; the rest is counted, each rule on its own."""
    names = [f"u{number}" for number in range(IDENTIFIER_LIMIT + 7)]
    new = boolean(False, rule(True, is_one_of(*names)), rule(True, is_one_of("other")))
    change = change_of(config({"f": boolean(False)}), config({"f": new}))
    result = compose(change, endpoint("environment"), CountedIds(), {})
    assert (len(result.messages), result.omitted) == (1 + IDENTIFIER_LIMIT + 1, 7)
    (skipped,) = result.skipped
    assert (skipped.count, skipped.reason) == (7, "identifiers beyond the first 100 of a rule")


def test_percentage_options_show_the_default():
    """A rule that serves shares of users has no single value: the flag's default stands for it."""
    shares = {"c": [in_segment(0)], "p": [{"p": 100, "v": {"b": True}}]}
    home = segment("home", "DE")
    found = calls_for([{"f": boolean(False)}, [home]], [{"f": boolean(False, shares)}, [home]])
    assert [body["data"]["new_state"]["enabled"] for body in found] == [False, False]


def test_an_unknown_author_is_null():
    """No author is made up."""
    change = change_of(config({}), config({"a": boolean(True)}), author=None)
    (body,) = bodies(messages_about(change, "environment"))
    check("environment", body)
    assert body["data"]["changed_by"] is None
