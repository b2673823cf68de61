"""The author of a change: who the hook calls name whose fetches have not ended."""

from __future__ import annotations

import json

from gateway.webhooks.attribution import Attribution
from gateway.webhooks.formats import Author

JANE, JOHN = Author(first_name="Jane"), Author(first_name="John")


def body(who: str, notes: str = "") -> bytes:
    """A hook's body."""
    return json.dumps({"changedBy": who, "changeNotes": notes}).encode()


def test_a_hook_names_the_author_until_its_fetch_has_ended() -> None:
    """Before and after, and for other SDKs, there is no author."""
    attribution = Attribution()
    assert (None, "") == attribution.of("shop")
    end = attribution.add("shop", body("Jane", "sale"))
    assert (JANE, "sale") == attribution.of("shop")
    assert (None, "") == attribution.of("other")
    end()
    assert (None, "") == attribution.of("shop")


def test_hooks_of_several_people_give_no_author() -> None:
    """Once only one of them is left, that one is the author again."""
    attribution = Attribution()
    jane, john = attribution.add("shop", body("Jane")), attribution.add("shop", body("John"))
    assert (None, "") == attribution.of("shop")
    jane()
    assert (JOHN, "") == attribution.of("shop")
    john()
    assert (None, "") == attribution.of("shop")


def test_hooks_of_one_person_are_one_author_with_all_notes() -> None:
    """Each note occurs once, in the order of the calls."""
    attribution = Attribution()
    first = attribution.add("shop", body("Jane", "one"))
    for notes in ("two", "one"):
        attribution.add("shop", body("Jane", notes))
    assert (JANE, "one\ntwo") == attribution.of("shop")
    first()
    assert (JANE, "two\none") == attribution.of("shop")


def test_a_body_without_an_author_hides_no_other() -> None:
    """Nor does a body that cannot be parsed."""
    attribution = Attribution()
    attribution.add("shop", body("Jane"))
    for nothing in (b"", b"{}", b'{"changedBy":"O"Neill"}', b"[" * 10_000):
        attribution.add("shop", nothing)()
    assert (JANE, "") == attribution.of("shop")
