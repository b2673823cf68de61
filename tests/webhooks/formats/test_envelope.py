"""Format envelope: event objects, against the seed's example and the schema."""

import json

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.flags import difference, load
from gateway.testing import strategies
from gateway.webhooks.formats import (
    Change,
    compose,
    compose_failure_message,
    compose_test_message,
    failure_receivers,
)
from gateway.webhooks.formats.envelope import user_difference
from outbound_scene import (
    AT,
    FORMATS,
    META,
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
)

EXAMPLE = {
    "id": "2fa554d3-1ffa-4361-9af6-5479c2d4847f",
    "type": "USER_STATE_UPDATED",
    "createdTimestamp": 1661522222301,
}
WHERE = {"sdk": "shop", "etagBefore": '"1"', "etagAfter": '"2"'}
CREDIT = {"changedBy": "Jane Doe", "changeNotes": ""}


def events(old, new, **options):
    found = bodies(messages_about(change_of(old, new), "envelope", **options))
    for body in found:
        check("envelope", body)
    return found


def test_the_object_has_the_members_of_the_example():
    """An event object has id, type, createdTimestamp in milliseconds, and data."""
    body = events(config({}), config({"a": boolean(True)}))[0]
    assert body.keys() == EXAMPLE.keys() | {"data"}
    assert body["createdTimestamp"] == 1583589547040
    assert {name: type(value) for name, value in EXAMPLE.items()} == {name: type(body[name]) for name in EXAMPLE}


def test_the_id_is_that_of_the_message():
    """The id in the body is the one in the headers."""
    for message in messages_about(change_of(config({}), config({"a": boolean(True)})), "envelope"):
        assert json.loads(message.body)["id"] == message.id


def test_added_updated_and_removed_flags():
    """Each flag is an event with its definitions; the config as a whole is one more, with the lists of keys."""
    old = config({"gone": boolean(True), "edited": boolean(True), "same": boolean(True)})
    new = config({"come": boolean(True), "edited": boolean(False), "same": boolean(True)})
    found = events(old, new)
    assert [(body["type"], body["data"]) for body in found] == [
        ("FLAG_CREATED", {**WHERE, "key": "come", "newValue": boolean(True), **CREDIT}),
        ("FLAG_UPDATED", {**WHERE, "key": "edited", "oldValue": boolean(True), "newValue": boolean(False), **CREDIT}),
        ("FLAG_DELETED", {**WHERE, "key": "gone", "oldValue": boolean(True), **CREDIT}),
        (
            "CONFIG_UPDATED",
            {
                **WHERE,
                "added": ["come"],
                "updated": ["edited"],
                "removed": ["gone"],
                "affected": ["come", "edited", "gone"],
                "segments": [],
                "saltChanged": False,
                "preferencesChanged": False,
                **CREDIT,
            },
        ),
    ]


def test_a_segment_update_is_an_event_and_one_for_each_flag():
    """An updated segment is SEGMENT_UPDATED with the flags that use it, and FLAG_UPDATED for each of them."""
    flag, de, fr = boolean(False, rule(True, in_segment(0))), segment("home", "DE"), segment("home", "FR")
    found = events(config({"a": flag, "b": boolean(True)}, [de]), config({"a": flag, "b": boolean(True)}, [fr]))
    assert [body["type"] for body in found] == ["FLAG_UPDATED", "SEGMENT_UPDATED", "CONFIG_UPDATED"]
    assert found[0]["data"]["newValue"] == {**flag, "segments": [fr]}
    edited = {**WHERE, "segment": "home", "oldValue": de, "newValue": fr, "flags": ["a"], **CREDIT}
    assert found[1]["data"] == edited


def test_added_and_removed_segments():
    """An added segment has no old definition, a removed one no new definition."""
    found = events(config({}, [segment("old", "DE")]), config({}, [segment("new", "DE")]))
    data = [body["data"] for body in found if body["type"] == "SEGMENT_UPDATED"]
    assert [(d["segment"], d["oldValue"] is None, d["newValue"] is None) for d in data] == [
        ("new", True, False),
        ("old", False, True),
    ]


# Watched users


ANNA = {"Identifier": "42", "Country": "DE"}


