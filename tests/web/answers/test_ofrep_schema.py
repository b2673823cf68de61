"""OFREP replies against our own schema, and against the protocol's where a copy of it is installed."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gateway.flags import load
from web_memory import MemorySite, parse_answer

ROOT = Path(__file__).resolve().parents[3]
OWN = json.loads((ROOT / "docs" / "schemas" / "ofrep.schema.json").read_text(encoding="utf-8"))
PROTOCOL = Path(os.environ.get("OFREP_SCHEMAS") or ROOT.parent / "shared" / "ofrep") / "openapi.yaml"
BULK = "/ofrep/v1/evaluate/flags"
BY_ID = {"X-ConfigCat-SdkId": "sdk1"}
RULE = {"c": [{"u": {"a": "Identifier", "c": 28, "s": "1"}}], "s": {"v": {"s": "me"}, "i": "m"}}
CONFIG = {
    "f": {
        "bool": {"t": 0, "v": {"b": True}, "i": "v1"},
        "text": {"t": 1, "v": {"s": "other"}, "r": [RULE]},
        "int": {"t": 2, "v": {"i": 7}, "i": "v3"},
        "float": {"t": 3, "v": {"d": 7.5}, "i": "v4"},
        "whole": {"t": 3, "v": {"d": 7.0}, "i": "v5"},
        "broken": {"t": 0, "v": {"b": True}, "r": [{"c": [{"p": {"f": "nope"}}], "s": {"v": {"b": True}}}]},
    }
}

CASES = [
    *[
        (f"{BULK}/{key}", "{}", BY_ID, 200, "single", "serverEvaluationSuccess")
        for key in CONFIG["f"]
        if key != "broken"
    ],
    (f"{BULK}/text", '{"context":{"targetingKey":"1"}}', BY_ID, 200, "single", "serverEvaluationSuccess"),
    (f"{BULK}/broken", "{}", BY_ID, 500, "serverError", "generalErrorResponse"),
    (f"{BULK}/nope", "{}", BY_ID, 404, "singleError", "flagNotFound"),
    (f"{BULK}/bool", "{}", {"X-ConfigCat-SdkId": "nope"}, 404, "singleError", "flagNotFound"),
    (f"{BULK}/bool", "{", BY_ID, 400, "singleError", "evaluationFailure"),
    (f"{BULK}/bool", "{}", {}, 400, "singleError", "evaluationFailure"),
    (BULK, '{"context":{"targetingKey":"1","a":["b"],"n":1.5}}', BY_ID, 200, "bulk", "bulkEvaluationSuccess"),
    (BULK, "", BY_ID, 200, "bulk", "bulkEvaluationSuccess"),
    (BULK, '{"context":7}', BY_ID, 400, "bulkError", "bulkEvaluationFailure"),
    (BULK, "{}", {}, 400, "bulkError", "bulkEvaluationFailure"),
    (BULK, "{}", {"X-ConfigCat-SdkKey": "nope"}, 404, "bulkError", "bulkEvaluationFailure"),
]


def patched(protocol: dict[str, Any]) -> dict[str, Any]:
    """Return the protocol's schemas with the three changes without which no answer of a ConfigCat config could pass.

    They are listed in docs/compatibility.md.
    """
    patched = copy.deepcopy(protocol)
    schemas = patched["components"]["schemas"]
    success = schemas["evaluationSuccess"]["allOf"]
    success[0]["properties"]["reason"]["enum"].append("DEFAULT")
    success[1]["anyOf"] = success[1].pop("oneOf")
    schemas["flagNotFound"]["properties"]["errorCode"]["enum"].append("GENERAL")
    return patched


def events() -> list[Any]:
    """Return the data of a stream's events: after a reconnect, after a change, and at the next reconnect."""
    site = MemorySite(CONFIG)
    path = site.request("POST", BULK, BY_ID, "{}").json["eventStreams"][0]["endpoint"]["requestUri"]
    connection = site.connect()
    connection.send(f"GET {path} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
    text = parse_answer(connection.received()).text
    site.hub.publish(load(b'{"f":{}}', '"2"'))
    site.hub.work(lambda: False)
    site.clock.advance(1)
    site.hub.work(lambda: False)
    text += connection.received().decode()
    again = site.connect()
    last = text.rpartition("id: ")[2].partition("\n")[0]
    again.send(f"GET {path} HTTP/1.1\r\nHost: g\r\nLast-Event-ID: {last}\r\n\r\n".encode())
    text += parse_answer(again.received()).text
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def check(schema: dict[str, Any], pointer: str, value: object) -> None:
    """Fail unless ``value`` is valid by the definition at ``pointer``."""
    Draft202012Validator(schema | {"$ref": pointer}).validate(value)


def test_our_schema_is_valid() -> None:
    """The schema itself is valid, and refuses a wrong reply."""
    Draft202012Validator.check_schema(OWN)
    for name in OWN["$defs"]:
        assert list(Draft202012Validator(OWN | {"$ref": f"#/$defs/{name}"}).iter_errors({"other": 1}))


@pytest.mark.parametrize(("path", "body", "headers", "status", "own", "theirs"), CASES)
def test_answers_are_valid_by_our_schema(
    path: str, body: str, headers: dict[str, str], status: int, own: str, theirs: str
) -> None:
    """Each kind of reply has a definition that describes all of it."""
    answer = MemorySite(CONFIG).request("POST", path, headers, body)
    assert status == answer.status
    check(OWN, f"#/$defs/{own}", answer.json)


def test_events_are_valid_by_our_schema() -> None:
    """The events of a stream have a definition too."""
    found = events()
    assert ["refetchEvaluation", "refetchEvaluation", "recovered"] == [event["type"] for event in found]
    for event in found:
        check(OWN, "#/$defs/recovered" if event["type"] == "recovered" else "#/$defs/event", event)


@pytest.mark.skipif(not PROTOCOL.exists(), reason="no copy of the protocol (OFREP_SCHEMAS names its folder)")
def test_answers_are_valid_by_the_protocol() -> None:
    """With the listed patch, and not without it, the protocol's own schemas accept every reply and event."""
    protocol = yaml.safe_load(PROTOCOL.read_text(encoding="utf-8"))
    schemas = patched(protocol)
    refused = set()
    for path, body, headers, _, _, theirs in CASES:
        answer = MemorySite(CONFIG).request("POST", path, headers, body).json
        check(schemas, f"#/components/schemas/{theirs}", answer)
        if list(Draft202012Validator(protocol | {"$ref": f"#/components/schemas/{theirs}"}).iter_errors(answer)):
            refused.add(theirs)
    assert {"serverEvaluationSuccess", "bulkEvaluationSuccess", "flagNotFound"} == refused
    for event in events():
        check(schemas, "#/components/schemas/sseEventData", event)
