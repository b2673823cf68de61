"""A real gateway and a file whose flags vanish or break."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_process import GatewayProcess, pause

Start = Callable[..., GatewayProcess]
GOOD = {"t": 1, "v": {"s": "on"}, "i": "v1"}


def write(path: Path, flags: int, failing: int = 0) -> None:
    """Replace the config by one of so many flags."""
    found = {f"flag{number:02}": {"t": 1} if number < failing else GOOD for number in range(flags)}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"p": {"s": "salt"}, "f": found}), "utf-8")
    fresh.replace(path)


def wait_until(ready: Callable[[], Any]) -> None:
    """Wait for up to 15 s."""
    for _ in range(300):
        if ready():
            return
        pause(0.05)
    raise AssertionError(str(ready))


def test_an_emptied_config_is_held_until_it_is_accepted(gateway_process: Start, tmp_path: Path) -> None:
    """Clients keep their values, status and gauges report it, and the command line decides."""
    config = tmp_path / "config.json"
    write(config, 30)
    sdk = {"key": "local", "offline": {"enabled": True, "local": {"file_path": str(config)}}}
    gateway = gateway_process({"sdks": {"shop": sdk}})

    def keys() -> int:
        return len(json.loads(gateway.get("/api/shop/keys")[1])["keys"])

    def problems() -> list[str]:
        return json.loads(gateway.get("/status", diag=True)[1])["gateway"]["problems"]

    def gauges() -> set[str]:
        lines = gateway.get("/metrics", diag=True)[1].decode().splitlines()
        return {line for line in lines if line.startswith(("flaggateway_flags", "flaggateway_config_held"))}

    def configs(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("flaggateway")), "configs", *words, "--json"]
        settings = ["-c", str(gateway.home / "flaggateway.yml")]
        return subprocess.run([*command, *settings], capture_output=True, text=True, timeout=60, check=False)

    write(config, 0)
    wait_until(problems)
    assert [
        "SDK shop: a config is held: 30 of 30 flags would vanish; accept it with: flaggateway configs accept shop"
    ] == (problems())
    assert "degraded" == json.loads(gateway.get("/status", diag=True)[1])["status"]
    assert 30 == keys()
    assert 'flaggateway_config_held{sdk_id="shop"} 1.0' in gauges()
    assert [("shop", 30)] == [(each["sdk_id"], each["removed"]) for each in json.loads(configs("held").stdout)]
    assert 0 == configs("accept", "shop").returncode
    wait_until(lambda: keys() == 0)
    assert 1 == configs("accept", "shop").returncode
    assert [] == problems()

    write(config, 30, failing=3)
    wait_until(problems)
    assert problems()[0].startswith("SDK shop: 3 of 30 flags fail")
    assert {
        'flaggateway_flags{sdk_id="shop"} 30.0',
        'flaggateway_flags_failing{sdk_id="shop"} 3.0',
        'flaggateway_config_held{sdk_id="shop"} 0.0',
    } <= gauges()
    assert gateway.logs().count("a new config is held") == 1
