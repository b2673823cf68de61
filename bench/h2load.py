"""Request load over TLS with either version of HTTP: one run of ``h2load``, in which all requests are equal."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from bench import configs

if TYPE_CHECKING:
    from bench.servers import Server

CONNECTIONS = 10
BODIES = {
    "eval": {"key": "flag00007", "user": configs.user(17)},
    "eval-all": {"user": configs.user(17)},
}


def available() -> bool:
    return shutil.which("h2load") is not None


def run(server: Server, route: str, seconds: int, *options: str) -> dict[str, float]:
    """Return the number of requests, their rate, and the server's processor time per request.

    ``options`` choose the protocol.

    :raises RuntimeError: if a request failed.
    """
    body = server.home / f"{route}.json"
    body.write_text(json.dumps(BODIES[route]), "utf-8")
    command = [
        "h2load", *options, "-t1", f"-c{CONNECTIONS}", f"-D{seconds}", "-d", str(body),
        "-H", "content-type: application/json", f"https://localhost:{server.port}/api/sdk1/{route}",
    ]  # fmt: skip
    before = server.processor()
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    work = server.processor() - before
    total, failed, errored = (_figure(rf"(\d+) {word}", output) for word in ("total,", "failed", "errored"))
    good = _figure(r"(\d+) 2xx", output)
    if not good or failed or errored:
        raise RuntimeError(f"{route}: {good:.0f} of {total:.0f} requests succeeded")
    return {"requests": good, "rate": good / seconds, "cpu_us": work * 1e6 / good}


def _figure(pattern: str, output: str) -> float:
    found = re.search(pattern, output)
    assert found is not None, output
    return float(found[1])
