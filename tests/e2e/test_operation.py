"""The process as an operator sees it: start, reload, stop, and what happens when something is wrong."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from eventually import eventually
from gateway.testing.threaded import QuietHandler, ThreadedServer
from gateway_process import DidNotStart, GatewayProcess, pause
from streams import Stream, Streams, stream_path

Start = Callable[..., GatewayProcess]

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
# Of the second and the third signal after the first; in the nightly run at thirteen moments, five times each.
MOMENTS = [(n / 20, 0.0) for n in range(13) for _ in range(5)] if NIGHTLY else []


def flag(value: int) -> dict[str, Any]:
    """Return an integer flag."""
    return {"t": 2, "v": {"i": value}, "i": f"v{value}"}


def write(path: Path, flags: dict[str, Any]) -> None:
    """Put a config in place of another, atomically."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"p": {"s": "salt"}, "f": flags}), "utf-8")
    fresh.replace(path)


def local(path: Path, **more: Any) -> dict[str, Any]:
    """Return the settings of an SDK that reads a file."""
    return {"key": "local", "offline": {"enabled": True, "local": {"file_path": str(path)}}} | more


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config file with one flag."""
    path = tmp_path / "config.json"
    write(path, {"number": flag(0)})
    return path


@pytest.fixture
def streams() -> Iterator[Streams]:
    """A group of streams that is closed with the test."""
    group = Streams()
    with contextlib.closing(group):
        yield group


def status_of(gateway: GatewayProcess) -> dict[str, Any]:
    """Return the status document."""
    return json.loads(gateway.get("/status", diag=True)[1])


def await_reloads(gateway: GatewayProcess, count: int) -> dict[str, Any]:
    """Return what the status page says of the gateway once it has seen ``count`` reloads."""
    for _ in range(400):
        told = status_of(gateway)["gateway"]
        if told["reloads"] >= count:
            return told
        pause(0.025)
    raise AssertionError(f"reload {count} did not come: {gateway.logs()}")


def test_a_hundred_streams_survive_ten_reloads_on_the_same_sockets(
    gateway_process: Start, config: Path, tmp_path: Path, streams: Streams
) -> None:
    """A reload that adds and removes another SDK and changes headers touches no stream of an SDK that stays."""
    other = tmp_path / "other.json"
    write(other, {"number": flag(7)})
    plain = {"sdks": {"shop": local(config)}}
    gateway = gateway_process(plain)
    for number in range(100):
        streams.open(gateway.port, stream_path("shop", {"Identifier": str(number)}))
    streams.read_until(lambda: all(stream.payloads for stream in streams.all))
    for turn in range(1, 11):
        more = {"sdks": {"shop": local(config), "other": local(other)}, "http": {"sse": {"headers": {"X-Turn": "1"}}}}
        gateway.reload(more if turn % 2 else plain)
        told = await_reloads(gateway, turn)
        assert told["reload_errors"] == []
        assert gateway.post("/api/other/eval", b'{"key":"number"}')[0] == (200 if turn % 2 else 404)
    write(config, {"number": flag(1)})
    streams.read_until(lambda: all(len(stream.payloads) == 2 for stream in streams.all))
    assert [stream.ended for stream in streams.all] == [False] * 100
    assert {stream.payloads[-1]["number"]["value"] for stream in streams.all} == {1}


def test_a_bad_file_changes_nothing_and_says_why(gateway_process: Start, config: Path) -> None:
    """Every problem is in the log and on the status page, and the old settings go on serving."""
    gateway = gateway_process({"sdks": {"shop": local(config)}})
    gateway.reload({"sdks": {"shop": local(config)}, "log": {"level": "loud"}, "tls": {"min_version": "9"}})
    told = await_reloads(gateway, 1)
    assert len(told["reload_errors"]) == 2
    reason = told["reload_errors"][0]
    assert told["problems"] == [f"the last reload was refused, the old settings stay; the first of 2 reasons: {reason}"]
    eventually(lambda: "log.level" in gateway.logs(), gateway.logs)
    assert gateway.post("/api/shop/eval", b'{"key":"number"}') == (200, b'{"value":0,"variationId":"v0"}')


def test_options_that_need_a_restart_are_named(gateway_process: Start, config: Path) -> None:
    """A reload says what it could not apply."""
    gateway = gateway_process({"sdks": {"shop": local(config)}})
    gateway.reload({"sdks": {"shop": local(config)}, "log": {"format": "json", "level": "info"}})
    await_reloads(gateway, 1)
    eventually(lambda: "take a restart: log.format" in gateway.logs(), gateway.logs)


def test_changed_default_attributes_end_the_streams_they_were_opened_with(
    gateway_process: Start, config: Path, streams: Streams
) -> None:
    """A stream's user holds the defaults, so its client comes back to be told with the new ones."""
    gateway = gateway_process({"sdks": {"shop": local(config)}})
    stream = streams.open(gateway.port, stream_path("shop"))
    streams.read_until(lambda: stream.payloads)
    gateway.reload({"sdks": {"shop": local(config, default_user_attributes={"Country": "DE"})}})
    streams.read_until(lambda: stream.ended)


