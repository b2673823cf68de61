"""``flaggateway healthcheck`` against a diagnostics port that the test plays."""

from __future__ import annotations

import json
import threading
from typing import ClassVar

import pytest

from gateway.cli.command import main
from gateway.testing.threaded import QuietHandler, ThreadedServer

READY = {"ready": True, "stale": False, "reason": "ready", "sdks": {}}
WAITING = {**READY, "ready": False, "reason": "waiting for the first fetch of: shop"}


class Handler(QuietHandler):
    """The page /readyz of one gateway, and no other page."""

    answer: ClassVar[tuple[int, dict[str, object]]] = (200, READY)
    go_on: ClassVar[threading.Event] = threading.Event()

    def do_GET(self):
        self.go_on.wait(30)
        code, document = self.answer if self.path == "/readyz" else (404, {"error": "not found"})
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server():
    Handler.answer = (200, READY)
    Handler.go_on.set()
    with ThreadedServer(Handler) as running:
        yield running
        Handler.go_on.set()


def settings_file(folder, diag):
    path = folder / "flaggateway.yml"
    path.write_text(f"sdks: {{shop: {{key: {'a' * 22}/{'b' * 22}}}}}\ndiag: {diag}\n")
    return str(path)


def test_a_ready_gateway_is_status_0(runner, server, tmp_path):
    """The port is that of the settings."""
    result = runner.invoke(main, ["healthcheck", "-c", settings_file(tmp_path, f"{{port: {server.port}}}")])
    assert (0, "ready\n") == (result.exit_code, result.stdout)


def test_a_gateway_that_is_not_ready_is_status_1_with_its_reason(runner, server):
    """Docker reserves status 2, so there is no other one; the URL needs no settings."""
    Handler.answer = (503, WAITING)
    url = f"http://127.0.0.1:{server.port}"
    result = runner.invoke(main, ["healthcheck", "--url", url])
    expected = f"Error: {url}: waiting for the first fetch of: shop\n"
    assert (1, "", expected) == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize("words", [["--url", "http://127.0.0.1:1"], ["--url", "ftp://x"], ["--timeout", "0"], ["--no"]])
def test_every_other_outcome_is_status_1(runner, words):
    """No gateway, a wrong URL and wrong options."""
    result = runner.invoke(main, ["healthcheck", *words])
    assert (1, "") == (result.exit_code, result.stdout)
    assert "Error: " in result.stderr


def test_a_gateway_that_does_not_answer_is_status_1(runner, server):
    """The answer has to come within the timeout."""
    Handler.go_on.clear()
    result = runner.invoke(main, ["healthcheck", "--url", f"http://127.0.0.1:{server.port}", "--timeout", "0.2"])
    assert (1, True) == (result.exit_code, "timed out" in result.stderr)


def test_settings_without_a_diagnostics_port_are_named(runner, tmp_path):
    """There is nothing to call."""
    result = runner.invoke(main, ["healthcheck", "-c", settings_file(tmp_path, "{enabled: false}")])
    assert (1, True) == (result.exit_code, "diag.enabled is false" in result.stderr)
