"""A start while the upstream is down: the last good config is served at once, and is called stale."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway.upstream.config_cache import cache_key
from gateway_process import GatewayProcess, unused_port
from outside_tools import find_tool
from shop import GERMAN, shop
from streams import Streams, stream_path

Start = Callable[..., GatewayProcess]
EVAL = json.dumps({"key": "banner", "user": GERMAN}).encode()
NAME = cache_key(SDK_KEY)


@pytest.fixture
def streams() -> Iterator[Streams]:
    """A group of streams that is closed with the test."""
    with contextlib.closing(Streams()) as group:
        yield group


def settings(url: str, **more: Any) -> dict[str, Any]:
    """Return settings of one SDK that is fetched every second."""
    sdk = {"key": SDK_KEY, "base_url": url, "poll_interval": 1}
    return {"sdks": {"shop": sdk}, "http": {"sse": {"drain_window": 0}}} | more


def banner(gateway: GatewayProcess) -> str | int:
    """Return the flag's value for a German user, or the status of an error."""
    code, body = gateway.post("/api/shop/eval", EVAL)
    return str(json.loads(body)["value"]) if code == 200 else code


def listens(gateway: GatewayProcess) -> bool:
    """Return whether the main port accepts a connection."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", gateway.port), 15):
        return True
    return False


def page(gateway: GatewayProcess, path: str) -> tuple[dict[str, Any], str | None]:
    """Return a page of the diagnostics port, and its header with the age."""
    with urllib.request.urlopen(gateway.diag + path, timeout=15) as answer:
        return json.load(answer), answer.headers["X-Flaggateway-Config-Age"]


def folder_of(gateway: GatewayProcess) -> Path:
    """Return the directory in which the gateway keeps configs by default."""
    return gateway.home / "state" / "flaggateway" / "configs"


def seconds_to_first_answer(gateway: GatewayProcess) -> float:
    """Start the process; return the time until an evaluation is answered with 200."""
    began = time.monotonic()
    gateway._fixed = {"http": gateway.port, "diag": gateway.diag_port}
    gateway._choose_ports()
    gateway._spawn()
    while True:
        with contextlib.suppress(OSError):
            if gateway.post("/api/shop/eval", EVAL)[0] == 200:
                return time.monotonic() - began
        assert gateway.returncode is None, gateway.logs()
        assert time.monotonic() - began < 40, gateway.logs()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_restart_without_the_upstream_serves_at_once_and_recovers(
    gateway_process: Start, streams: Streams, workers: int
) -> None:
    """Evaluations and streams have the last config; pages say so; the upstream's return is pushed to the streams."""
    with CdnStandIn(shop("before")) as cdn:
        gateway = gateway_process(settings(cdn.url, workers=workers))
        assert banner(gateway) == "before"
        eventually((folder_of(gateway) / NAME).exists)
        assert page(gateway, "/readyz")[0]["stale"] is False
        gateway.stop()
    taken = seconds_to_first_answer(gateway)
    print(f"first answer after {taken:.2f} s with {workers} process(es)")
    assert banner(gateway) == "before"
    eventually(lambda: gateway.get("/readyz", diag=True)[0] == 200, gateway.logs)
    ready, age = page(gateway, "/readyz")
    assert (ready["ready"], ready["stale"], ready["sdks"]["shop"]["stale"]) == (True, True, True)
    assert age is not None
    assert 0 <= int(age) < 600  # a busy machine takes its time to start three processes
    eventually(lambda: page(gateway, "/status")[0]["sdks"]["shop"]["source"]["records"], gateway.logs)
    status, age = page(gateway, "/status")
    assert (status["status"], status["sdks"]["shop"]["stale"], age is None) == ("degraded", True, False)
    eventually(lambda: "serves the cached config of" in str(page(gateway, "/status")[0]["gateway"]["problems"]))
    assert b'flaggateway_config_stale{sdk_id="shop"} 1.0' in gateway.get("/metrics", diag=True)[1]
    stream = streams.open(gateway.port, stream_path("shop", GERMAN, "banner"))
    streams.read_until(lambda: stream.payloads)
    with CdnStandIn(shop("after"), int(cdn.url.rpartition(":")[2])):
        streams.read_until(lambda: len(stream.payloads) > 1)
        assert [payload["value"] for payload in stream.payloads] == ["before", "after"]
        eventually(lambda: page(gateway, "/readyz") == (page(gateway, "/readyz")[0] | {"stale": False}, None))
        eventually(lambda: not page(gateway, "/status")[0]["gateway"]["problems"], gateway.logs)
        assert page(gateway, "/status")[0]["status"] == "healthy"
        assert b'flaggateway_config_stale{sdk_id="shop"} 0.0' in gateway.get("/metrics", diag=True)[1]
        eventually(lambda: b"after" in (folder_of(gateway) / NAME).read_bytes(), gateway.logs)
    assert gateway.stop() == 0


def test_a_kill_loses_nothing(gateway_process: Start) -> None:
    """The entry is on disk soon after the config is in use, not only at a stop."""
    with CdnStandIn(shop("before")) as cdn:
        gateway = gateway_process(settings(cdn.url))
        cdn.set(shop("after"))
        eventually(lambda: b"after" in (folder_of(gateway) / NAME).read_bytes())
        gateway.kill()
    seconds_to_first_answer(gateway)
    assert banner(gateway) == "after"


