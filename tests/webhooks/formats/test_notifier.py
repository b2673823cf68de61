"""Format notifier, against its seed's example and schema."""

from outbound_scene import (
    META,
    bodies,
    boolean,
    change_of,
    check,
    config,
    in_segment,
    messages_about,
    rule,
    segment,
    shape,
)

EXAMPLE = {
    "meta": {"hostname": "server01"},
    "flags": {
        "deleted": {
            "test-flag": {
                "rule": 'key eq "random-key"',
                "percentage": 100,
                "true": True,
                "false": False,
                "default": False,
            }
        },
        "added": {"test-flag3": {"percentage": 5, "true": "test", "false": "false", "default": "default"}},
        "updated": {
            "test-flag2": {
                "old_value": {
                    "rule": 'key eq "not-a-key"',
                    "percentage": 100,
                    "true": True,
                    "false": False,
                    "default": False,
                },
                "new_value": {
                    "disable": True,
                    "rule": 'key eq "not-a-key"',
                    "percentage": 100,
                    "true": True,
                    "false": False,
                    "default": False,
                },
            }
        },
    },
}


def test_the_example_of_the_original_fits_the_schema():
    """The schema accepts the example of the original's documentation."""
    check("notifier", EXAMPLE)


def test_definitions_are_placed_as_in_the_example():
    """The example's own definitions, taken for flags of a config, give exactly the example's body."""
    flags = EXAMPLE["flags"]
    updated = flags["updated"]["test-flag2"]
    old = config({**flags["deleted"], "test-flag2": updated["old_value"]})
    new = config({**flags["added"], "test-flag2": updated["new_value"]})
    assert bodies(messages_about(change_of(old, new), "notifier")) == [EXAMPLE]


def test_a_segment_edit_updates_each_flag_that_uses_it():
    """A flag that uses an updated segment is updated; its definition contains the segment before and after."""
    de, fr = segment("home", "DE"), segment("home", "FR")
    flag = boolean(False, rule(True, in_segment(0)))
    change = change_of(config({"a": flag, "b": boolean(True)}, [de]), config({"a": flag, "b": boolean(True)}, [fr]))
    (body,) = bodies(messages_about(change, "notifier"))
    check("notifier", body)
    expected = {"a": {"old_value": {**flag, "segments": [de]}, "new_value": {**flag, "segments": [fr]}}}
    assert body["flags"] == {"deleted": {}, "added": {}, "updated": expected}


def test_meta_of_the_endpoint_is_added_and_hostname_is_always_there():
    """An endpoint's own meta is sent besides the host name."""
    change = change_of(config({}), config({"a": boolean(True)}))
    (body,) = bodies(messages_about(change, "notifier", meta={"app": "shop"}))
    assert body["meta"] == {**META, "app": "shop"}
    assert shape(body)["flags"].keys() == shape(EXAMPLE)["flags"].keys()


def test_one_call_per_change():
    """A change of many flags is one message, about the SDK."""
    change = change_of(config({"a": boolean(True)}), config({"b": boolean(True), "c": boolean(True)}))
    assert [(m.type, m.subject) for m in messages_about(change, "notifier")] == [("CONFIG_UPDATED", "shop")]


def test_a_change_without_flags_is_no_message():
    """A segment that no flag uses changes no flag, so there is nothing to send."""
    change = change_of(config({}, [segment("home", "DE")]), config({}, [segment("home", "FR")]))
    assert messages_about(change, "notifier") == []
