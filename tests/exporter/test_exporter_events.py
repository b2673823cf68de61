"""Events, samples, counts and batches."""

from __future__ import annotations

import json
from pathlib import Path

from jsonschema import Draft202012Validator

from gateway.exporter import Collector, encode_batch, event_for, user_key
from gateway.flags import User, load

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "exporter.schema.json"
BODY = b'{"p":{"s":"x"},"f":{"on":{"t":0,"v":{"b":true},"i":"v-on"},"bad":{"t":0,"v":{"s":"x"},"i":"v"}}}'
FLAGS = load(BODY, '"1"')
ON = FLAGS.evaluate("on", None)
ANNA = User({"Identifier": "anna", "Country": "DE"})


def taken(collector: Collector, **options) -> list[dict]:
    """What a collector holds, decoded."""
    return [json.loads(event) for event in collector.take(**options)]


def collector(**options) -> Collector:
    """A collector at a fixed time and chance."""
    return Collector(**{"now": lambda: 130.9, "chance": lambda: 0.5, **options})


def test_an_event_has_the_form_of_the_schema() -> None:
    """Field by field, for a user, for nobody, and for a flag that failed."""
    bad = FLAGS.evaluate("bad", ANNA)
    events = collector()
    events(ON, ANNA)
    events(ON, None)
    events(bad, ANNA)
    body = json.loads(encode_batch({"hostname": "h"}, events.take()))
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(body)
    assert body["events"][0] == {
        "kind": "feature", "contextKind": "user", "userKey": "anna", "creationDate": 130, "key": "on",
        "variation": "v-on", "value": True, "default": False, "source": "SERVER",
    }  # fmt: skip
    assert body["events"][1]["contextKind"] == "anonymousUser"
    assert (body["events"][2]["default"], body["events"][2]["value"]) == (True, None)


def test_an_anonymous_user_is_a_digest_that_tells_users_apart() -> None:
    """Equal attributes give equal keys, and none can be read."""
    one, same, other = User({"Country": "DE"}), User({"Country": "DE"}), User({"Country": "FR"})
    assert user_key(one) == user_key(same) != user_key(other)
    assert user_key(one)[0] == "anonymousUser"
    assert "DE" not in user_key(one)[1]


def test_sampling_keeps_its_share() -> None:
    """Below the share an evaluation counts, from it on it does not."""
    chances = iter([0.0, 0.24, 0.25, 0.9])
    events = collector(sampling=0.25, chance=lambda: next(chances))
    for _ in range(4):
        events(ON, ANNA)
    assert len(taken(events)) == 2


def test_aggregate_tells_one_event_per_flag_variation_and_minute_once_it_is_over() -> None:
    """With a count, and without a user."""
    now = [125.0]
    events = collector(aggregate=True, now=lambda: now[0])
    for moment in (125.0, 130.0, 179.9, 180.0):
        now[0] = moment
        events(ON, ANNA)
    (found,) = taken(events)
    assert (found["count"], found["creationDate"], found["userKey"]) == (3, 120, "")
    assert taken(events) == []
    assert [1] == [each["count"] for each in taken(events, all_minutes=True)]


def test_memory_is_bounded_and_what_goes_is_counted() -> None:
    """The oldest half goes when the disk does not keep up."""
    events = collector(limit=10)
    for _ in range(25):
        events(ON, ANNA)
    left = len(taken(events))
    assert left <= 10
    assert left + events.dropped == 25


def test_event_for_takes_the_time_in_whole_seconds() -> None:
    """Of the evaluation, not of the batch."""
    assert event_for(ON, ANNA, 99.99).creationDate == 99
