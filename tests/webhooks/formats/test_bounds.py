"""Messages of changes of thousands of flags, in every format: within the limit, and honest about what is missing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import Endpoint
from gateway.webhooks.formats import Alert, compose_alert
from gateway.webhooks.formats.bounds import cut
from outbound_scene import (
    FORMATS,
    boolean,
    change_of,
    check,
    config,
    in_segment,
    messages_about,
    rule,
    segment,
    textual,
)

LEAST = 32768  # the smallest ``max_message_bytes``
DEFAULT = Endpoint().max_message_bytes
USERS = [{"Identifier": "42"}]


def flags(count, text, prefix="flag"):
    """So many flags with this value."""
    return {f"{prefix}{number:05}": textual(text) for number in range(count)}


def large_change(count):
    """A change that adds, updates and deletes so many flags each, and changes a segment that many flags use."""
    uses = {f"user{number:05}": boolean(False, rule(True, in_segment(0))) for number in range(count)}
    before = config({**flags(count, "x" * 200), **flags(count, "y", "gone"), **uses}, [segment("home", "DE")])
    after = config({**flags(count, "z" * 200), **flags(count, "y", "new"), **uses}, [segment("home", "AT" * 20_000)])
    return change_of(before, after)


def decoded(change, style, limit):
    """The bodies of a change, each within the limit and the schema."""
    messages = messages_about(change, style, users=USERS, max_message_bytes=limit)
    assert messages
    assert max(len(message.body) for message in messages) <= limit
    found = [json.loads(message.body) for message in messages]
    for body in [*found[:20], *found[-20:]]:
        check(style, body)
    return found


@pytest.mark.parametrize("style", FORMATS)
def test_each_format_keeps_to_the_limit(style):
    """Also the smallest one; ids do not depend on it."""
    change = large_change(700)
    decoded(change, style, LEAST)
    ids = [
        [message.id for message in messages_about(change, style, users=USERS, max_message_bytes=limit)]
        for limit in (LEAST, DEFAULT)
    ]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("style", FORMATS)
def test_a_message_that_fits_leaves_nothing_out(style):
    """It has no member ``omitted``."""
    for body in decoded(change_of(config(flags(3, "a")), config(flags(3, "b"))), style, DEFAULT):
        assert '"omitted"' not in json.dumps(body)


def test_a_notifier_message_of_many_flags_has_their_keys():
    """All of them without definitions, or the first ones and the number of the others."""
    change = large_change(2000)
    (body,) = decoded(change, "notifier", DEFAULT)
    assert {"definitions": True, "keys": 0} == body["omitted"]
    assert [2000, 2000] == [len(body["flags"][name]) for name in ("deleted", "added")]
    assert {"old_value": {}, "new_value": {}} == body["flags"]["updated"]["flag00000"]
    (body,) = decoded(change, "notifier", LEAST)
    shown = body["flags"]
    kept = sum(map(len, shown.values()))
    assert 8000 - kept == body["omitted"]["keys"]
    assert kept > 1000
    for name, prefix in (("deleted", "gone"), ("added", "new"), ("updated", "flag")):
        assert list(shown[name]) == [f"{prefix}{number:05}" for number in range(len(shown[name]))]
        assert shown[name]


def test_an_envelope_without_definitions_says_so():
    """A segment that is new still differs from one that was changed, and long lists have their first keys."""
    change = large_change(2000)
    by_type = {body["type"]: body["data"] for body in decoded(change, "envelope", LEAST)}
    summary, edit, values = (by_type[name] for name in ("CONFIG_UPDATED", "SEGMENT_UPDATED", "USER_FLAGS_UPDATED"))
    lists = ("added", "updated", "removed", "affected", "segments")
    left_out = sum(len(getattr(change.changes, name)) - len(summary[name]) for name in lists)
    assert {"definitions": False, "keys": left_out} == summary["omitted"]
    assert ["home"] == summary["segments"]
    assert "new00000" == summary["added"][0]
    assert ({}, {}, {"definitions": True, "keys": 0}) == (edit["oldValue"], edit["newValue"], edit["omitted"])
    assert 2000 == len(edit["flags"])
    assert {} == values["changed"]["flag00000"]
    assert 6000 - len(values["changed"]) - len(values["removed"]) == values["omitted"]["keys"]
    new = change_of(config({}), config({}, [segment("home", "AT" * 20_000)]))
    (edit, _) = decoded(new, "envelope", LEAST)
    assert (None, {}) == (edit["data"]["oldValue"], edit["data"]["newValue"])


@pytest.mark.parametrize("style", ["envelope", "environment"])
def test_one_flag_with_a_large_value(style):
    """Its message has everything else."""
    change = change_of(config({"big": textual("a" * 40_000)}), config({"big": textual("b" * 40_000)}))
    body = decoded(change, style, LEAST)[0]
    if style == "envelope":
        shown, omitted = (body["data"]["key"], body["data"]["newValue"]), body["data"]["omitted"]
        assert ("big", {}) == shown
    else:
        state = body["data"]["new_state"]
        assert ("big", True, None) == (state["feature"]["name"], state["enabled"], state["feature_state_value"])
        omitted = body["omitted"]
    assert {"definitions": True, "keys": 0} == omitted


def test_an_alert_names_as_many_flags_as_fit():
    """The count is that of all."""
    failing = {f"{number}{'k' * 400}": "r" * 400 for number in range(300)}
    alert = Alert("CONFIG_HELD", "shop", '"1"', '"2"', "why", 300, 0, failing, 1.0)
    for limit, shown in ((DEFAULT, 100), (LEAST, 25)):
        endpoint = Endpoint(name="ops", url="http://ops/", max_message_bytes=limit)
        body = compose_alert(alert, endpoint).body
        assert len(body) <= limit
        data = json.loads(body)["data"]
        assert (shown, 300) == (len(data["failing"]), data["failingCount"])


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.text(max_size=9), max_size=30), min_size=1),
    st.integers(-10, 400),
)
def test_lists_are_cut_to_the_room(lists, room):
    """Each keeps its first items, nothing is lost in counting, and what fits is not cut."""
    kept, missing = cut(lists, room, {"b": 3})

    def size(items, name):
        return sum(len(json.dumps(item, ensure_ascii=False).encode()) + 1 + 3 * (name == "b") for item in items)

    assert set(lists) == set(kept)
    assert all(lists[name][: len(kept[name])] == kept[name] for name in lists)
    assert missing == sum(map(len, lists.values())) - sum(map(len, kept.values()))
    assert sum(size(items, name) for name, items in kept.items()) <= max(room, 0)
    if sum(size(items, name) for name, items in lists.items()) <= room:
        assert missing == 0
