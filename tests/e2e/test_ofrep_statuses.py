"""What OpenFeature's providers do on each status: the facts of docs/ofrep.md."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
from openfeature.api import get_client, set_provider_and_wait
from openfeature.contrib.provider.ofrep import OFREPProvider
from requests.adapters import BaseAdapter

HERE = Path(__file__).resolve().parent
JSON = "application/json"
DETAILS = '"errorDetails":"why"}'
# The bodies are those of the gateway; 403, 429 and 503 come from proxies in front, "lost" is no answer at all.
ANSWERS: dict[str, dict[str, Any]] = {
    "400": {"body": '{"errorCode":"INVALID_CONTEXT",' + DETAILS, "type": JSON},
    "401": {"body": "Unauthorized\n", "type": "text/plain; charset=utf-8"},
    "403": {"body": "forbidden", "type": "text/plain"},
    "404": {"body": '{"errorCode":"GENERAL",' + DETAILS, "type": JSON},
    "413": {"body": "the request body is too large\n", "type": "text/plain; charset=utf-8"},
    "429": {"body": "slow down", "type": "text/plain", "headers": {"Retry-After": "60"}},
    "500": {"body": "{" + DETAILS, "type": JSON},
    "503": {"body": "unavailable", "type": "text/plain"},
    "lost": {},
}


def test_the_web_provider_keeps_the_values_of_the_previous_user(node: str) -> None:
    """After a failed request for a new user the status is READY, and the values are those of the user before.

    After a failed first request there is no other one; after a failed poll the values stay and the status is STALE.
    """
    command = [node, "clients/ofrep_statuses.mjs"]
    ended = subprocess.run(
        command, cwd=HERE, input=json.dumps(ANSWERS), capture_output=True, text=True, check=False, timeout=90
    )
    assert 0 == ended.returncode, ended.stderr
    seen = {status: cases for status, *cases in map(json.loads, ended.stdout.splitlines())}
    assert seen.keys() == ANSWERS.keys()
    for status, (start, change, poll) in seen.items():
        assert ["FATAL" if status in ("401", "403") else "ERROR", "default", False] == start, status
        event = "Stale" if status == "429" else "Error"
        assert ["READY", [event, "ContextChanged"], "of anna"] == change, status
        assert ["STALE", ["Stale"], "of anna", status != "429"] == poll, status


class Answering(BaseAdapter):
    """Gives one answer to every request, and counts them."""

    def __init__(self, status: str) -> None:
        super().__init__()
        self.status = status
        self.requests = 0

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        """Return the answer."""
        self.requests += 1
        if self.status == "lost":
            raise requests.ConnectionError("refused")
        answer = ANSWERS[self.status]
        response = requests.Response()
        response.status_code = int(self.status)
        response._content = answer["body"].encode()
        response.headers.update({"Content-Type": answer["type"], **answer.get("headers", {})})
        response.request, response.url = request, str(request.url)
        return response

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("status", ANSWERS)
def test_the_python_provider_returns_the_default(status: str) -> None:
    """Each evaluation is a request of its own, and a failed one returns the application's default with a code."""
    provider = OFREPProvider("http://gateway.invalid")
    answering = Answering(status)
    provider.session.mount("http://", answering)
    set_provider_and_wait(provider, domain=status)
    client = get_client(domain=status)
    for _ in range(2):
        details = client.get_string_details("banner", "default")
        code = {"400": "INVALID_CONTEXT", "404": "FLAG_NOT_FOUND"}.get(status, "GENERAL")
        assert ("default", code) == (details.value, details.error_code.value)
    # After 429 the provider sends nothing until Retry-After has passed.
    assert (1 if status == "429" else 2) == answering.requests
    provider.session.close()
