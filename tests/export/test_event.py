"""What is told of one evaluation, and of many at once."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.export import batch_head, counted, encode_batch
from gateway.export.event import KNOWN_LIMIT, Tails, moment_of, tail_of, who_of
from gateway.flags import Result, User, load

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "exporter.schema.json"
BODY = b'{"p":{"s":"x"},"f":{"on":{"t":0,"v":{"b":true},"i":"v-on"},"bad":{"t":0,"v":{"s":"x"},"i":"v"}}}'
FLAGS = load(BODY, '"1"')
ON, BAD = FLAGS.evaluate("on", None), FLAGS.evaluate("bad", None)
ANNA = User({"Identifier": "anna", "Country": "DE"})
VALIDATOR = Draft202012Validator(json.loads(SCHEMA.read_text()))


def line(result: Result, user: User | None, at: float) -> bytes:
    """One event, without the line feed in front of it."""
    return (who_of(user) + moment_of(at) + tail_of(result)).removeprefix(b"\n")


def event(result: Result, user: User | None, at: float = 130.9) -> dict[str, object]:
    """One event, decoded."""
    return json.loads(line(result, user, at))


def test_an_event_has_the_members_of_the_seed() -> None:
    """Field by field, in whole seconds of the evaluation."""
    assert event(ON, ANNA) == {
        "kind": "feature", "contextKind": "user", "userKey": "anna", "creationDate": 130, "key": "on",
        "variation": "v-on", "value": True, "default": False, "source": "SERVER",
    }  # fmt: skip


def test_a_batch_fits_the_schema() -> None:
    """For a user, for nobody, for a flag that failed, and for a count; several may be together already."""
    events = [line(ON, ANNA, 1) + b"," + line(ON, None, 1), counted(60, tail_of(BAD), 3)]
    body = json.loads(encode_batch(batch_head({"hostname": "h", "app": "shop"}), events))
    VALIDATOR.validate(body)
    assert {"hostname": "h", "app": "shop"} == body["meta"]
    assert ["user", "anonymousUser", "user"] == [each["contextKind"] for each in body["events"]]


def test_a_failed_evaluation_has_no_value_and_says_default() -> None:
    """Whatever the config would serve."""
    failed = event(BAD, ANNA)
    assert (None, True, "") == (failed["value"], failed["default"], failed["variation"])


def test_counts_are_told_without_a_user_and_with_their_minute() -> None:
    """As the count of one flag and variation."""
    told = json.loads(counted(120, tail_of(ON), 7))
    assert ("", 120, "on", "v-on", 7) == tuple(
        told[name] for name in ("userKey", "creationDate", "key", "variation", "count")
    )


def test_an_anonymous_user_is_a_digest_that_tells_users_apart() -> None:
    """Equal attributes give equal keys, none can be read; an empty identifier names nobody."""
    one, same, other = User({"Country": "DE"}), User({"Country": "DE"}), User({"Country": "FR"})
    assert event(ON, one) == event(ON, same)
    assert "anonymousUser" == event(ON, one)["contextKind"] == event(ON, User({"Identifier": ""}))["contextKind"]
    assert event(ON, one)["userKey"] != event(ON, other)["userKey"]
    assert b"DE" not in who_of(one)


def test_an_identifier_that_is_no_text_is_told_as_rules_read_it() -> None:
    """A number without a needless fraction, a list as JSON."""
    assert "42" == event(ON, User({"Identifier": 42.0}))["userKey"]
    assert '["a","b"]' == event(ON, User({"Identifier": ("a", "b")}))["userKey"]


@given(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
    st.text(st.characters(exclude_categories=("Cs",))),
    st.one_of(st.booleans(), st.text(st.characters(exclude_categories=("Cs",))), st.integers(), st.floats(-1e9, 1e9)),
)
def test_any_user_and_value_come_through_on_one_line(name: str, key: str, value: object) -> None:
    """So that a line feed always stands between two events."""
    told_line = line(Result(key, value, key), User({"Identifier": name}), 1)
    told = json.loads(told_line)
    assert b"\n" not in told_line
    assert (name, key, value) == (told["userKey"], told["key"], told["value"])


def test_remembered_outcomes_are_bounded() -> None:
    """Configs come and go for as long as the gateway lives."""
    tails = Tails()
    for number in range(KNOWN_LIMIT + 5):
        assert tails[Result("key", number, "")] == tail_of(Result("key", number, ""))
    assert len(tails) <= KNOWN_LIMIT
