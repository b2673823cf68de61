"""Both server paths give the same bytes: the recorded corpus and our own cases, but for the date and the retry time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from server_paths import ServerPaths
from web_memory import parse_answer, request_bytes

RECORDED = json.loads(
    (Path(__file__).parents[2] / "conformance" / "answers.json").read_text(encoding="utf-8"),
)
BULK = "/ofrep/v1/evaluate/flags"


def paths_for(variant: str) -> ServerPaths:
    body = json.dumps(RECORDED["config_json"]).encode()
    settings = {key: value for key, value in RECORDED["settings"][variant].items() if key in ("http", "sdks")}
    return ServerPaths(body, settings, etag='"' + hashlib.sha1(body).hexdigest() + '"')


def etag(paths: ServerPaths, method: str, request: dict[str, Any], headers: dict[str, str]) -> str:
    plain = {name: value for name, value in headers.items() if name != "If-None-Match"}
    both = paths.answers(request_bytes(method, request["path"], plain, request.get("body")))
    assert both[0] == both[1]
    return str(parse_answer(both[0].data)["etag"])


def recorded_bytes(paths: ServerPaths, request: dict[str, Any]) -> bytes:
    headers = dict(request.get("headers") or {})
    if headers.get("If-None-Match") in ("@ETAG", "@BULKETAG"):
        method = "GET" if headers["If-None-Match"] == "@ETAG" else "POST"
        headers["If-None-Match"] = etag(paths, method, request, headers)
    if request["method"] == "SSE":
        headers.setdefault("Accept", "*/*")
    method = "GET" if request["method"] == "SSE" else request["method"]
    return request_bytes(method, request["path"], headers, request.get("body"))


def test_the_whole_corpus_is_answered_alike(capsys: pytest.CaptureFixture[str]) -> None:
    """Every recorded request gets equal bytes, is counted equally and leaves the connection equally open."""
    alike, faults = 0, []
    for variant in RECORDED["settings"]:
        paths = paths_for(variant)
        for case in RECORDED["cases"]:
            if case["variant"] == variant:
                klein, fast = paths.answers(recorded_bytes(paths, case["request"]))
                if klein == fast and klein.data:
                    alike += 1
                else:
                    faults.append(f"{case['name']}: {klein} {fast}")
        assert paths.klein.metrics.answers == paths.fast.metrics.answers
    with capsys.disabled():
        print(f" parity of the paths: {alike} of {len(RECORDED['cases'])} recorded answers ", end="")
    assert ([], 295) == (faults, alike)
