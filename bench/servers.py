"""The measured servers as processes: the baseline, the gateway with one and two workers, and a peer.

The peer is another program with the routes of ConfigCat Proxy, started with the command in ``PEER_CMD``.  In it,
``{config}`` stands for the file with the config JSON, which it must serve as the SDK ``sdk1`` and read again at
``POST /api/sdk1/refresh``, and ``{port}`` for its port on loopback.
"""

# ruff: noqa: TID251  (this process has no reactor)

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import yaml

from bench import machine

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180.0  # enough for a config of 5,000 flags, or for six workers, on a busy machine
TOKEN = "bench"  # refresh requests with this token are not limited in rate
BASELINE, ONE, TWO, PEER = "baseline", "1 worker", "2 workers", "peer"
PEER_COMMAND = os.environ.get("PEER_CMD", "")
NOTHING: Mapping[str, Any] = MappingProxyType({})
KINDS = (BASELINE, ONE, TWO, *([PEER] if PEER_COMMAND else []))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server with its own config file, run by the interpreter ``python`` from the checkout ``root``.

    ``available`` is False if this version cannot run with two workers.
    """

    def __init__(
        self,
        kind: str,
        home: Path,
        config: bytes,
        *,
        guarded: bool = False,
        root: Path = ROOT,
        environ: Mapping[str, str] = NOTHING,
        others: Mapping[str, tuple[str, Path]] = NOTHING,
        python: str = sys.executable,
        **settings: Any,
    ) -> None:
        self.kind = kind
        self._root = root
        self._environ = environ
        self._others = others  # further SDKs: key and config file by id
        self._python = python
        self.home = home / f"{kind.replace(' ', '-')}-{time.monotonic_ns()}"
        self.home.mkdir(parents=True)
        self.file = self.home / "config.json"
        self.file.write_bytes(config)
        self.port = free_port()
        self.diag_port = free_port()
        while self.diag_port == self.port:
            self.diag_port = free_port()
        self.available = True
        self._guarded = guarded
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        log = (self.home / "log").open("wb")
        env = {name: value for name, value in os.environ.items() if not name.startswith("CONFIGCAT_")}
        env["PYTHONPATH"] = str(self._root)
        env |= self._environ
        self._process = subprocess.Popen(self._command(), cwd=self.home, stdout=log, stderr=log, env=env)
        log.close()
        try:
            self._wait()
        except BaseException as error:
            self.stop()
            if self.kind not in {TWO, PEER} or not isinstance(error, RuntimeError):
                raise
            self.available = False
            print(f"{self.kind}: {str(error).splitlines()[-1]}", file=sys.stderr)
        else:
            if self.kind == TWO and len(self.family()) < 3:  # the option exists but has no effect
                self.available = False
                self.stop()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            members = self.family(process.pid)
            process.kill()
            process.wait()
            deadline = time.monotonic() + 5
            while any(Path(f"/proc/{pid}/fd").exists() for pid in members[1:]) and time.monotonic() < deadline:
                time.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def family(self, pid: int | None = None) -> list[int]:
        return machine.family(pid or self.pid)

    def resident(self) -> int:
        """Return the resident memory of all processes of the server in bytes."""
        return sum(machine.resident(pid) for pid in self.family())

    def processor(self) -> float:
        """Return the processor time of all processes of the server in seconds."""
        return sum(machine.processor(pid) for pid in self.family())

    def put(self, config: bytes) -> None:
        """Replace the config file; the server loads it at the next refresh request."""
        fresh = self.home / "next"
        fresh.write_bytes(config)
        fresh.replace(self.file)

    def _command(self) -> list[str]:
        if self.kind == PEER:
            values = {"config": shlex.quote(str(self.file)), "port": str(self.port)}
            return ["/bin/sh", "-c", "exec " + PEER_COMMAND.format_map(values)]
        if self.kind == BASELINE:
            return [sys.executable, "-m", "bench.baseline", str(self.port), str(self.file)]
        api = {"auth_headers": {"X-Auth": TOKEN}} if self._guarded else {}
        sse = {"heart_beat_interval": 20, "stall_timeout": 600, "drain_window": 0}
        settings = {
            "log": {"level": "warn"},
            "workers": 2 if self.kind == TWO else 1,
            "sdks": {
                name: {"key": key, "offline": {"enabled": True, "local": {"file_path": str(path)}}}
                for name, (key, path) in {"sdk1": ("bench-key", self.file), **self._others}.items()
            },
            "http": {"port": self.port, "bind": "127.0.0.1", "api": api, "sse": sse},
            "diag": {"port": self.diag_port, "bind": "127.0.0.1"},
        } | self._settings
        (self.home / "settings.yml").write_text(yaml.safe_dump(settings), "utf-8")
        twistd = Path(self._python).with_name("twistd")
        options = ["--nodaemon", "--pidfile=", "--logfile=-", "flaggateway", "--config", "settings.yml"]
        return [self._python, str(twistd), *options]

    def _wait(self) -> None:
        port, path = (self.diag_port, "/readyz") if self.kind in {ONE, TWO} else (self.port, "/empty")
        answers = {200, 404} if self.kind == PEER else {200}
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                client.request("GET", path)
                if client.getresponse().status in answers:
                    client.close()
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.kind} did not start:\n{(self.home / 'log').read_text('utf-8', 'replace')[-3000:]}")
