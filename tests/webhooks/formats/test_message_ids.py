"""Ids of messages: equal for equal history, different for everything else."""

from uuid import UUID

import attrs
import pytest

from outbound_scene import (
    FORMATS,
    CountedIds,
    boolean,
    change_of,
    config,
    in_segment,
    is_one_of,
    messages_about,
    rule,
    segment,
)

ON, OFF = config({"f": boolean(True)}), config({"f": boolean(False)})


@pytest.mark.parametrize("style", FORMATS)
def test_on_off_on_off_is_four_ids(style):
    """A flag turned on, off, on and off again makes four messages with four ids in every format."""
    changes = [
        change_of(OFF, ON, count=1, etags=("0", "1")),
        change_of(ON, OFF, count=1, etags=("1", "0")),
        change_of(OFF, ON, count=2, etags=("0", "1")),
        change_of(ON, OFF, count=2, etags=("1", "0")),
    ]
    sent = [[message.id for message in messages_about(change, style)] for change in changes]
    assert all(len(ids) == len(sent[0]) for ids in sent)
    assert len({name for ids in sent for name in ids}) == 4 * len(sent[0])


@pytest.mark.parametrize("style", FORMATS)
def test_equal_history_gives_equal_ids(style):
    """Two nodes that see the same change at different times, under different names, compute the same ids."""
    here = change_of(OFF, ON, at=1.0, author=None)
    there = change_of(OFF, ON, at=2.0, notes="seen later")
    other = CountedIds()
    other.feature("shop", "something-else")
    first = [message.id for message in messages_about(here, style, name="a")]
    assert first == [message.id for message in messages_about(there, style, name="b", ids=other)]
    assert {UUID(name).version for name in first} == {5}


def test_everything_in_a_transition_counts():
    """Another SDK, another ETag on either side or another count gives other ids."""
    change = change_of(OFF, ON)
    others = [
        change,
        change_of(OFF, ON, sdk="other"),
        change_of(OFF, ON, etags=('"9"', '"2"')),
        change_of(OFF, ON, etags=('"1"', '"9"')),
        change_of(OFF, ON, count=2),
    ]
    assert len({messages_about(each, "notifier")[0].id for each in others}) == len(others)


def test_ids_do_not_collide_within_or_between_formats():
    """Flags, segments, identifiers and users of one name, in all formats, have ids of their own."""
    old = config({"x": boolean(False)}, [segment("x", "DE")])
    new = config(
        {"x": boolean(False, rule(True, in_segment(0)), rule(True, is_one_of("x")))}, [segment("x", "FR")], "s"
    )
    change = change_of(old, new)
    users = [{"Identifier": "x"}]
    ids = [message.id for style in FORMATS for message in messages_about(change, style, users=users)]
    assert len(set(ids)) == len(ids) == 4 + 1 + 3 + 3 + 3


def test_two_segments_of_one_name_have_two_ids():
    """Segments whose names were truncated to the same text have different ids."""
    old = config({}, [segment("x", "DE"), segment("x", "FR")])
    new = config({}, [segment("x", "AT"), segment("x", "CH")])
    ids = [message.id for style in ("envelope", "audit_log") for message in messages_about(change_of(old, new), style)]
    assert len(set(ids)) == len(ids) == 3 + 2


def test_an_id_is_for_ever():
    """Ids are part of what receivers store: this one must never change."""
    (message,) = messages_about(change_of(OFF, ON), "notifier")
    assert message.id == "c00e3593-962d-5b97-b609-7e2f2440a02a"


def test_messages_have_their_sdk_and_etags():
    """A ``DELIVERY_FAILED`` about them repeats the SDK and both ETags."""
    for style in FORMATS:
        for message in messages_about(change_of(OFF, ON), style):
            assert (message.sdk_id, message.old_etag, message.new_etag) == ("shop", '"1"', '"2"')
            assert attrs.evolve(message) == message
