"""Replays every recorded answer of ConfigCat Proxy through the Klein path, over memory.

How the file is read: method ``SSE`` is a GET of which only the first event's ``data:`` and ``event:`` lines count;
``@ETAG`` and ``@BULKETAG`` stand for the validator just received; bulk validators compare by presence, bulk items as
sets and without ``eventStreams``, which are ours; lists of CORS and ``Cache-Control`` as supersets; the texts of Go's
parser are opaque; ``3.0`` equals ``3``, as in JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from web_memory import Answer, MemorySite

RECORDED = json.loads((Path(__file__).parent / "answers.json").read_text(encoding="utf-8"))
SUPERSETS = (
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "cache-control",
)
OPAQUE = ("failed to parse JSON body: ", "failed to deserialize incoming 'data': ")
WHOLE = re.compile(r"(?<=[:,\[])(-?[0-9]+)\.0(?=[,}\]])")  # a number in JSON that equals the same one without the end
BULK = "/ofrep/v1/evaluate/flags"


def site_for(variant: str) -> MemorySite:
    body = json.dumps(RECORDED["config_json"]).encode()
    settings = {key: value for key, value in RECORDED["settings"][variant].items() if key in ("http", "sdks")}
    # ConfigCat Proxy refuses booleans, nulls and objects in a context, which this gateway's default converts.
    http = settings.get("http", {})
    settings["http"] = {**http, "ofrep": {**http.get("ofrep", {}), "other_attributes": "reject"}}
    return MemorySite(body, settings, etag='"' + hashlib.sha1(body).hexdigest() + '"')


def received(site: MemorySite, request: dict[str, Any]) -> Answer:
    headers = dict(request.get("headers") or {})
    if headers.get("If-None-Match") == "@ETAG":
        headers["If-None-Match"] = str(site.request("GET", request["path"])["etag"])
    if headers.get("If-None-Match") == "@BULKETAG":
        plain = {name: value for name, value in headers.items() if name != "If-None-Match"}
        headers["If-None-Match"] = str(site.request("POST", BULK, plain, request["body"])["etag"])
    if request["method"] == "SSE":
        headers.setdefault("Accept", "*/*")
    method = "GET" if request["method"] == "SSE" else request["method"]
    return site.request(method, request["path"], headers, request.get("body"))


def body_of(request: dict[str, Any], answer: Answer) -> Any:
    if answer["content-type"] == "text/event-stream":
        first = answer.text.partition("data:")
        lines = (first[1] + first[2].partition("\n\n")[0]).split("\n")
        return "\n".join(line for line in lines if line.startswith(("data:", "event:")))
    text = answer.text
    if request["path"].rstrip("/") == BULK and answer.status == 200:
        return as_set(text)
    return opaque(text)


def as_set(text: str) -> Any:
    items = json.loads(text)
    assert list(items) in (["flags"], ["flags", "eventStreams"])
    return sorted(without_zeros(json.dumps(item, sort_keys=True, separators=(",", ":"))) for item in items["flags"])


def without_zeros(text: str) -> str:
    return WHOLE.sub(r"\1", text)


def items(value: str) -> set[str]:
    return {item.strip() for item in value.split(",")}


def opaque(text: str) -> str:
    for marker in OPAQUE:
        head, found, words = text.partition(marker)
        if found and "has an invalid type" not in words:
            return head + found
    return text


def compare(site: MemorySite, case: dict[str, Any]) -> None:
    request, expected = case["request"], case["answer"]
    answer = received(site, request)
    assert expected["status"] == answer.status
    bulk = request["path"].rstrip("/") == BULK
    wanted = expected["body"]
    if bulk and answer.status == 200:
        wanted = as_set(wanted)
    elif answer["content-type"] != "text/event-stream":
        wanted = opaque(wanted)
    shown = body_of(request, answer)
    assert wanted == (without_zeros(shown) if isinstance(shown, str) else shown)
    for name, value in expected["headers"].items():
        shown = answer[name]
        if name in SUPERSETS:
            assert items(value) <= items(shown or "")
        elif name == "etag" and bulk:
            assert shown is not None
        else:
            assert value == shown, name


@pytest.mark.parametrize("variant", RECORDED["settings"])
def test_every_recorded_answer_is_given(variant: str) -> None:
    """Each recorded request of one state of the settings gets the recorded status, body and headers: none differs."""
    site = site_for(variant)
    faults = []
    for number, case in enumerate(RECORDED["cases"]):
        if case["variant"] == variant:
            try:
                compare(site, case)
            except AssertionError as error:
                faults.append(f"{number} {case['name']}: {error}")
    assert [] == faults


def test_the_corpus_is_whole() -> None:
    """All 295 recorded answers belong to a state of the settings that is replayed."""
    assert 295 == sum(case["variant"] in RECORDED["settings"] for case in RECORDED["cases"])