def test_a_stop_spreads_the_ends_of_streams_over_the_drain_window_and_exits_zero(
    gateway_process: Start, config: Path, streams: Streams
) -> None:
    """Streams end one after the other, none is cut off, and the exit status is 0."""
    gateway = gateway_process({"sdks": {"shop": local(config)}, "http": {"sse": {"drain_window": 2}}})
    for number in range(40):
        streams.open(gateway.port, stream_path("shop", {"Identifier": str(number)}))
    streams.read_until(lambda: all(stream.payloads for stream in streams.all))
    began = time.monotonic()
    os.kill(gateway.pid, signal.SIGTERM)
    ended: dict[int, float] = {}

    def all_ended() -> bool:
        for number, stream in enumerate(streams.all):
            if stream.ended:
                ended.setdefault(number, time.monotonic() - began)
        return len(ended) == 40

    streams.read_until(all_ended)
    assert gateway.stop() == 0
    assert max(ended.values()) - min(ended.values()) > 1.0
    assert all(stream.buffer.endswith(b"\r\n") or stream.buffer == b"" for stream in streams.all)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("pauses", [(0.0,), (0.05, 0.0, 0.05), (0.5, 0.2, 0.2), *MOMENTS])
def test_a_second_stop_signal_ends_the_drain_and_later_ones_change_nothing(
    gateway_process: Start, config: Path, streams: Streams, pauses: tuple[float, ...], workers: int
) -> None:
    """However soon they follow: exit status 0, no traceback, and no wait for the drain window after the second."""
    window = 20
    settings = {"sdks": {"shop": local(config)}, "http": {"sse": {"drain_window": window}}, "workers": workers}
    gateway = gateway_process(settings)
    for number in range(10):
        streams.open(gateway.port, stream_path("shop", {"Identifier": str(number)}))
    streams.read_until(lambda: all(stream.payloads for stream in streams.all))
    os.kill(gateway.pid, signal.SIGTERM)
    began = time.monotonic()
    for number, seconds in enumerate(pauses):
        pause(seconds)
        if gateway.returncode is None:  # not the number of the one before: the kernel keeps one signal of a kind
            os.kill(gateway.pid, signal.SIGTERM if number % 2 else signal.SIGINT)
    assert 0 == gateway.wait()
    assert time.monotonic() - began < window / 2
    assert "Traceback" not in gateway.logs()
    assert "ReactorNotRunning" not in gateway.logs()
    assert 1 == gateway.logs().count("second stop signal")


