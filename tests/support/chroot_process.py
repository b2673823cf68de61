"""A program as another user in a folder with a system of its own, for tests of the image and of the Debian package."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from gateway_process import unused_port


def command_in(root: Path, user: str, env: dict[str, str], *words: str) -> list[str]:
    """Return the command that runs ``words`` in ``root``, with that environment alone."""
    assignments = [f"{name}={value}" for name, value in env.items()]
    return ["chroot", f"--userspec={user}", str(root), "/usr/bin/env", "-i", *assignments, *words]


class ChrootProcess:
    """A gateway in a chroot; a context that ends it."""

    def __init__(
        self, root: Path, user: str, env: dict[str, str], words: list[str], log: Path, mounts: Sequence[str] = ()
    ) -> None:
        """Start it on free ports, which the environment names; ``mounts`` are shell commands in a mount namespace."""
        self._wrapper = []
        if mounts:
            script = "; ".join([*mounts, 'exec "$@"'])
            self._wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
        self.root, self.user = root, user
        self.port = unused_port()
        self.diag_port = unused_port(self.port)
        self.env = {**env, "CONFIGCAT_HTTP_PORT": str(self.port), "CONFIGCAT_DIAG_PORT": str(self.diag_port)}
        self._log = log
        with log.open("wb") as output:
            command = [*self._wrapper, *command_in(root, user, self.env, *words)]
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd="/")

    def logs(self) -> str:
        """Return what it has written."""
        return self._log.read_text("utf-8", "replace")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command in the same place, as the same user, with the same environment."""
        command = [*self._wrapper, *command_in(self.root, self.user, self.env, *words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd="/")

    def ready(self) -> bool:
        """Return whether it is ready; fails the test if it has ended."""
        if self._process.poll() is not None:
            pytest.fail(f"ended with {self._process.returncode}:\n{self.logs()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.diag_port}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a POST to the main port; return status and body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stop(self, seconds: float = 60) -> int:
        """Send SIGTERM and return the exit status; it must end within this time."""
        self._process.terminate()
        return self._process.wait(seconds)

    def __enter__(self) -> Self:
        """Do nothing: it has been started."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
