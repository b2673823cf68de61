"""Format audit_log, against its seed's example and schema."""

import json

from gateway.webhooks.formats import Author, compose_sdk_message
from outbound_scene import (
    AT,
    CountedIds,
    bodies,
    boolean,
    change_of,
    check,
    config,
    endpoint,
    in_segment,
    messages_about,
    rule,
    segment,
    shape,
)

EXAMPLE = {
    "created_date": "2020-02-23T17:30:57.006318Z",
    "log": "New Flag / Remote Config created: my_feature",
    "author": {"id": 3, "email": "user@domain.com", "first_name": "Kyle", "last_name": "Johnson"},
    "environment": None,
    "project": {"id": 6, "name": "Project name", "organisation": 1},
    "related_object_id": 6,
    "related_object_type": "FEATURE",
}


def acts(old, new, **options):
    found = bodies(messages_about(change_of(old, new, **options), "audit_log"))
    for body in found:
        check("audit_log", body)
    return [(body["related_object_type"], body["log"]) for body in found]


def test_the_example_of_the_original_fits_the_schema():
    """The schema accepts the example of the original's documentation."""
    check("audit_log", EXAMPLE)


def test_the_example_field_by_field():
    """A created flag gives the example's fields, with what is known of the author and null for the rest."""
    author = Author(email="user@domain.com", first_name="Kyle", last_name="Johnson")
    change = change_of(config({}), config({"my_feature": boolean(True)}), author=author, at=1582479057.006318)
    (body,) = bodies(messages_about(change, "audit_log", ids=CountedIds(project=(6, "Project name", 1))))
    check("audit_log", body)
    assert shape(body) == shape(EXAMPLE)
    expected = {**EXAMPLE, "author": {**EXAMPLE["author"], "id": None}, "environment": 1, "related_object_id": 1}
    assert body == expected


def test_flags_are_created_updated_and_deleted():
    """Creating and deleting concern the feature, updating its state."""
    old = config({"gone": boolean(True), "same": boolean(True), "edited": boolean(True)})
    new = config({"come": boolean(True), "same": boolean(True), "edited": boolean(False)})
    assert acts(old, new) == [
        ("FEATURE", "New Flag / Remote Config created: come"),
        ("FEATURE_STATE", "Flag state updated for feature: edited"),
        ("FEATURE", "Flag / Remote Config deleted: gone"),
    ]


def test_a_segment_update_is_an_act_and_one_for_each_flag():
    """An updated segment is an act of its own, besides the updates of the flags that use it."""
    flags = {"uses": boolean(False, rule(True, in_segment(0))), "other": boolean(True)}
    assert acts(config(flags, [segment("home", "DE")]), config(flags, [segment("home", "FR")])) == [
        ("FEATURE_STATE", "Flag state updated for feature: uses"),
        ("SEGMENT", "Segment updated: home"),
    ]


def test_a_renamed_segment_is_deleted_and_created():
    """Segments are identified by name."""
    assert acts(config({}, [segment("old", "DE")]), config({}, [segment("new", "DE")])) == [
        ("SEGMENT", "New Segment created: new"),
        ("SEGMENT", "Segment deleted: old"),
    ]


def test_another_order_of_segments_is_no_act():
    """Moving segments changes none of them."""
    first, second = segment("a", "DE"), segment("b", "FR")
    assert acts(config({}, [first, second]), config({}, [second, first])) == []


def test_segments_that_share_a_name_are_distinguished():
    """Upstreams truncate names: of two segments with one name, only the updated one is an act."""
    old, new = [segment("a", "DE"), segment("a", "FR")], [segment("a", "DE"), segment("a", "AT")]
    assert acts(config({}, old), config({}, new)) == [("SEGMENT", "Segment updated: a")]


def test_salt_and_preferences_are_acts_of_the_environment():
    """The salt is one act, any other preference another."""
    assert acts(config({}), config({}, salt="other")) == [("ENVIRONMENT", "Environment updated: salt of shop changed")]
    assert acts(config({}), config({}, r=1)) == [("ENVIRONMENT", "Environment updated: preferences of shop changed")]
    assert len(acts(config({}), config({}, salt="other", r=1))) == 2


def test_unknown_parts_of_an_author_are_null():
    """What is not known of an author is null, and an unknown author is null as a whole."""
    old, new = config({}), config({"a": boolean(True)})
    (body,) = bodies(messages_about(change_of(old, new, author=Author(email="x@example.org")), "audit_log"))
    assert body["author"] == {"id": None, "email": "x@example.org", "first_name": None, "last_name": None}
    (body,) = bodies(messages_about(change_of(old, new, author=None), "audit_log"))
    assert body["author"] is None


def test_added_and_removed_sdks_are_acts():
    """An SDK added or removed is an act of its environment, with an id for each time; other formats get no message."""
    ids = CountedIds()
    came, went, again = (
        compose_sdk_message(endpoint("audit_log"), "shop", ids, AT, count, added=added)
        for count, added in ((1, True), (2, False), (3, True))
    )
    found = [json.loads(message.body) for message in (came, went, again)]
    for body in found:
        check("audit_log", body)
    assert [body["log"] for body in found] == [
        "New Environment created: shop",
        "Environment deleted: shop",
        "New Environment created: shop",
    ]
    assert found[0]["related_object_id"] == found[1]["related_object_id"] == ids.environment("shop")
    assert len({came.id, went.id, again.id}) == 3
    assert compose_sdk_message(endpoint("envelope"), "shop", ids, AT, 1, added=True) is None
    assert compose_sdk_message(endpoint("audit_log", sdks=["other"]), "shop", ids, AT, 1, added=True) is None