def test_a_request_in_flight_is_answered_before_the_exit(gateway_process: Start, tmp_path: Path) -> None:
    """A stop waits for a refresh whose upstream takes its time."""
    with slow_upstream() as port:
        gateway = gateway_process(
            {"sdks": {"shop": {"key": KEY, "base_url": f"http://127.0.0.1:{port}", "poll_interval": 3600}}}
        )
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(b"POST /api/shop/refresh HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            pause(0.3)
            os.kill(gateway.pid, signal.SIGTERM)
            client.settimeout(10)
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert gateway.stop() == 0


def test_a_taken_port_ends_the_start_with_one_clear_line(gateway_process: Start, config: Path) -> None:
    """Exit status 1, the port and the reason, and no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DidNotStart) as raised:
            gateway_process({"sdks": {"shop": local(config)}, "http": {"port": port}})
    assert "ended with 1" in str(raised.value)
    assert f"http.port: port {port} on 127.0.0.1 cannot be opened: Address already in use" in str(raised.value)
    assert "Traceback" not in str(raised.value)


def test_wrong_settings_end_the_start_with_every_problem_and_no_secret(gateway_process: Start) -> None:
    """All problems at once, exit status 1, and what is secret stays so."""
    with pytest.raises(DidNotStart) as raised:
        gateway_process({"sdks": {"shop": {"key": KEY, "data_governance": "moon"}}, "log": {"level": "loud"}})
    told = str(raised.value)
    assert "ended with 1" in told
    assert "sdks.shop.data_governance" in told
    assert "log.level" in told
    assert KEY not in told


def test_it_starts_with_no_file_at_all(tmp_path: Path) -> None:
    """Without a file and without SDKs the start ends with the reason, not with a crash."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CONFIGCAT_")}
    command = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile=", "flaggateway"]
    ended = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert b"at least 1 SDK" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_an_event_source_that_comes_before_the_first_config_waits_and_then_gets_its_value(
    gateway_process: Start, streams: Streams
) -> None:
    """A browser must not be refused for ever because it came early."""
    with slow_upstream(first=2.0) as port:
        gateway = gateway_process(
            {"sdks": {"shop": {"key": KEY, "base_url": f"http://127.0.0.1:{port}", "poll_interval": 3600}}}, ready=False
        )
        accept = "Accept: text/event-stream\r\n"
        stream = streams.open(gateway.port, stream_path("shop", key="number"), headers=accept)
        streams.read_until(lambda: stream.comments)
        assert stream.status == 200
        assert stream.payloads == []
        streams.read_until(lambda: stream.payloads)
        assert stream.payloads == [{"value": 0, "variationId": "v0"}]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_secret_or_user_data_reaches_logs_metrics_status_or_errors(
    gateway_process: Start, config: Path, streams: Streams, workers: int
) -> None:
    """Canary values go through every route at debug level and are searched for everywhere an operator looks."""
    canary = "canary-4711"
    with slow_upstream() as port:
        settings = {
            "workers": workers,
            "log": {"level": "debug"},
            "sdks": {
                "far": {"key": KEY, "base_url": f"http://127.0.0.1:{port}", "webhook_signing_key": f"whsk-{canary}"},
                "bad": {"key": f"wrong-{canary}-key"},
                "near": local(config),
            },
            "http": {"api": {"auth_headers": {"X-Auth": f"auth-{canary}"}}},
            "diag": {"auth_headers": {}},
        }
        gateway = gateway_process(settings)
        user = {"Identifier": canary, "Email": f"{canary}@example.org"}
        body = json.dumps({"key": "number", "user": user}).encode()
        replies = [
            gateway.post("/api/far/eval", body),
            gateway.post("/api/far/eval", body, headers={"X-Auth": f"auth-{canary}"}),
            gateway.post("/api/eval", body, headers={"X-Auth": f"auth-{canary}", "X-ConfigCat-SdkKey": KEY}),
            gateway.post("/api/far/eval", body[:-5], headers={"X-Auth": f"auth-{canary}"}),
            gateway.post("/api/far/eval", b'{"user":{"%b":true}}' % b"x", headers={"X-Auth": f"auth-{canary}"}),
            gateway.post("/api/far/refresh", headers={"X-Auth": f"auth-{canary}"}),
            gateway.post("/ofrep/v1/evaluate/flags", json.dumps({"context": user}).encode()),
            gateway.get(f"/configuration-files/{KEY}/config_v6.json"),
            gateway.get(f"/configuration-files/{canary}/config_v6.json"),
            gateway.get(f"/hook/far?{canary}"),
            gateway.get(f"/hook/far?{canary}", headers=signed(f"whsk-{canary}", canary)),
            gateway.get(f"/nothing/{canary}"),
            gateway.get(stream_path("far", user)[:-3]),
            gateway.get(f"/sse/far/eval/{canary}"),
        ]
        stream = streams.open(gateway.port, stream_path("far", user))
        streams.read_until(lambda: stream.payloads)
        with socket.create_connection(("127.0.0.1", gateway.port)) as rude:
            rude.sendall(f"GET /{canary} HTTP/9.9\r\nHost: {canary}\r\n{canary}\r\n\r\n".encode())
            replies.append((400, rude.recv(4096)))
        gateway.reload({**settings, "sdks": {**settings["sdks"], "more": {"key": f"k-{canary}"}}})
        await_reloads(gateway, 1)
        seen = {
            "status": gateway.get("/status", diag=True)[1],
            "metrics": gateway.get("/metrics", diag=True)[1],
            "readyz": gateway.get("/readyz", diag=True)[1],
            "errors": b"\n".join(reply for code, reply in replies if code >= 400),
        }
        gateway.stop()
        seen["log"] = gateway.logs().encode()
    path = stream_path("far", user).rpartition("/")[2].encode()
    secrets = (canary.encode(), KEY.encode(), KEY[15:37].encode(), path)
    leaks = [(place, secret) for place, text in seen.items() for secret in secrets if secret in text]
    assert leaks == []
    assert b"far" in seen["status"]
    for said in (  # what went by was told: a log that says nothing leaks nothing
        b"POST /api/{sdkId}/eval answered 200",
        b"POST /api/eval answered 200",
        b"POST /ofrep/v1/evaluate/flags answered 400",
        b"GET /configuration-files/{path...} answered 404",
        b"GET /sse/{sdkId}/eval-all/{data...} answered 200",
        b"stream opened, 1 open",
        b"SDK far: webhook call refused: a signature header is missing",
        b"SDK far: webhook call accepted, fetching the config",
        b"SDK far: config fetched",
        b"SDK bad: the SDK key",
    ):
        assert said in seen["log"], said


