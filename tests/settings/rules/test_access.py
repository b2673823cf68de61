"""Rules of the users of the diagnostics port."""

from __future__ import annotations

import json

import pytest

from gateway.settings import load, masked
from passwords import cheap_hash

SDKS = "sdks: {one: {key: configcat-sdk-1/0123456789abcdefghijkl/lkjihgfedcba9876543210}}\n"
HASH = cheap_hash("a password")


def test_users_and_operators_are_read_and_masked() -> None:
    """From the file and from variables; the names are shown, the hashes are not."""
    text = f"{SDKS}diag:\n  users:\n    anna: {HASH}\n    Jörg: {HASH}\n  operators: [anna]\n"
    loaded = load(text, {})
    assert ((), {"anna": HASH, "Jörg": HASH}) == (loaded.problems, loaded.settings.diag.users)
    shown = masked(loaded.settings)["diag"]
    assert ({"anna": "*****", "Jörg": "*****"}, ["anna"]) == (shown["users"], shown["operators"])
    variables = {"CONFIGCAT_DIAG_USERS": json.dumps({"anna": HASH}), "CONFIGCAT_DIAG_OPERATORS": '["anna"]'}
    assert {"anna": HASH} == load(SDKS, variables).settings.diag.users


@pytest.mark.parametrize(
    ("diag", "option", "expected"),
    [
        ({"users": {"anna": "hunter2"}}, "diag.users.anna", "not a password hash"),
        ({"users": {"anna": "$2b$12$" + "a" * 53}}, "diag.users.anna", "flaggateway password"),
        ({"users": {"a:b": HASH}}, "diag.users.a:b", "not a user name"),
        ({"users": {"": HASH}}, "diag.users.", "not a user name"),
        ({"users": {"x" * 101: HASH}}, "diag.users." + "x" * 101, "not a user name"),
        ({"users": {"\u00fc": HASH, "u\u0308": HASH}}, "diag.users", "the same characters"),
        ({"operators": ["anna"]}, "diag.operators[0]", "diag.users has no such user"),
    ],
)
def test_users_that_could_not_log_in_are_refused(diag: object, option: str, expected: str) -> None:
    """One problem names the option, what is wrong and what is needed, and not the value."""
    (problem,) = load(SDKS + json.dumps({"diag": diag})[1:-1], {}).problems
    assert option == problem.path
    assert expected in str(problem)
    assert "hunter2" not in str(problem)
