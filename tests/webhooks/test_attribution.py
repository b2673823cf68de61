"""Who is named for a change: the hooks whose fetches have not ended."""

from __future__ import annotations

import json

from gateway.webhooks.attribution import Credits
from gateway.webhooks.formats.change import Author

JANE, JOHN = Author(first_name="Jane"), Author(first_name="John")


def body(who: str, notes: str = "") -> bytes:
    """A hook's body."""
    return json.dumps({"changedBy": who, "changeNotes": notes}).encode()


def test_a_hook_names_the_author_until_its_fetch_has_ended() -> None:
    """Before and after, and for other SDKs, nobody is named."""
    named = Credits()
    assert (None, "") == named.of("shop")
    end = named.add("shop", body("Jane", "sale"))
    assert (JANE, "sale") == named.of("shop")
    assert (None, "") == named.of("other")
    end()
    assert (None, "") == named.of("shop")


def test_hooks_of_several_people_name_nobody_in_particular() -> None:
    """What may be the one's or the other's is not guessed; the last one who is left is named again."""
    named = Credits()
    jane, john = named.add("shop", body("Jane")), named.add("shop", body("John"))
    assert (None, "") == named.of("shop")
    jane()
    assert (JOHN, "") == named.of("shop")
    john()
    assert (None, "") == named.of("shop")


def test_hooks_of_one_person_are_one_author_with_all_notes() -> None:
    """Notes are told once each, in the order in which they came."""
    named = Credits()
    first = named.add("shop", body("Jane", "one"))
    for notes in ("two", "one"):
        named.add("shop", body("Jane", notes))
    assert (JANE, "one\ntwo") == named.of("shop")
    first()
    assert (JANE, "two\none") == named.of("shop")


def test_a_body_that_names_nobody_hides_no_author() -> None:
    """A hook without, or with broken, JSON changes nothing about the others."""
    named = Credits()
    named.add("shop", body("Jane"))
    for nothing in (b"", b"{}", b'{"changedBy":"O"Neill"}', b"[" * 10_000):
        named.add("shop", nothing)()
    assert (JANE, "") == named.of("shop")
