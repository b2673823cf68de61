"""Zero has one sign as far as users are concerned."""

from __future__ import annotations

from gateway.flags import User, load

BODY = b'{"f":{"a":{"t":0,"v":{"b":false},"r":[{"c":[{"u":{"a":"n","c":0,"l":["0"]}}],"s":{"v":{"b":true}}}]}}}'


def test_users_who_are_equal_are_served_equally_whatever_the_sign_of_zero() -> None:
    """``-0.0`` and ``0.0`` make equal users, so a rule on their text must see one text."""
    minus, plus = User({"n": -0.0}), User({"n": 0.0})
    assert minus == plus
    snapshot = load(BODY, "")
    assert [True, True] == [snapshot.evaluate("a", user).value for user in (minus, plus)]
