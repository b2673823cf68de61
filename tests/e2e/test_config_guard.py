"""A real gateway and a file whose flags vanish or break."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway.upstream.config_cache import cache_key
from gateway_process import GatewayProcess, pause
from streams import Streams, stream_path

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
    wait_until(lambda: gateway.logs().count("a new config is held") == 1)


def flags(count: int, failing: int = 0) -> dict[str, Any]:
    """Return a config of so many flags, the first of which fail."""
    found = {f"flag{number:02}": {"t": 1} if number < failing else GOOD for number in range(count)}
    return {"p": {"s": "salt"}, "f": found}


class Scene:
    """A gateway that fetches every second, its upstream, and what clients and operators see."""

    def __init__(self, start: Start, cdn: CdnStandIn) -> None:
        sdk = {"key": SDK_KEY, "base_url": cdn.url, "poll_interval": 1}
        self.gateway = start({"sdks": {"shop": sdk}, "http": {"sse": {"drain_window": 0}}})
        self.entry = self.gateway.home / "state" / "flaggateway" / "configs" / cache_key(SDK_KEY)

    def counts(self) -> set[int]:
        """Return the numbers of flags of several answers: each has a connection of its own, to either worker."""
        answers = [self.gateway.get("/api/shop/keys")[1] for _ in range(12)]
        return {len(json.loads(answer)["keys"]) for answer in answers}

    def kept(self) -> int:
        """Return the number of flags of the config on disk."""
        return len(json.loads(self.entry.read_bytes().split(b"\n", 2)[2])["f"])

    def status(self) -> dict[str, Any]:
        """Return the status document."""
        return dict(json.loads(self.gateway.get("/status", diag=True)[1]))

    def problems(self) -> str:
        """Return the problems as one text."""
        return " ".join(self.status()["gateway"]["problems"])

    def decide(self, decision: str) -> int:
        """Accept or reject by the diagnostics port; return the status."""
        url = f"{self.gateway.diag}/configs/shop/{decision}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=15) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def start_again(self, workers: int) -> None:
        """Start after a stop or a kill, on the same ports."""
        self.gateway._fixed = {"http": self.gateway.port, "diag": self.gateway.diag_port}
        self.gateway.settings["workers"] = workers
        self.gateway.start()


def test_with_workers_held_configs_reach_neither_clients_nor_the_disk_before_they_are_accepted(
    gateway_process: Start,
) -> None:
    """One is held through restarts without and with the upstream, one rejected and replaced, one accepted and kept.

    The leading process alone keeps configs, so two of the three starts are without workers, which is faster.
    """
    with CdnStandIn(flags(29)) as cdn:
        scene = Scene(gateway_process, cdn)
        eventually(scene.entry.exists)
        cdn.set(flags(0))
        eventually(lambda: "a config is held: 29 of 29 flags would vanish" in scene.problems(), scene.gateway.logs)
        assert scene.status()["sdks"]["shop"]["source"]["status"] == "healthy"
        cdn.down = True
        scene.gateway.stop()
        assert scene.kept() == 29

        scene.start_again(workers=2)
        assert scene.counts() == {29}
        eventually(lambda: "serves the cached config of" in scene.problems(), scene.gateway.logs)
        assert "503 Service Unavailable" in scene.problems()
        cdn.down = False
        eventually(lambda: "a config is held: 29 of 29 flags would vanish" in scene.problems(), scene.gateway.logs)
        assert (scene.counts(), scene.kept()) == ({29}, 29)

        a_rejected_config_is_ignored_until_another_one_comes(scene, cdn)
        cdn.set(flags(0))
        eventually(lambda: "a config is held: 30 of 30 flags would vanish" in scene.problems(), scene.gateway.logs)
        cdn.down = True
        eventually(lambda: "503 Service Unavailable" in scene.problems(), scene.problems)
        assert (scene.decide("accept"), scene.decide("accept")) == (200, 409)
        eventually(lambda: scene.counts() == {0}, scene.gateway.logs)
        eventually(lambda: scene.kept() == 0, scene.gateway.logs)
        scene.gateway.kill()

        scene.start_again(workers=1)
        assert scene.counts() == {0}
        cdn.down = False
        eventually(lambda: scene.status()["status"] == "healthy", scene.problems)
        assert (scene.counts(), scene.status()["gateway"]["problems"]) == ({0}, [])
        assert scene.gateway.stop() == 0


def a_rejected_config_is_ignored_until_another_one_comes(scene: Scene, cdn: CdnStandIn) -> None:
    """The command line decides, and later fetches of the same config change nothing."""
    cdn.set(flags(29, failing=29))
    eventually(lambda: "a config is held: 29 of 29 flags would fail" in scene.problems(), scene.gateway.logs)
    command = [str(Path(sys.executable).with_name("flaggateway")), "configs", "reject", "shop"]
    settings = ["-c", str(scene.gateway.home / "flaggateway.yml")]
    subprocess.run([*command, *settings], capture_output=True, timeout=60, check=True)
    fetches = len(cdn.requests)
    eventually(lambda: len(cdn.requests) > fetches + 1, scene.gateway.logs)
    assert (scene.counts(), scene.problems(), scene.kept()) == ({29}, "", 29)
    assert scene.decide("reject") == 409
    cdn.set(flags(30))
    eventually(lambda: scene.counts() == {30}, scene.gateway.logs)
    eventually(lambda: scene.kept() == 30, scene.gateway.logs)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_config_that_changes_what_too_many_users_see_is_held(
    gateway_process: Start, tmp_path: Path, workers: int
) -> None:
    """No stream gets an event until it is accepted; a config that concerns few users is used at once."""
    config = tmp_path / "config.json"

    def publish(german: str, french: str) -> None:
        rule = {"c": [{"u": {"a": "Country", "c": 28, "s": "DE"}}], "s": {"v": {"s": german}}}
        fresh = config.with_suffix(".new")
        fresh.write_text(json.dumps({"f": {"banner": {"t": 1, "v": {"s": french}, "r": [rule]}}}), "utf-8")
        fresh.replace(config)

    publish("one", "un")
    sdk = {"key": "local", "offline": {"enabled": True, "local": {"file_path": str(config)}}}
    guard = {"upstream": {"guard": {"max_impact_percent": 10}}, "http": {"sse": {"drain_window": 0}}}
    gateway = gateway_process({"workers": workers, "sdks": {"shop": sdk}, **guard})
    streams = Streams()
    try:
        users = [{"Identifier": str(number), "Country": "DE" if number < 2 else "FR"} for number in range(24)]
        opened = [streams.open(gateway.port, stream_path("shop", user)) for user in users]
        streams.read_until(lambda: all(stream.payloads for stream in opened), 60)

        def problems() -> list[str]:
            return list(json.loads(gateway.get("/status", diag=True)[1])["gateway"]["problems"])

        publish("two", "un")
        streams.read_until(lambda: [len(stream.payloads) for stream in opened] == [2, 2, *[1] * 22], 60)
        publish("two", "deux")
        eventually(problems)
        assert ["SDK shop: a config is held: 22 of 24 connected users would see other values"] == [
            each.partition(";")[0] for each in problems()
        ]
        assert [2, 2, *[1] * 22] == [len(stream.payloads) for stream in opened]
        accept = urllib.request.Request(f"{gateway.diag}/configs/shop/accept", data=b"", method="POST")
        assert 200 == urllib.request.urlopen(accept, timeout=60).status
        streams.read_until(lambda: all(len(stream.payloads) == 2 for stream in opened), 60)
        assert [] == problems()
    finally:
        streams.close()
