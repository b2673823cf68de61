"""Which flags of a config cannot serve everybody is known when it comes."""

from __future__ import annotations

import json

import pytest

from gateway.flags import User, find_failing_flags, load

ON = {"v": {"b": True}, "i": "on"}
BASE = {"t": 0, "v": {"b": False}, "i": "off"}


def config(**flags):
    segments = [{"n": "whole", "r": [{"a": "A", "c": 0, "l": ["x"]}]}, {"n": "broken", "r": [{"a": "A", "c": 99}]}]
    return load(json.dumps({"p": {"s": "salt"}, "s": segments, "f": flags}).encode(), "")


def rule(condition):
    return {**BASE, "r": [{"c": [condition], "s": ON}]}


@pytest.mark.parametrize(
    ("flag", "fault"),
    [
        (7, "the setting is not an object"),
        ({"t": 0, "i": "x"}, "setting value is nil"),
        (rule({"u": {"a": "A", "c": 99}}), "comparison operator is invalid"),
        (rule({"u": {"a": "A", "c": 0}}), "comparison value '<nil>' is invalid"),
        (rule({"s": {"s": 9, "c": 0}}), "segment reference is invalid"),
        (rule({"s": {"s": 1, "c": 0}}), "comparison operator is invalid"),
        (rule({"p": {"f": "nowhere", "c": 0, "v": {"b": True}}}), "prerequisite 'nowhere' not found"),
        (rule({"p": {"f": "good", "c": 0, "v": {"s": "x"}}}), "type mismatch"),
        (rule({"p": {"f": "flag", "c": 0, "v": {"b": True}}}), "circular dependency"),
        ({**BASE, "r": [{"c": [], "s": {"v": {"s": "text"}}}]}, "setting value is not of the expected type"),
        ({**BASE, "p": [{"p": 100, "v": {"i": 1}}]}, "setting value is not of the expected type"),
        ({**BASE, "p": 5}, "percentage options are malformed"),
    ],
)
def test_each_kind_of_fault_is_found_and_is_what_an_evaluation_says(flag, fault):
    """The fault is found without a user, in the words of the failure that some user meets."""
    snapshot = config(flag=flag, good=rule({"s": {"s": 0, "c": 0}}))
    found = find_failing_flags(snapshot, None, {})
    assert ["flag"] == list(found)
    assert fault in found["flag"]
    met = {snapshot.evaluate("flag", User({"A": text, "Identifier": "i"})).error for text in ("x", "y")}
    assert found["flag"] in met


def test_a_sound_config_has_none():
    """Missing users and attributes are no faults."""
    snapshot = config(
        good=rule({"s": {"s": 0, "c": 1}}), next=rule({"p": {"f": "good", "c": 0, "v": {"b": True}}}), plain=BASE
    )
    assert {} == find_failing_flags(snapshot, None, {})


def test_flags_taken_over_keep_their_fault_without_being_looked_at():
    """The work for a new config is that of what changed."""
    first = config(bad=7, good=BASE)
    known = {"good": "said before"}
    body = json.dumps({**json.loads(first.body), "f": {"good": BASE, "other": 8}}).encode()
    second = load(body, "", first)
    assert {"good": "said before", "other": "the setting is not an object"} == find_failing_flags(second, first, known)
