"""``flaggateway impact`` with answers that a gateway rarely gives; the usual ones are in e2e/test_command_line.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.testing.threaded import QuietHandler, ThreadedServer

NOBODY = {"total": 0, "examined": 0, "changed": 0, "flags": [], "examples": []}
SOME = NOBODY | {"total": 200, "examined": 100, "changed": 10}
ANSWER = {"added": [], "removed": [], "changed": ["banner"], "missing_workers": 0}
EXAMPLE = {
    "identifier": "a…\x1b[2J",
    "attributes": {"Country": "DE"},
    "changes": [{"key": "banner", "before": None, "after": None}],
}


def run(answer: dict[str, Any], *words: str) -> Any:
    """Return the result of the command when the gateway answers so."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadedServer(Handler) as server:
        command = ["impact", "-", "--sdk", "shop", "--url", f"http://127.0.0.1:{server.port}", *words]
        return CliRunner().invoke(main, command, input="{}")


def audiences(connected: dict[str, Any], sample: dict[str, Any], missing: int = 0) -> dict[str, Any]:
    """Return an answer with these audiences."""
    streams = {"streams": connected["total"], "changed_streams": connected["changed"]}
    return ANSWER | {"connected": connected | streams, "sample": sample, "missing_workers": missing}


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (audiences(NOBODY, NOBODY), 1, "no user is connected, and none was evaluated recently"),
        (audiences(NOBODY, SOME), 2, "10.0 % of the recently evaluated users are above the limit of 9 %"),
        (audiences(SOME, NOBODY), 2, "10.0 % of the connected users are above the limit of 9 %"),
        (audiences(SOME | {"changed": 9}, SOME), 0, ""),
        (audiences(SOME | {"changed": 9}, SOME, 1), 1, "some users are missing"),
        (audiences(SOME, SOME, 1), 2, "1 workers have not answered"),
    ],
)
def test_a_limit_needs_users_to_judge_by(answer: dict[str, Any], status: int, words: str) -> None:
    """A check that sees no users, or not all of them, does not pass."""
    result = run(answer, "--max-percent", "9")
    assert (status, True) == (result.exit_code, words in result.stderr), result.output
    assert 0 == run(answer).exit_code


def test_what_is_not_examined_is_shown_and_control_characters_are_not() -> None:
    """Texts come from users; a terminal must not obey them."""
    shown = run(audiences(SOME | {"examples": [EXAMPLE]}, NOBODY)).stdout
    assert "connected users: 10 of 100 (10.0 %), 100 not examined, would see something else" in shown
    assert 'a…\\x1b[2J {"Country": "DE"}: banner' in shown
    assert "\x1b" not in shown
