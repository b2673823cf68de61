"""Headless Firefox, driven by WebDriver BiDi itself: Debian has no geckodriver.

``Firefox`` has the methods of Selenium's drivers that the tests of pages use.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import websocket

from eventually import eventually
from gateway_process import unused_port
from outside_tools import find_tool

ANSWER_SECONDS = 60.0
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.proxy.type": 0,
    "toolkit.telemetry.enabled": False,
}


class Firefox:
    """One Firefox with an empty profile; commands are for the tab that was switched to last."""

    def __init__(self, profile: Path) -> None:
        """Start it; the test is skipped, or fails in CI, where it is missing."""
        program = find_tool("firefox-esr")
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(lines), "utf-8")
        port = unused_port()
        with (profile / "firefox.log").open("wb") as log:
            self.process = subprocess.Popen(
                [program, "--headless", "--no-remote", f"--remote-debugging-port={port}", "--profile", str(profile)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"HOME": str(profile), "PATH": "/usr/bin:/bin", "MOZ_CRASHREPORTER_DISABLE": "1"},
            )
        self._count = 0
        self._socket: Any = None
        eventually(lambda: self._connect(port), (profile / "firefox.log").read_text, limit=ANSWER_SECONDS)
        self._command("session.new", capabilities={})
        self.current_window_handle = self.window_handles[0]
        self.switch_to = self

    def _connect(self, port: int) -> bool:
        try:
            self._socket = websocket.create_connection(
                f"ws://127.0.0.1:{port}/session", timeout=ANSWER_SECONDS, suppress_origin=True, http_no_proxy=["*"]
            )
        except OSError:
            return False
        return True

    def _command(self, method: str, **parameters: Any) -> Any:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._count:
                assert answer["type"] == "success", answer
                return answer["result"]

    @property
    def window_handles(self) -> list[str]:
        """Return the tabs."""
        contexts = self._command("browsingContext.getTree", maxDepth=0)["contexts"]
        return [context["context"] for context in contexts]

    def new_window(self, _kind: str) -> None:
        """Open a tab and switch to it."""
        self.current_window_handle = self._command("browsingContext.create", type="tab")["context"]

    def window(self, tab: str) -> None:
        """Switch to a tab."""
        self._command("browsingContext.activate", context=tab)
        self.current_window_handle = tab

    def get(self, url: str) -> None:
        """Open a page."""
        self._command("browsingContext.navigate", context=self.current_window_handle, url=url, wait="complete")

    def refresh(self) -> None:
        """Load the page again."""
        self._command("browsingContext.reload", context=self.current_window_handle, wait="complete")

    def back(self) -> None:
        """Return to the page before."""
        self._command("browsingContext.traverseHistory", context=self.current_window_handle, delta=-1)

    def close(self) -> None:
        """Close the tab."""
        self._command("browsingContext.close", context=self.current_window_handle)

    def execute_script(self, script: str) -> Any:
        """Return what a script returns, as JSON keeps it."""
        answer = self._command(
            "script.evaluate",
            expression=f"JSON.stringify([(() => {{ {script} }})()])",
            target={"context": self.current_window_handle},
            awaitPromise=False,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])[0]

    def quit(self) -> None:
        """End it."""
        self._socket.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
