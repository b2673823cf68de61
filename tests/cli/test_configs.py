"""``flaggateway configs`` against a diagnostics port that the test plays."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
from click.testing import CliRunner

from gateway.cli.command import main
from gateway.testing.threaded import QuietHandler, ThreadedServer
from passwords import login

HELD = {
    "sdk_id": "shop", "reason": "30 of 30 flags would vanish", "since": 1583589547.04, "flags": 0, "added": 0,
    "removed": 30, "changed": 0, "failing": 0, "etag": "b", "etag_in_use": "a",
}  # fmt: skip


class Handler(QuietHandler):
    """The pages of one gateway whose SDK ``shop`` has a held config."""

    seen: ClassVar[list[tuple[str, str]]] = []
    logins: ClassVar[list[str | None]] = []

    def do_GET(self):
        self.seen.append(("GET", self.headers.get("X-Key", "")))
        self.logins.append(self.headers.get("Authorization"))
        self._answer(200, {"held": [HELD]})

    def do_POST(self):
        self.seen.append((self.path, self.headers.get("X-Key", "")))
        act = self.path.rpartition("/")[2]
        if self.path.startswith("/configs/shop/"):
            self._answer(200, {f"{act}ed": HELD})
        else:
            self._answer(409, {"error": "no config of SDK other is held"})

    def _answer(self, code, document):
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def run(tmp_path):
    """Run a command with settings that name the port and its auth headers."""
    Handler.seen.clear()
    with ThreadedServer(Handler) as server:
        settings = tmp_path / "flaggateway.yml"
        port = server.port
        settings.write_text(
            f"sdks: {{shop: {{key: {'a' * 22}/{'b' * 22}}}}}\ndiag: {{port: {port}, auth_headers: {{X-Key: s}}}}\n"
        )
        yield lambda *words: CliRunner().invoke(main, ["configs", "-c", str(settings), *words], catch_exceptions=False)


def test_held_configs_are_a_table_or_json(run):
    """The port and its headers are those of the settings."""
    lines = run("held").stdout.splitlines()
    assert ["SDK", "SINCE", "ADDED", "REMOVED", "CHANGED", "FAILING", "REASON"] == lines[0].split()
    assert "shop  2020-03-07 13:59:07  0      30       0        0        30 of 30 flags would vanish" == lines[1]
    assert [HELD] == json.loads(run("held", "--json").stdout)
    assert [("GET", "s")] * 2 == Handler.seen


def test_a_decision_is_sent(run):
    """Accept and reject print what was held."""
    assert "accepted the held config of SDK shop: 30 of 30 flags would vanish\n" == run("accept", "shop").stdout
    assert HELD == json.loads(run("reject", "shop", "--json").stdout)
    assert ["/configs/shop/accept", "/configs/shop/reject"] == [path for path, _ in Handler.seen]


def test_nothing_to_decide_is_status_1(run):
    """The reason of the gateway is printed."""
    result = run("accept", "other")
    assert (1, True) == (result.exit_code, "no config of SDK other is held" in result.output)


def test_a_gateway_that_does_not_run_is_status_1(run):
    """The address is named, and what to do."""
    result = run("--url", "http://127.0.0.1:1", "held")
    assert (1, True) == (result.exit_code, "http://127.0.0.1:1: " in result.output)
    assert "is the gateway running?" in result.output
    assert 1 == run("--url", "file:///etc/passwd", "held").exit_code


def test_a_user_logs_in_with_the_password_of_the_environment(run, monkeypatch):
    """It is never an argument; without the variable and a terminal the command says what is missing."""
    monkeypatch.delenv("FLAGGATEWAY_PASSWORD", raising=False)
    result = run("--login", "anna", "held")
    assert (1, True) == (result.exit_code, "set FLAGGATEWAY_PASSWORD to the password of anna" in result.output)
    monkeypatch.setenv("FLAGGATEWAY_PASSWORD", "Grüße")
    assert 0 == run("--login", "anna", "held").exit_code
    assert [login("anna", "Grüße")["Authorization"]] == Handler.logins[-1:]
