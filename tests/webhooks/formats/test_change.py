"""Who made a change: read from an inbound body, never invented."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.formats.change import NAME_LIMIT, NOTES_LIMIT, Author, parse_attribution, parse_author


def test_a_body_with_author_and_notes():
    """ChangedBy and changeNotes are taken from the body."""
    body = json.dumps({"changedBy": "Jane Doe", "changeNotes": " summer sale ", "x": 1}).encode()
    assert parse_attribution(body) == (Author(first_name="Jane", last_name="Doe"), "summer sale")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"changedBy": null, "changeNotes": null}',
        b'{"changedBy": 5, "changeNotes": ["x"]}',
        b'{"changedBy": "  "}',
        b'{"changedBy": "Jane "Jay" Doe"}',
        b'{"changedBy": "\xff"}',
        b'{"changedBy": "\\ud800"}',
        b"[" * 100000,
    ],
)
def test_a_body_without_an_author(body):
    """Other types, blanks and invalid bodies give no author and no failure."""
    assert parse_attribution(body) == (None, "")


@given(st.binary())
def test_no_body_raises(body):
    """Any bytes can be parsed without an exception."""
    author, notes = parse_attribution(body)
    assert isinstance(author, Author | None)
    assert len(notes) <= NOTES_LIMIT


@pytest.mark.parametrize(
    ("text", "author", "shown"),
    [
        ("Jane", Author(first_name="Jane"), "Jane"),
        ("Jane van Dyk", Author(first_name="Jane", last_name="van Dyk"), "Jane van Dyk"),
        ("jane@example.org", Author(email="jane@example.org"), "jane@example.org"),
        ("Jane Doe <jane@x.org>", Author("jane@x.org", "Jane", "Doe"), "Jane Doe"),
        ("<jane@x.org>", Author("jane@x.org"), "jane@x.org"),
        ("a\r\nb\x00c", Author(first_name="a", last_name="b c"), "a b c"),
    ],
)
def test_forms_of_an_author(text, author, shown):
    """A name, an address, or both; line breaks and control characters are blanks."""
    assert parse_author(text) == author
    assert author.display_name == shown


@given(st.text())
def test_authors_are_bounded_and_never_blank(text):
    """An author is one line of bounded length, or None."""
    author = parse_author(text)
    if author is not None:
        assert 0 < len(author.display_name) <= NAME_LIMIT
        assert "\n" not in author.display_name
