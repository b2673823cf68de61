"""``flaggateway compare``: the evaluations of two gateways for a list of users."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from gateway.cli.command import main
from gateway.migration import PROTOCOLS, Difference, NotComparable, differences
from gateway_process import GatewayProcess
from shop import FRENCH, GERMAN, shop

USERS = "".join(json.dumps(user) + "\n" for user in (GERMAN, FRENCH))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with two SDKs, whose banner differs for users in Germany."""
    home = tmp_path_factory.mktemp("compared")
    sdks = {}
    for name in ("summer", "winter"):
        (home / f"{name}.json").write_text(json.dumps(shop(name)))
        sdks[name] = {"key": name, "offline": {"enabled": True, "local": {"file_path": str(home / f"{name}.json")}}}
    running = GatewayProcess({"sdks": sdks, "http": {"api": {"auth_headers": {"X-Key": "k"}}}}, home)
    running.start()
    yield running
    running.stop()


def run(gateway: GatewayProcess, *more: str, users: str = USERS) -> tuple[int, str, str]:
    command = ["compare", gateway.url, gateway.url, "--users", "-", "--new-header", "X-Key: k", *more]
    result = CliRunner().invoke(main, command, input=users)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("more", [["--old-header", "X-Key: k"], ["--protocol", "ofrep"]], ids=["api", "ofrep"])
def test_equal_gateways_have_no_difference(gateway: GatewayProcess, more: list[str]) -> None:
    """Status 0; the API and OFREP give the same values."""
    status, _, words = run(gateway, "--sdk", "summer", *more)
    assert (0, "2 users compared, 0 differences\n") == (status, words)


def test_differences_are_listed(gateway: GatewayProcess) -> None:
    """Status 2; the user's line, the flag and both values, as text and as JSON."""
    given = ["--sdk", "winter", "--old-sdk", "summer", "--old-header", "X-Key: k"]
    status, text, words = run(gateway, *given)
    assert (2, "USER  FLAG    OLD     NEW\n1     banner  summer  winter\n") == (status, text)
    assert "2 users compared, 1 difference\n" == words
    status, text, _ = run(gateway, *given, "--json")
    found = [{"user": 1, "flag": "banner", "old": "summer", "new": "winter"}]
    assert (2, {"users": 2, "differences": found}) == (status, json.loads(text))


@pytest.mark.parametrize(
    ("more", "users", "words"),
    [
        (["--sdk", "summer"], USERS, "answers 401"),
        (["--sdk", "none", "--old-header", "X-Key: k"], USERS, "answers 404"),
        (["--sdk", "summer"], "\n", "there is no user to compare"),
        (["--sdk", "summer"], "[1]", "line 1 of --users: not a JSON object"),
        (["--sdk", "summer", "--old-header", "bad"], USERS, "a header has the form"),
    ],
)
def test_what_cannot_be_compared(gateway: GatewayProcess, more: list[str], users: str, words: str) -> None:
    """Status 1 and the reason, without attributes of a user."""
    status, _, error = run(gateway, *more, users=users)
    assert (1, True) == (status, words in error), error
    assert "anna" not in error


def test_a_gateway_that_cannot_be_reached(gateway: GatewayProcess, tmp_path: Path) -> None:
    """Status 1; so is an address that is no URL."""
    users = tmp_path / "users.jsonl"
    users.write_text(USERS)
    for old, words in (("http://127.0.0.1:1", "refused"), ("ftp://a", "not an http or https URL")):
        result = CliRunner().invoke(main, ["compare", old, gateway.url, "--users", str(users), "--sdk", "summer"])
        assert (1, True) == (result.exit_code, words in result.stderr), result.stderr


def test_values_are_compared_as_json() -> None:
    """3 and 3.0 are equal, 1 and true are not; a missing value is a difference unless it is missing on both sides."""
    old = {"a": 3, "b": 1, "c": "x", "d": None, "e": [1]}
    new = {"a": 3.0, "b": True, "c": "x", "e": [1], "f": 0}
    assert [Difference("b", 1, True), Difference("f", "(absent)", 0)] == differences(old, new)


def test_users_and_answers_of_unleash() -> None:
    """Attributes become properties; a toggle has the payload of its variant, else whether it is on."""
    protocol = PROTOCOLS["unleash-edge"]
    query = parse_qs(urlsplit(protocol.call({"Identifier": "zoe", "Country": "France"}, "").path).query)
    assert {"userId": ["zoe"], "properties[Country]": ["France"]} == query
    toggles = [
        {"name": "on", "enabled": True, "variant": {"name": "disabled", "enabled": False}},
        {"name": "text", "enabled": True, "variant": {"enabled": True, "payload": {"type": "string", "value": "red"}}},
        {"name": "count", "enabled": True, "variant": {"enabled": True, "payload": {"type": "number", "value": "3"}}},
    ]
    assert {"on": True, "text": "red", "count": 3} == protocol.values({"toggles": toggles})


def test_users_and_answers_of_launchdarkly() -> None:
    """The user is a context in the path, the answer a mapping of flags."""
    protocol = PROTOCOLS["ld-relay"]
    encoded = protocol.call({"Identifier": "zoe", "Country": "France"}, "").path.rpartition("/")[2]
    assert {"kind": "user", "key": "zoe", "Country": "France"} == json.loads(base64.urlsafe_b64decode(encoded))
    assert {"banner": "red"} == protocol.values({"banner": {"value": "red", "variation": 1, "version": 4}})


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("answer", [None, [], {"flags": 1}, {"toggles": {}}, {"a": 1}, "text"])
def test_answers_of_something_else(name: str, answer: object) -> None:
    """They are not mistaken for a gateway without flags."""
    with pytest.raises(NotComparable):
        PROTOCOLS[name].values(answer)
