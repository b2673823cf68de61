"""A real ``twistd flaggateway`` as a child process, for tests that look at the product from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from threading import Event
from typing import Any

import yaml

START_SECONDS = 110.0  # a start with workers on a busy two-core machine; an idle one needs two seconds
STOP_SECONDS = 20.0  # longer than any drain window a test sets
ATTEMPTS = 4  # each may lose the race for a port once


def unused_port(*others: int) -> int:
    """Return a TCP port that was free a moment ago, and is none of ``others``."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in others:
            return port


def pause(seconds: float) -> None:
    """Wait between two looks at another process; for polling with a deadline only."""
    Event().wait(seconds)


class DidNotStart(Exception):
    """The gateway ended, or was not ready in time; the text holds its log."""


class GatewayProcess:
    """One gateway: start it, ask it, stop it; ``url`` and ``diag`` are its base URLs, without a slash at the end."""

    def __init__(
        self,
        settings: dict[str, Any],
        home: Path,
        *,
        env: dict[str, str] | None = None,
        python: str = sys.executable,
        twistd_options: tuple[str, ...] = (),
        output: int | None = None,
        files: int | None = None,
    ) -> None:
        """Take the settings as the YAML file would have them; ports are filled in where they are missing.

        ``output`` is the descriptor of stdout and stderr, instead of the file that ``logs`` reads.
        ``files`` is the limit of open files of each of its processes.
        """
        self.settings = settings
        self.home = home
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("CONFIGCAT_")}
        self._env = inherited | {"XDG_STATE_HOME": str(home / "state")} | (env or {})
        self._python = python
        self._twistd_options = twistd_options
        self._output = output
        self._limit = [] if files is None else ["prlimit", f"--nofile={files}:{files}", "--"]
        self._process: subprocess.Popen[bytes] | None = None
        self._log = home / "gateway.log"
        self._fixed = {name: settings.get(name, {}).get("port") for name in ("http", "diag")}
        self.port = 0
        self.diag_port = 0

    @property
    def url(self) -> str:
        """Base URL of the routes for applications."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def diag(self) -> str:
        """Base URL of the diagnostics port."""
        return f"http://127.0.0.1:{self.diag_port}"

    @property
    def pid(self) -> int:
        """Process id of the running gateway."""
        assert self._process is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, or None while it runs."""
        return None if self._process is None else self._process.poll()

    def logs(self) -> str:
        """Everything the gateway wrote to stdout and stderr so far, all its starts together."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def start(self, *, ready: bool = True) -> None:
        """Start, and wait until every SDK's first fetch has ended (``ready=False``: until it listens)."""
        for attempt in range(1, ATTEMPTS + 1):
            self._choose_ports()
            self._spawn()
            try:
                self._wait("/readyz" if ready else "/livez")
            except DidNotStart as error:
                self.kill()
                if attempt == ATTEMPTS or "address already in use" not in str(error).lower():
                    raise
            else:
                return

    def restart(self) -> None:
        """Stop gracefully and start again on the same ports, as a deployment does."""
        self.stop()
        self._fixed = {"http": self.port, "diag": self.diag_port}
        self.start()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, wait, and return the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended, and return the exit status."""
        assert self._process is not None
        return self._process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def reload(self, settings: dict[str, Any] | None = None) -> None:
        """Write new settings, if any, and send SIGHUP; does not wait."""
        if settings is not None:
            self.settings = settings
            self._write_settings()
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def get(self, path: str, *, headers: dict[str, str] | None = None, diag: bool = False) -> tuple[int, bytes]:
        """GET a path: status and body, whatever the status."""
        return self._ask(urllib.request.Request((self.diag if diag else self.url) + path, headers=headers or {}))

    def post(self, path: str, body: bytes = b"", *, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """POST a body: status and body, whatever the status."""
        return self._ask(urllib.request.Request(self.url + path, data=body, headers=headers or {}, method="POST"))

    def _ask(self, request: urllib.request.Request) -> tuple[int, bytes]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=15) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def _choose_ports(self) -> None:
        self.port = self._fixed["http"] or unused_port()
        self.diag_port = self._fixed["diag"] or unused_port(self.port)
        self._write_settings()

    def _write_settings(self) -> None:
        http = {"bind": "127.0.0.1"} | self.settings.get("http", {}) | {"port": self.port}
        diag = {"bind": "127.0.0.1"} | self.settings.get("diag", {}) | {"port": self.diag_port}
        text = yaml.safe_dump({"log": {"level": "info"}} | self.settings | {"http": http, "diag": diag})
        (self.home / "flaggateway.yml").write_text(text, "utf-8")

    def _twistd(self) -> tuple[list[str], tuple[int, ...]]:
        """Return how twistd is called, and the descriptors that it inherits."""
        return [str(Path(self._python).with_name("twistd"))], ()

    def _spawn(self) -> None:
        twistd, inherited = self._twistd()
        command = [
            *self._limit, *twistd, "--nodaemon", "--pidfile=", "--logfile=-", *self._twistd_options,
            "flaggateway", "--config", str(self.home / "flaggateway.yml"),
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log if self._output is None else self._output,
                stderr=subprocess.STDOUT,
                env=self._env,
                pass_fds=inherited,
            )

    def _wait(self, path: str) -> None:
        for _ in range(int(START_SECONDS / 0.05)):
            if self.returncode is not None:
                raise DidNotStart(f"ended with {self.returncode}:\n{self.logs()}")
            with contextlib.suppress(OSError):
                if self.get(path, diag=True)[0] == 200:
                    return
            pause(0.05)
        raise DidNotStart(f"not ready after {START_SECONDS} s:\n{self.logs()}")