def test_a_watched_user_gets_what_a_delta_stream_would():
    """Values that changed for the user are sent with value and variation, removed keys in a list; no others."""
    mine = boolean(False, rule(True, is_one_of("DE", attribute="Country")))
    others = boolean(False, rule(True, is_one_of("FR", attribute="Country")))
    old = config({"mine": boolean(False), "others": boolean(False), "gone": boolean(True)})
    new = config({"mine": mine, "others": others, "come": boolean(True)})
    (body,) = [b for b in events(old, new, users=[ANNA]) if b["type"] == "USER_FLAGS_UPDATED"]
    assert body["data"] == {
        **WHERE,
        "user": ANNA,
        "changed": {
            "come": {"value": True, "variationId": "v-true"},
            "mine": {"value": True, "variationId": "r-true"},
        },
        "removed": ["gone"],
        **CREDIT,
    }


def test_a_watched_user_whose_values_stay_gets_no_event():
    """A change that does not affect a user's values is no event for that user."""
    others = boolean(False, rule(True, is_one_of("FR", attribute="Country")))
    types = [body["type"] for body in events(config({"f": boolean(False)}), config({"f": others}), users=[ANNA])]
    assert "USER_FLAGS_UPDATED" not in types


def test_default_attributes_count_for_watched_users():
    """The SDK's default attributes hold for a watched user, as they do for a stream."""
    french = boolean(False, rule(True, is_one_of("FR", attribute="Country")))
    old, new, users = config({"f": boolean(False)}), config({"f": french}), [{"Identifier": "1"}]
    assert "USER_FLAGS_UPDATED" not in [b["type"] for b in events(old, new, users=users)]
    assert "USER_FLAGS_UPDATED" in [b["type"] for b in events(old, new, users=users, defaults={"Country": "FR"})]


def test_equal_watched_users_are_one():
    """A user configured twice gets one event; an integer and a float of equal value are the same attribute."""
    users = [{"Age": 3}, {"Age": 3.0}, {"Age": "3"}]
    found = messages_about(change_of(config({}), config({"f": boolean(True)})), "envelope", users=users)
    watched = [message.id for message in found if message.type == "USER_FLAGS_UPDATED"]
    assert len(watched) == len(set(watched)) == 2


@given(st.data())
def test_changed_and_removed_lead_from_old_to_new(data):
    """A put of the old values, patched with changed and removed, is what the new config serves, for any user."""
    case = data.draw(strategies.cases())
    other = data.draw(strategies.cases())
    old = load(case.body, '"1"')
    new = load(other.body, '"2"', old)
    for user in (*case.users[:2], *other.users[:2], None):
        values = {key: json.loads(old.evaluate(key, user).json) for key in old.keys}
        changed, removed = user_difference(old, new, difference(old, new).affected, user)
        values.update({key: json.loads(bytes(raw)) for key, raw in changed.items()})
        for key in removed:
            del values[key]
        assert values == {key: json.loads(new.evaluate(key, user).json) for key in new.keys}


@settings(max_examples=15)
@given(st.data())
def test_any_change_fits_the_schemas(data):
    """With any configs, malformed parts included, every message of every format fits its schema."""
    case, other = data.draw(strategies.cases()), data.draw(strategies.cases())
    old = load(case.body, '"1"')
    new = load(other.body, '"2"', old)
    change = Change("shop", old, new, difference(old, new), None, "", AT, 1)
    for style in FORMATS:
        users = [user.attributes for user in case.users[:2]]
        plain = [{name: list(v) if isinstance(v, tuple) else v for name, v in user.items()} for user in users]
        messages = compose(change, endpoint(style, users=plain), CountedIds(), META).messages
        assert len({message.id for message in messages}) == len(messages)
        for message in messages:
            check(style, json.loads(message.body))


# Subscriptions


def test_only_subscribed_types_are_sent_and_the_rest_is_recorded():
    """An endpoint gets the types that it selects; the number of the others is recorded with the reason."""
    change = change_of(config({"x": boolean(True)}), config({"a": boolean(True), "b": boolean(True)}))
    result = compose(change, endpoint("envelope", events=["FLAG_DELETED"]), None, META)
    assert [message.type for message in result.messages] == ["FLAG_DELETED"]
    assert [(s.type, s.count, s.reason) for s in result.skipped] == [
        ("FLAG_CREATED", 2, "the endpoint does not subscribe to FLAG_CREATED"),
        ("CONFIG_UPDATED", 1, "the endpoint does not subscribe to CONFIG_UPDATED"),
    ]
    assert not {s.id for s in result.skipped} & {m.id for m in result.messages}