def signed(key: str, call_id: str) -> dict[str, str]:
    """Return the headers of a web hook call without a body, signed as of now."""
    stamp = str(int(datetime.now(UTC).timestamp()))
    mac = hmac.digest(key.encode(), f"{call_id}{stamp}".encode(), "sha256")
    name = "X-ConfigCat-Webhook-"
    return {
        f"{name}ID": call_id,
        f"{name}Timestamp": stamp,
        f"{name}Signature-V1": base64.b64encode(mac).decode(),
    }


KEY = "configcat-sdk-1/CanaryCanaryCanaryCan1/CanaryCanaryCanaryCan2"


@contextlib.contextmanager
def slow_upstream(first: float = 0.0) -> Iterator[int]:
    """An upstream whose first answer takes ``first`` seconds and every later one a second; yields its port."""
    body = json.dumps({"p": {"s": "salt"}, "f": {"number": flag(0)}}).encode()
    asked: list[int] = []

    class Upstream(QuietHandler):
        def do_GET(self) -> None:
            asked.append(1)
            pause(first if len(asked) == 1 else 1.0)
            self.send_response(200)
            self.send_header("ETag", f'"{len(asked)}"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadedServer(Upstream) as server:
        yield server.port


def test_streams_are_opened_by_a_plain_socket(gateway_process: Start, config: Path) -> None:
    """The reader these tests use sees the status and the first event; so a stream that fails cannot pass unseen."""
    gateway = gateway_process({"sdks": {"shop": local(config)}})
    stream = Stream(gateway.port, stream_path("shop", key="missing"))
    until = time.monotonic() + 10
    while stream.status is None and time.monotonic() < until:
        stream.take()
    stream.close()
    assert stream.status == 400