@pytest.mark.parametrize(
    ("damage", "reason", "workers"),
    [
        (b"\x00" * 4096, "number of values is fewer than expected", 2),
        (b'1000\n"e"\n{"f":{"banner":', "invalid config JSON content", 1),
        (b'1000\n"e"\n' + b" " * 5000, "larger than upstream.max_bytes", 1),
    ],
)
def test_a_damaged_file_is_ignored_with_a_reason_and_replaced(
    gateway_process: Start, damage: bytes, reason: str, workers: int
) -> None:
    """The gateway starts, is not ready without a config, and recovers with the upstream."""
    with CdnStandIn(shop("before")) as cdn:
        gateway = gateway_process(settings(cdn.url, upstream={"max_bytes": 4500}))
        eventually((folder_of(gateway) / NAME).exists)
        gateway.stop()
        port = int(cdn.url.rpartition(":")[2])
    (folder_of(gateway) / NAME).write_bytes(damage)
    gateway._fixed = {"http": gateway.port, "diag": gateway.diag_port}
    gateway.settings["workers"] = workers
    gateway.start(ready=False)
    eventually(lambda: "no SDK has a config to serve" in str(gateway.get("/readyz", diag=True)[1]), gateway.logs)
    eventually(lambda: listens(gateway), gateway.logs)  # workers listen later than the leading process
    assert banner(gateway) == 500
    eventually(lambda: reason in gateway.logs(), gateway.logs)
    with CdnStandIn(shop("after"), port):
        eventually(lambda: banner(gateway) == "after", gateway.logs)
        eventually(lambda: b"after" in (folder_of(gateway) / NAME).read_bytes(), gateway.logs)
    assert gateway.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_directory_that_cannot_be_written_is_a_problem_and_flags_are_served(
    gateway_process: Start, tmp_path: Path, workers: int
) -> None:
    """Below a regular file, where root cannot write either: one warning, and a sentence on the status page."""
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file" / "configs")
    with CdnStandIn(shop("before")) as cdn:
        gateway = gateway_process(settings(cdn.url, cache={"file": {"path": path}}, workers=workers))
        assert banner(gateway) == "before"
        text = f"the config cache {path} cannot be written: Not a directory"
        eventually(lambda: text in str(page(gateway, "/status")[0]["gateway"]["problems"]), gateway.logs)
        cdn.set(shop("after"))
        eventually(lambda: banner(gateway) == "after", gateway.logs)
        assert page(gateway, "/status")[0]["status"] == "degraded"
    assert gateway.stop() == 0
    assert gateway.logs().count(text) == 1


class ReadOnly(GatewayProcess):
    """A gateway whose directory ``configs`` is a mount that is read-only."""

    def _twistd(self) -> tuple[list[str], tuple[int, ...]]:
        configs = self.home / "configs"
        configs.mkdir(exist_ok=True)
        mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
        unshare = [find_tool("unshare"), "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",))]
        return [*unshare, "sh", "-c", mount, str(configs), *super()._twistd()[0]], ()


def test_a_file_on_a_read_only_mount_is_served_and_not_replaced(gateway_process: Start, tmp_path: Path) -> None:
    """Such as a directory that an image brings along: its config is a start, and the problem says that it stays old."""
    home = tmp_path / "read-only"
    (home / "configs").mkdir(parents=True)
    body = json.dumps(shop("image")).encode()
    (home / "configs" / NAME).write_bytes(b'1700000000000\n"e"\n' + body)
    cache = {"file": {"path": str(home / "configs")}}
    gateway = ReadOnly(settings(f"http://127.0.0.1:{unused_port()}", cache=cache), home)
    try:
        gateway.start()
        assert banner(gateway) == "image"
        assert page(gateway, "/readyz")[0]["sdks"]["shop"]["config_age_seconds"] > 10_000_000
        problems = eventually_problems(gateway, 2)
        assert "cannot be written: Read-only file system" in "\n".join(problems)
        assert "serves the cached config of 2023-11-14T22:13:20.000Z" in "\n".join(problems)
        assert gateway.stop() == 0
    finally:
        gateway.kill()


def eventually_problems(gateway: GatewayProcess, count: int) -> list[str]:
    """Return the problems once there are so many."""
    eventually(lambda: len(page(gateway, "/status")[0]["gateway"]["problems"]) == count, gateway.logs)
    return list(page(gateway, "/status")[0]["gateway"]["problems"])


def test_a_file_sdk_and_a_cache_that_is_off_write_nothing(gateway_process: Start, tmp_path: Path) -> None:
    """The directory is not even created."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(shop("local")))
    local = {"key": "local", "offline": {"enabled": True, "local": {"file_path": str(path)}}}
    gateway = gateway_process({"sdks": {"shop": local}})
    assert banner(gateway) == "local"
    with CdnStandIn(shop("before")) as cdn:
        off = gateway_process(settings(cdn.url, cache={"file": {"enabled": False}}))
        assert banner(off) == "before"
        off.stop()
    assert not folder_of(gateway).exists()
    assert not folder_of(off).exists()


def test_a_user_without_a_home_gets_one_warning(gateway_process: Start) -> None:
    """Flags are served, and nothing is kept."""
    env = {"XDG_STATE_HOME": "", "HOME": "/nonexistent"}
    with CdnStandIn(shop("before")) as cdn:
        gateway = gateway_process(settings(cdn.url), env=env)
        assert banner(gateway) == "before"
        assert gateway.stop() == 0
        assert gateway.logs().count("the last good configs are not kept on disk") == 1