@pytest.mark.parametrize("style", ["envelope", "notifier", "environment", "audit_log", "slack", "teams", "discord"])
def test_other_sdks_are_skipped_with_the_reason(style):
    """An endpoint with a list of SDKs gets messages about no other; that is recorded."""
    change = change_of(config({}), config({"a": boolean(True)}))
    result = compose(change, endpoint(style, sdks=["other"]), None, META)
    assert (result.messages, [s.reason for s in result.skipped]) == (
        (),
        ["the endpoint does not subscribe to SDK 'shop'"],
    )


# Failures and tests


def test_a_failure_message_identifies_what_was_lost():
    """DELIVERY_FAILED has the endpoint, the message that was given up, and the reason."""
    (failed,) = messages_about(change_of(config({}), config({"a": boolean(True)})), "notifier")
    message = compose_failure_message(endpoint("envelope"), failed, "answered 500", AT + 5)
    body = json.loads(message.body)
    check("envelope", body)
    assert (body["type"], body["id"], body["createdTimestamp"]) == ("DELIVERY_FAILED", message.id, 1583589552040)
    assert body["data"] == {
        **WHERE,
        "endpoint": "notifier",
        "messageId": failed.id,
        "messageFormat": "notifier",
        "messageType": "CONFIG_UPDATED",
        "messageSubject": "shop",
        "messageCreatedTimestamp": 1583589547040,
        "error": "answered 500",
    }


def test_each_failure_has_an_id_of_its_own():
    """Another receiver, failed message or time gives another id; nothing else does."""
    (failed,) = messages_about(change_of(config({}), config({"a": boolean(True)})), "notifier")
    one = compose_failure_message(endpoint("envelope"), failed, "x", AT)
    assert one.id == compose_failure_message(endpoint("envelope"), failed, "x", AT).id
    assert one.id != compose_failure_message(endpoint("envelope", name="b"), failed, "x", AT).id
    assert one.id != compose_failure_message(endpoint("envelope"), failed, "x", AT + 1).id
    assert one.id != compose_failure_message(endpoint("envelope"), attrs.evolve(failed, endpoint="c"), "x", AT).id


def test_receivers_of_a_failure_message():
    """Envelope endpoints that subscribe to it and to the SDK, never the one that failed; none about such a notice."""
    (failed,) = messages_about(change_of(config({}), config({"a": boolean(True)})), "notifier", name="dead")
    endpoints = [
        endpoint("envelope", name="dead"),
        endpoint("envelope", name="all"),
        endpoint("envelope", name="typed", events=["DELIVERY_FAILED"]),
        endpoint("envelope", name="flags", events=["FLAG_UPDATED"]),
        endpoint("envelope", name="elsewhere", sdks=["other"]),
        endpoint("slack", name="chat"),
    ]
    assert [e.name for e in failure_receivers(endpoints, failed)] == ["all", "typed"]
    notice = compose_failure_message(endpoints[1], failed, "x", AT)
    assert failure_receivers(endpoints, notice) == []
    test = compose_test_message(endpoints[0], AT, "1")
    assert [e.name for e in failure_receivers(endpoints, test)] == ["all", "typed", "elsewhere"]


@pytest.mark.parametrize("style", ["envelope", "notifier", "environment", "audit_log", "slack", "teams", "discord"])
def test_a_test_message_fits_the_schema_and_reports_no_change(style):
    """A test has the endpoint's format and the given id, and names no flag."""
    name = "6f6c6f4e-8a51-4c39-9a42-0a1ad0f3f0d4"
    message = compose_test_message(endpoint(style), AT, name, META)
    check(style, json.loads(message.body))
    assert (message.id, message.type, message.endpoint) == (name, "WEBHOOK_TEST", style)


def test_a_malformed_watched_user_is_left_out():
    """An attribute that no user can have prevents that user's events, not the messages about the change."""
    users = [{"Vip": True}, ANNA]
    found = messages_about(change_of(config({}), config({"f": boolean(True)})), "envelope", users=users)
    assert [message.type for message in found] == ["FLAG_CREATED", "CONFIG_UPDATED", "USER_FLAGS_UPDATED"]


def test_a_rule_on_a_segment_that_does_not_exist():
    """A flag that refers to a segment beyond the list is sent without it, in every format."""
    broken = boolean(False, rule(True, in_segment(9)))
    change = change_of(config({"f": boolean(False)}), config({"f": broken}))
    for style in FORMATS:
        for body in bodies(messages_about(change, style)):
            check(style, body)
    assert bodies(messages_about(change, "envelope"))[0]["data"]["newValue"] == {**broken, "segments": []}
