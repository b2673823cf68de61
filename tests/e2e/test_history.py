"""A real gateway that keeps its configs: earlier moments, a crash, a full disk; with one and with two workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api_client import ApiClient
from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess
from shop import GERMAN, shop
from sick_disk import SmallDisk

pytestmark = pytest.mark.timeout(300)  # two workers start twice, on a machine that may be busy

WORKERS = pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])


class Scene:
    """A gateway whose SDK ``shop`` fetches from ``cdn``."""

    def __init__(self, gateway: GatewayProcess, cdn: CdnStandIn) -> None:
        self.gateway = gateway
        self.cdn = cdn
        self.api = ApiClient(gateway)

    def publish(self, banner: str, **filler: Any) -> float:
        """Change the flag at the upstream, refresh, and return a time at which it is in use."""
        self.cdn.set(shop(banner) | {"f": shop(banner)["f"] | filler})
        assert self.gateway.post("/api/shop/refresh")[0] == 200
        eventually(lambda: self.value() == banner, self.gateway.logs)
        return now()

    def value(self) -> object:
        """Return the flag that clients get."""
        body = json.dumps({"key": "banner", "user": GERMAN}).encode()
        code, answer = self.gateway.post("/api/shop/eval", body)
        return json.loads(answer)["value"] if code == 200 else None

    def explained(self, at: float | str, code: int = 200) -> Any:
        """Return the value of the flag at an earlier moment, or the text of an error."""
        body = {"sdk": "shop", "key": "banner", "user": GERMAN, "at": str(at)}
        answer = self.api.post("/explain", body, code)
        return answer["explained"][0]["value"] if code == 200 else answer["error"]

    def problems(self) -> list[str]:
        """Return the problems on the status page."""
        return json.loads(self.gateway.get("/status", diag=True)[1])["gateway"]["problems"]

    def status(self) -> dict[str, Any]:
        """Return the status page."""
        return json.loads(self.gateway.get("/status", diag=True)[1])

    def gauge(self, name: str) -> float:
        """Return a metric without labels."""
        lines = self.gateway.get("/metrics", diag=True)[1].decode().splitlines()
        (found,) = [line for line in lines if line.startswith(f"{name} ")]
        return float(found.split()[1])


def configs(gateway: GatewayProcess, *words: str) -> Any:
    """Return what ``flaggateway configs`` prints, as JSON."""
    command = [
        str(Path(sys.executable).with_name("flaggateway")),
        "configs",
        "-c",
        str(gateway.home / "flaggateway.yml"),
    ]
    environ = os.environ | {"XDG_STATE_HOME": str(gateway.home / "state")}
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, timeout=120, check=False, env=environ, cwd=gateway.home
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def now() -> float:
    """Return Unix seconds."""
    return datetime.now(UTC).timestamp()


def settings(cdn: CdnStandIn, **more: Any) -> dict[str, Any]:
    sdk = {"key": SDK_KEY, "base_url": cdn.url, "poll_interval": 3600}
    return {"sdks": {"shop": sdk}, "http": {"sse": {"drain_window": 0}}, **more}


@pytest.fixture
def scene(gateway_process: Callable[..., GatewayProcess]) -> Iterator[Callable[..., Any]]:
    """Return a context manager that starts a scene."""

    @contextmanager
    def start(**more: Any) -> Iterator[Scene]:
        with CdnStandIn(shop("first")) as cdn:
            gateway = gateway_process(settings(cdn, **more))
            yield Scene(gateway, cdn)

    return start


@WORKERS
def test_earlier_moments_outlive_a_crash(scene: Callable[..., Any], workers: int) -> None:
    """Each moment has its config, by time and by change; kill -9 loses nothing that was in use for a moment."""
    hook = [{"name": "ops", "url": "http://127.0.0.1:9/", "events": ["FLAG_UPDATED"]}]
    with scene(workers=workers, webhooks=hook) as shop_scene:
        first = now()
        second = shop_scene.publish("second")
        third = shop_scene.publish("third")
        eventually(lambda: shop_scene.gauge("flaggateway_history_configs") == 3)
        shop_scene.gateway.kill()
        shop_scene.gateway.start()
        fourth = shop_scene.publish("fourth")
        moments = {first: "first", second: "second", third: "third", fourth: "fourth", fourth + 999: "fourth"}
        assert moments == {moment: shop_scene.explained(moment) for moment in moments}
        eventually(lambda: len(shop_scene.api.get("/changes")["changes"]) == 3)
        listed = shop_scene.api.get("/changes?sdk=shop")["changes"]
        assert ["fourth", "third", "second"] == [shop_scene.explained(str(each["id"])) for each in listed]
        assert "the history of SDK shop begins at" in shop_scene.explained(first - 3600, 400)
        assert "neither a date" in shop_scene.explained("yesterday", 400)
        body = {"sdk": "shop", "key": "banner", "user": GERMAN, "at": str(first), "compare": {"at": str(third)}}
        (compared,) = shop_scene.api.post("/explain", body)["compared"]
        assert ("third", True) == (compared["other"]["value"], compared["difference"] is not None)


@WORKERS
def test_an_earlier_config_is_served_until_it_is_released(scene: Callable[..., Any], workers: int) -> None:
    """Workers, status, metric and webhooks see one normal change; kill -9 keeps the pin; the file serves the list."""
    hook = [{"name": "ops", "url": "http://127.0.0.1:9/", "events": ["FLAG_UPDATED"]}]
    with scene(workers=workers, webhooks=hook) as shop_scene:
        gateway = shop_scene.gateway
        shop_scene.publish("second")
        shop_scene.publish("broken")
        eventually(lambda: shop_scene.gauge("flaggateway_history_configs") == 3)
        listed = configs(gateway, "list", "--json")["configs"]
        assert [("remote", 3), ("remote", 2), ("remote", None)] == [
            (each["source"], each["change"] and each["change"] + 1) for each in listed
        ]
        good = listed[1]["config"]
        (changed,) = configs(gateway, "diff", good[:8], "--json")["flags"]
        assert ("banner", "updated", "rule 1: second → broken") == (changed["key"], changed["act"], changed["text"])
        assert "second" in json.dumps(configs(gateway, "show", good))
        served = configs(gateway, "serve", good[:6], "--json")
        assert (good, True) == (served["config"], served["stored"])
        eventually(lambda: shop_scene.value() == "second")
        (problem,) = shop_scene.problems()
        assert problem.startswith(f"SDK shop: the config {good} is pinned since ")
        assert good == shop_scene.status()["sdks"]["shop"]["pinned"]["config"]
        assert 1.0 == shop_scene.gauge('flaggateway_config_pinned{sdk_id="shop"}')
        shop_scene.cdn.set(shop("third"))
        assert gateway.post("/api/shop/refresh")[0] == 200
        assert "second" == shop_scene.value()

        gateway.kill()
        assert (good, "second") == (configs(gateway, "list", "--json")["pinned"]["config"], "second")
        assert "served" == configs(gateway, "show", good, "--info")["source"]
        assert "broken → second" in json.dumps(
            configs(gateway, "diff", listed[0]["config"], "--json"), ensure_ascii=False
        )
        gateway.start()
        eventually(lambda: shop_scene.value() == "second", gateway.logs)
        assert gateway.post("/api/shop/refresh")[0] == 200
        assert ("second", good) == (shop_scene.value(), shop_scene.status()["sdks"]["shop"]["pinned"]["config"])
        assert good == configs(gateway, "release", "--json")["config"]
        eventually(lambda: shop_scene.value() == "third", gateway.logs)
        assert [] == shop_scene.problems()
        changes = json.loads(gateway.get("/changes", diag=True)[1])["changes"]
        assert 4 == len(changes)
        assert ["released", "served", "remote", "remote", "remote"] == [
            each["source"] for each in configs(gateway, "list", "--json")["configs"]
        ]


def test_what_cannot_be_served(scene: Callable[..., Any]) -> None:
    """An unknown config is 404, a state that does not allow it 409; pages of other sites are refused."""
    with scene() as shop_scene:
        api, one = shop_scene.api, "/configs/shop"
        eventually(lambda: api.get(one)["configs"])
        assert "has no config 00000000" in api.post(f"{one}/serve", {"id": "00000000"}, 404)["error"]
        assert "hex digits" in api.post(f"{one}/serve", {"id": "x"}, 404)["error"]
        assert "no config of SDK shop is pinned" in api.post(f"{one}/release", None, 409)["error"]
        assert "is held" in api.post(f"{one}/accept", None, 409)["error"]
        assert "is held" in api.post(f"{one}/reject", None, 409)["error"]
        assert "no SDK" in api.post("/configs/other/serve", {"id": "0000"}, 404)["error"]
        api.post(f"{one}/release", None, 403, Origin="https://evil.example")
        assert (404, 400) == (api.ask("GET", f"{one}/ffffffff")[0], api.ask("GET", f"{one}/diff")[0])
        assert 400 == api.ask("GET", f"{one}?limit=0")[0]
        (use,) = api.get(f"{one}?limit=1")["configs"]
        assert shop("first")["f"] == api.get(f"{one}/{use['config']}")["config"]["f"]
        assert [] == api.get(f"{one}/diff?from={use['config']}")["flags"]


def test_a_folder_that_vanishes_holds_up_nothing(scene: Callable[..., Any]) -> None:
    """While it cannot be made again there is a problem; then the config in use is kept."""
    with scene() as shop_scene:
        folder = shop_scene.gateway.home / "state" / "flaggateway"
        eventually((folder / "history.sqlite3").exists)
        shutil.rmtree(folder)
        folder.write_text("in the way")
        shop_scene.publish("second")
        eventually(lambda: any("the history" in problem for problem in shop_scene.problems()))
        assert (0.0, "second") == (shop_scene.gauge("flaggateway_history_recording"), shop_scene.value())
        folder.unlink()
        third = shop_scene.publish("third")
        eventually(lambda: not any("the history" in problem for problem in shop_scene.problems()))
        fourth = shop_scene.publish("fourth")
        assert ("third", "fourth") == (shop_scene.explained(third), shop_scene.explained(fourth))


@pytest.mark.skipif(not SmallDisk.possible(), reason="this machine mounts no file system for us")
def test_a_full_disk_holds_up_nothing(tmp_path: Path) -> None:
    """Flags go on, the problem is shown, and recording resumes by itself."""
    with CdnStandIn(shop("first")) as cdn:
        gateway = SmallDisk({}, tmp_path)
        gateway.settings = settings(cdn, history={"path": str(tmp_path / "disk" / "history.sqlite3")})
        gateway.start()
        try:
            full = Scene(gateway, cdn)
            eventually(lambda: full.gauge("flaggateway_history_configs") == 1)
            filler = {f"filler{n}": {"t": 1, "v": {"s": f"{n * n * n:x}" * 40}} for n in range(500)}
            with gateway.trouble():
                full.publish("second", **filler)
                eventually(lambda: any("the history" in problem for problem in full.problems()), full.problems)
                assert 0.0 == full.gauge("flaggateway_history_recording")
            third = full.publish("third", **filler)
            eventually(lambda: full.problems() == [], full.problems)
            assert ("third", 1.0) == (full.explained(third), full.gauge("flaggateway_history_recording"))
        finally:
            gateway.stop()
