"""The JSON of one event, of a count and of a batch."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.export.event import (
    CACHE_LIMIT,
    OutcomeCache,
    batch_head,
    encode_batch,
    encode_count,
    encode_outcome,
    encode_time,
    encode_user,
)
from gateway.flags import Result, User, load

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "exporter.schema.json"
BODY = b'{"p":{"s":"x"},"f":{"on":{"t":0,"v":{"b":true},"i":"v-on"},"bad":{"t":0,"v":{"s":"x"},"i":"v"}}}'
FLAGS = load(BODY, '"1"')
ON, BAD = FLAGS.evaluate("on", None), FLAGS.evaluate("bad", None)
ANNA = User({"Identifier": "anna", "Country": "DE"})
VALIDATOR = Draft202012Validator(json.loads(SCHEMA.read_text()))


def line(result: Result, user: User | None, at: float) -> bytes:
    """One event, without the line feed in front of it."""
    return (encode_user(user) + encode_time(at) + encode_outcome(result)).removeprefix(b"\n")


def event(result: Result, user: User | None, at: float = 130.9) -> dict[str, object]:
    """One event, decoded."""
    return json.loads(line(result, user, at))


def test_an_event_has_the_members_of_the_seed() -> None:
    """All members are equal to those of the example, with the time in whole seconds."""
    assert event(ON, ANNA) == {
        "kind": "feature", "contextKind": "user", "userKey": "anna", "creationDate": 130, "key": "on",
        "variation": "v-on", "value": True, "default": False, "source": "SERVER",
    }  # fmt: skip


def test_a_batch_fits_the_schema() -> None:
    """With an event of a user, one without a user, one of a failed flag, and a count; some already joined."""
    events = [line(ON, ANNA, 1) + b"," + line(ON, None, 1), encode_count(60, encode_outcome(BAD), 3)]
    body = json.loads(encode_batch(batch_head({"hostname": "h", "app": "shop"}), events))
    VALIDATOR.validate(body)
    assert {"hostname": "h", "app": "shop"} == body["meta"]
    assert ["user", "anonymousUser", "user"] == [each["contextKind"] for each in body["events"]]


def test_a_failed_evaluation_has_no_value_and_default_true() -> None:
    """The value of the config is not exported."""
    failed = event(BAD, ANNA)
    assert (None, True, "") == (failed["value"], failed["default"], failed["variation"])


def test_counts_have_no_user_and_the_time_of_their_minute() -> None:
    """A count is one event per flag, variation and minute."""
    event = json.loads(encode_count(120, encode_outcome(ON), 7))
    assert ("", 120, "on", "v-on", 7) == tuple(
        event[name] for name in ("userKey", "creationDate", "key", "variation", "count")
    )


def test_an_anonymous_user_is_a_digest_of_its_attributes() -> None:
    """Equal attributes give equal keys, none can be read; an empty identifier counts as none."""
    one, same, other = User({"Country": "DE"}), User({"Country": "DE"}), User({"Country": "FR"})
    assert event(ON, one) == event(ON, same)
    assert "anonymousUser" == event(ON, one)["contextKind"] == event(ON, User({"Identifier": ""}))["contextKind"]
    assert event(ON, one)["userKey"] != event(ON, other)["userKey"]
    assert b"DE" not in encode_user(one)


def test_an_identifier_that_is_no_text_is_exported_as_rules_read_it() -> None:
    """A whole number has no decimal point, a list is JSON."""
    assert "42" == event(ON, User({"Identifier": 42.0}))["userKey"]
    assert '["a","b"]' == event(ON, User({"Identifier": ("a", "b")}))["userKey"]


@given(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
    st.text(st.characters(exclude_categories=("Cs",))),
    st.one_of(st.booleans(), st.text(st.characters(exclude_categories=("Cs",))), st.integers(), st.floats(-1e9, 1e9)),
)
def test_any_user_and_value_come_through_on_one_line(name: str, key: str, value: object) -> None:
    """A line feed separates two events, so none is inside one."""
    encoded = line(Result(key, value, key), User({"Identifier": name}), 1)
    decoded = json.loads(encoded)
    assert b"\n" not in encoded
    assert (name, key, value) == (decoded["userKey"], decoded["key"], decoded["value"])


def test_remembered_outcomes_are_bounded() -> None:
    """A gateway that runs for long sees results of many configs."""
    cache = OutcomeCache()
    for number in range(CACHE_LIMIT + 5):
        assert cache[Result("key", number, "")] == encode_outcome(Result("key", number, ""))
    assert len(cache) <= CACHE_LIMIT
