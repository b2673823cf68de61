"""Name servers that do not answer: a stop does not wait for look-ups."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eventually import eventually
from gateway_process import GatewayProcess

SDKS = 30
# Python imports this module at its start: looking up a name of the CDN takes a minute, and is noted.
SITE = """
import os, socket, time
from pathlib import Path

look_up = socket.getaddrinfo


def slow(host, *args, **named):
    if str(host).endswith(".invalid"):
        with Path(os.environ["LOOKED_UP"]).open("a") as file:
            file.write(f"{host}\\n")
        time.sleep(60)
    return look_up(host, *args, **named)


socket.getaddrinfo = slow
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_does_not_wait_for_look_ups(
    gateway_process: Callable[..., GatewayProcess], tmp_path: Path, workers: int
) -> None:
    """Thirty SDKs whose names are being looked up delay the exit by nothing."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE, "utf-8")
    noted = tmp_path / "noted"
    keys = [f"configcat-sdk-1/{number:022}/{number:022}" for number in range(SDKS)]
    gateway = gateway_process(
        {
            "workers": workers,
            "sdks": {f"s{n}": {"key": key, "base_url": f"http://s{n}.invalid"} for n, key in enumerate(keys)},
            "http": {"sse": {"drain_window": 0}},
        },
        env={"PYTHONPATH": str(tmp_path / "site"), "LOOKED_UP": str(noted)},
        ready=False,
    )
    eventually(lambda: len(noted.read_text().splitlines()) >= 10)
    began = time.monotonic()
    assert 0 == gateway.stop()
    assert time.monotonic() - began < 45  # a look-up takes a minute
    assert "Traceback" not in gateway.logs()
