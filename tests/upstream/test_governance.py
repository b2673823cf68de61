"""Data governance: redirects in the body of a config JSON."""

from __future__ import annotations

import msgspec
import pytest

from gateway.upstream.governance import Accept, FetchAgain, Refuse, check_preferences

GLOBAL = "https://cdn-global.example"


@pytest.mark.parametrize(
    ("preferences", "on_default", "on_custom"),
    [
        (None, Accept(GLOBAL), Accept(GLOBAL)),
        ({}, Accept(GLOBAL), Accept(GLOBAL)),
        ({"u": "https://eu.example"}, Accept(GLOBAL), Accept(GLOBAL)),
        ({"r": 1}, Accept(GLOBAL), Accept(GLOBAL)),
        ({"u": "", "r": 1}, Accept(GLOBAL), Accept(GLOBAL)),
        ({"u": GLOBAL, "r": 2}, Accept(GLOBAL), Accept(GLOBAL)),
        ({"u": "https://eu.example", "r": 0}, Accept("https://eu.example", advised=True), Accept(GLOBAL)),
        ({"u": "https://eu.example", "r": 1}, FetchAgain("https://eu.example", advised=True), Refuse),
        ({"u": "https://eu.example", "r": 2}, FetchAgain("https://eu.example"), FetchAgain("https://eu.example")),
        ({"u": "https://eu.example", "r": 3}, Refuse, Refuse),
        ({"u": "https://eu.example", "r": True}, Refuse, Refuse),
        ({"u": "file:///etc/passwd", "r": 2}, Refuse, Refuse),
    ],
)
def test_data_governance_table(preferences, on_default, on_custom):
    """Each row of the redirect table, from a default and from a custom base."""
    body = msgspec.json.encode({"p": preferences, "f": {}})
    for custom, expected in ((False, on_default), (True, on_custom)):
        verdict = check_preferences(body, GLOBAL, custom=custom)
        assert expected == (type(verdict) if isinstance(expected, type) else verdict)


@pytest.mark.parametrize("body", [b"", b"nope", b"[]", b'{"p":7}', b"\xff", b'{"f":{}}', b'{"f":' + b"[" * 100_000])
def test_a_body_without_readable_preferences_redirects_nowhere(body):
    """A body that is no config JSON is accepted here; the compiler of the flags room refuses it."""
    assert Accept(GLOBAL) == check_preferences(body, GLOBAL, custom=False)
