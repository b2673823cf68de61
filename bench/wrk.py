"""Request load: one run of ``wrk`` in which each request is for another user."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.servers import Server

LOAD = Path(__file__).parent / "load"
SCRIPT = "distinct.lua"
CONNECTIONS = 64
THREADS = 2  # wrk's default; with one thread, a tenth of the two cores was idle while two workers served
WARM_UP = 16  # requests


def available() -> bool:
    return shutil.which("wrk") is not None


def warm_up(server: Server) -> None:
    """Send requests on separate connections, so that every process of the server answers before the measurement."""
    for number in range(WARM_UP):
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        client.request("POST", "/api/sdk1/eval-all", json.dumps({"user": {"Identifier": f"warm-{number}"}}))
        client.getresponse().read()
        client.close()


def run(
    server: Server, kind: str, flags: int, seconds: int, *, script: str = SCRIPT, connections: int = CONNECTIONS
) -> dict[str, float]:
    """Return the number of requests, their rate, latencies, and the server's processor time per request.

    :raises RuntimeError: if a request failed.
    """
    command = [
        "wrk", f"-t{THREADS}", f"-c{connections}", f"-d{seconds}s", "-s", str(LOAD / script), f"http://127.0.0.1:{server.port}",
        "--", kind, str(flags),
    ]  # fmt: skip
    before = server.processor()
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    found = json.loads(line.removeprefix("RESULT "))
    if found["not_2xx"] or found["socket_errors"]:
        raise RuntimeError(f"{kind}: {found}")
    return {
        "requests": found["requests"],
        "rate": found["requests"] / found["seconds"],
        "p50_ms": found["p50_ms"],
        "p99_ms": found["p99_ms"],
        "cpu_us": (server.processor() - before) * 1e6 / max(found["requests"], 1),
    }
