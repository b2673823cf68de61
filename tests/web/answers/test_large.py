"""Answers that evaluate all flags of a config with very many flags: given after some turns of the reactor."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.flags import User
from web_memory import Answer, MemorySite, parse_answer, request_bytes

FLAGS = 1_100
USER = {"Email": "anna@example.org"}
STREAM = "/sse/sdk1/eval-all/eyJ1c2VyIjp7IkVtYWlsIjoiYW5uYUBleGFtcGxlLm9yZyJ9fQ"


@pytest.fixture(scope="module")
def config() -> bytes:
    rule = {"c": [{"u": {"a": "Email", "c": 28, "s": "anna@example.org"}}], "s": {"v": {"s": "a"}, "i": "a"}}
    flags = {f"flag{n:05}": {"t": 1, "v": {"s": "v"}, "i": "v", "r": [rule]} for n in range(FLAGS)}
    return json.dumps({"p": {"s": "salt"}, "f": flags}).encode()


@pytest.fixture
def site(config: bytes) -> MemorySite:
    return MemorySite(config)


def later(site: MemorySite, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Return the answer to a request, after checking that it is not given at once, and others are meanwhile."""
    connection = site.connect()
    connection.send(request_bytes(method, path, headers, json.dumps(body) if body is not None else None))
    assert b"" == connection.received()
    one = site.request("POST", "/api/sdk1/eval", {}, json.dumps({"key": "flag00007", "user": USER}))
    assert {"value": "a", "variationId": "a"} == one.json
    site.clock.advance(0)  # all turns until there is no work
    return parse_answer(connection.received())


def test_evaluate_all_has_the_values_of_each_flag(site: MemorySite) -> None:
    """The second time it is answered at once from the kept evaluation."""
    answer = later(site, "POST", "/api/sdk1/eval-all", {"user": USER})
    user = User(dict(USER))
    assert {key: json.loads(site.snapshot.evaluate(key, user).json) for key in site.snapshot.keys} == answer.json
    assert answer.json == site.request("POST", "/api/sdk1/eval-all", {}, json.dumps({"user": USER})).json


def test_ofrep_bulk_has_all_flags(site: MemorySite) -> None:
    """With the value that the user's rule serves."""
    context = {"context": {"targetingKey": "anna", **USER}}
    answer = later(site, "POST", "/ofrep/v1/evaluate/flags", context, **{"X-ConfigCat-SdkId": "sdk1"})
    assert (200, FLAGS, {"a"}) == (answer.status, len(answer.json["flags"]), {f["value"] for f in answer.json["flags"]})


def test_a_stream_begins_with_all_values(site: MemorySite) -> None:
    """Its head and its first event follow the evaluation."""
    answer = later(site, "GET", STREAM, Accept="text/event-stream")
    data = next(line for line in answer.text.splitlines() if line.startswith("data: "))
    assert (200, FLAGS) == (answer.status, len(json.loads(data.removeprefix("data: "))))
