"""Two worker processes behind one port, tested from outside: pushes, kills, reloads, metrics."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess
from shop import shop
from streams import Streams, stream_path
from worker_processes import Visit, alive, await_replacement, holders, sample, workers

Start = Callable[..., GatewayProcess]
SIGNING_KEY = "configcat_whsk_workers"
EVAL = b'{"key":"number"}'


def write(path: Path, value: int) -> None:
    """Put a config whose flag ``number`` has this value in place, atomically."""
    fresh = path.with_suffix(".new")
    flag = {"t": 2, "v": {"i": value}, "i": f"v{value}"}
    fresh.write_text(json.dumps({"p": {"s": "salt"}, "f": {"number": flag}}), "utf-8")
    fresh.replace(path)


def settings(path: Path, **http: Any) -> dict[str, Any]:
    """Return the settings of a gateway with two workers whose one SDK reads a file."""
    sdk = {"key": "local", "offline": {"enabled": True, "local": {"file_path": str(path)}}}
    return {"workers": 2, "sdks": {"shop": sdk}, "http": {"sse": {"drain_window": 0}} | http}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config file whose ``number`` is 0."""
    path = tmp_path / "config.json"
    write(path, 0)
    return path


@pytest.fixture
def streams() -> Iterator[Streams]:
    """A group of streams that is closed with the test."""
    with contextlib.closing(Streams()) as group:
        yield group


def open_streams(streams: Streams, gateway: GatewayProcess, count: int) -> None:
    """Open so many streams for different users, and read the first event of each."""
    for number in range(count):
        streams.open(gateway.port, stream_path("shop", {"Identifier": str(number)}))
    streams.read_until(lambda: all(stream.payloads for stream in streams.all))


def values(stream: Any) -> list[int]:
    """Return the values of ``number`` that a stream was sent."""
    return [payload["number"]["value"] for payload in stream.payloads]


def gateway_status(gateway: GatewayProcess) -> dict[str, Any]:
    """Return the ``gateway`` object of the status page."""
    return json.loads(gateway.get("/status", diag=True)[1])["gateway"]


def test_a_change_reaches_the_streams_of_every_worker(gateway_process: Start, config: Path, streams: Streams) -> None:
    """The kernel spreads the streams over both workers, and both push."""
    gateway = gateway_process(settings(config))
    open_streams(streams, gateway, 60)
    spread = holders([stream.socket for stream in streams.all], workers(gateway))
    assert set(workers(gateway)) == set(spread)
    write(config, 1)
    streams.read_until(lambda: all(len(stream.payloads) == 2 for stream in streams.all))
    assert [[0, 1]] * 60 == [values(stream) for stream in streams.all]


def test_a_killed_worker_is_replaced_and_the_others_go_on(
    gateway_process: Start, config: Path, streams: Streams
) -> None:
    """Its clients reconnect to no older value; the other worker's streams stay; the ended streams are not counted."""
    gateway = gateway_process(settings(config))
    open_streams(streams, gateway, 60)
    write(config, 1)
    streams.read_until(lambda: all(len(stream.payloads) == 2 for stream in streams.all))
    before = workers(gateway)
    spread = holders([stream.socket for stream in streams.all], before)
    killed = [stream for stream, pid in zip(streams.all, spread, strict=True) if pid == before[0]]
    others = [stream for stream in streams.all if stream not in killed]
    os.kill(before[0], signal.SIGKILL)
    streams.read_until(lambda: all(stream.ended for stream in killed))
    replacement = await_replacement(gateway, before)
    visit = Visit(gateway, replacement)
    assert (200, b'{"value":1,"variationId":"v1"}') == visit.request("POST", "/api/shop/eval", EVAL)
    visit.close()
    back = [streams.open(gateway.port, stream_path("shop", {"Identifier": f"b{n}"})) for n in range(len(killed))]
    streams.read_until(lambda: all(stream.payloads for stream in back))
    assert {1} == {value for stream in back for value in values(stream)}
    write(config, 2)
    streams.read_until(lambda: all(values(stream)[-1] == 2 for stream in others + back))
    assert [False] * len(others) == [stream.ended for stream in others]
    eventually(lambda: sample(gateway, "configcat_stream_connections") == 60, gateway.logs)
    assert 60 == gateway_status(gateway)["streams"]
    assert 1 == sample(gateway, "flaggateway_worker_ends_total")
    assert 2 == sample(gateway, "flaggateway_workers")
    assert 20e6 < sample(gateway, "flaggateway_worker_resident_memory_bytes", worker="1")


def test_workers_end_with_their_leader(gateway_process: Start, config: Path, streams: Streams) -> None:
    """Without a leader their values would get old, and a new gateway needs the port."""
    gateway = gateway_process(settings(config))
    open_streams(streams, gateway, 10)
    pids = workers(gateway)
    assert 2 == len(pids)
    gateway.kill()
    eventually(lambda: not alive(pids), limit=60.0)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", gateway.port))
        probe.listen()


@pytest.mark.parametrize("count", [1, 2])
def test_a_second_gateway_on_the_port_does_not_start(
    gateway_process: Start, config: Path, tmp_path: Path, count: int
) -> None:
    """Only workers of one gateway share the port: another gateway ends with one line that names the reason."""
    gateway = gateway_process(settings(config))
    home = tmp_path / "second"
    home.mkdir()
    second = GatewayProcess(settings(config, port=gateway.port) | {"workers": count}, home)
    second._choose_ports()
    second._spawn()  # ``start`` would try again with other ports
    eventually(lambda: second.returncode is not None, second.logs)
    assert 1 == second.returncode
    assert 1 == second.logs().count(f"port {gateway.port} on 127.0.0.1 cannot be opened: Address already in use")
    assert "Traceback" not in second.logs()
    assert 200 == gateway.post("/api/shop/eval", EVAL)[0]


def test_workers_that_cannot_listen_end_the_start(gateway_process: Start, config: Path, tmp_path: Path) -> None:
    """The gateway does not run without its port: one line names the reason, and the exit status is 1."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, socket, sys\n"
        "def listen(*_):\n    raise OSError(98, os.strerror(98))\n"
        "if 'gateway.workers.worker' in sys.orig_argv:\n    socket.socket.listen = listen\n"
    )
    home = tmp_path / "broken"
    home.mkdir()
    gateway = GatewayProcess(settings(config), home, env={"PYTHONPATH": str(tmp_path)})
    gateway._choose_ports()
    gateway._spawn()  # ``start`` would try again with other ports
    eventually(lambda: gateway.returncode is not None, gateway.logs)
    assert 1 == gateway.returncode
    assert 1 == gateway.logs().count("not started: http.port: port")
    assert "Traceback" not in gateway.logs()


def test_a_second_signal_ends_the_waiting(gateway_process: Start, config: Path, streams: Streams) -> None:
    """The drain window is cut short."""
    gateway = gateway_process(settings(config, sse={"drain_window": 60}))
    open_streams(streams, gateway, 10)
    eventually(lambda: gateway_status(gateway)["streams"] == 10)
    pids = workers(gateway)
    began = time.monotonic()
    os.kill(gateway.pid, signal.SIGTERM)
    eventually(lambda: "draining 10 streams" in gateway.logs())
    assert 0 == gateway.stop()
    assert time.monotonic() - began < 50
    assert [] == alive(pids)


def test_workers_serve_tls(gateway_process: Start, config: Path, tmp_path: Path) -> None:
    """Each worker reads the certificates, and again when they were replaced."""
    names = iter(("first.example", "second.example"))
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def issue() -> None:
        issued = trustme.CA().issue_cert("127.0.0.1", next(names))
        issued.private_key_pem.write_to_path(str(key))
        cert.write_bytes(issued.cert_chain_pems[0].bytes())

    issue()
    tls = {"enabled": True, "certificates": [{"cert": str(cert), "key": str(key)}]}
    gateway = gateway_process(settings(config) | {"tls": tls})
    assert [True] * 20 == [b"first.example" in shown_certificate(gateway) for _ in range(20)]
    issue()
    gateway.reload()
    eventually(lambda: gateway_status(gateway)["reloads"] == 1, gateway.logs)
    assert [True] * 20 == [b"second.example" in shown_certificate(gateway) for _ in range(20)]


def shown_certificate(gateway: GatewayProcess) -> bytes:
    """Return the certificate, in DER, of a new connection."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as plain,
        context.wrap_socket(plain) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def signed(call_id: str, body: bytes) -> dict[str, str]:
    """Return the headers of a webhook call of this moment."""
    stamp = str(int(datetime.now(UTC).timestamp()))
    mac = hmac.digest(SIGNING_KEY.encode(), call_id.encode() + stamp.encode() + body, hashlib.sha256)
    return {
        "X-ConfigCat-Webhook-ID": call_id,
        "X-ConfigCat-Webhook-Timestamp": stamp,
        "X-ConfigCat-Webhook-Signature-V1": base64.b64encode(mac).decode(),
    }


@pytest.fixture
def remote(gateway_process: Start, upstream: CdnStandIn) -> GatewayProcess:
    """A gateway with two workers whose SDK fetches from the stand-in CDN at the start and by refresh only."""
    sdk = {"key": SDK_KEY, "base_url": upstream.url, "poll_interval": 3600, "webhook_signing_key": SIGNING_KEY}
    http = {"sse": {"drain_window": 0}, "api": {"auth_headers": {"X-Auth": "secret"}}}
    return gateway_process({"workers": 2, "sdks": {"shop": sdk}, "http": http})


def test_refresh_through_any_worker_is_in_place_everywhere(remote: GatewayProcess, upstream: CdnStandIn) -> None:
    """The leader fetches once per call, and the answer comes when the new config is in place at that worker."""
    auth = {"X-Auth": "secret"}
    body = json.dumps({"key": "banner", "user": {"Identifier": "a", "Country": "Germany"}}).encode()
    evaluate = ("POST", "/api/shop/eval", body, auth)
    visits = [Visit(remote, pid) for pid in workers(remote)]
    for turn, visit in enumerate(visits):
        upstream.set(shop(f"turn-{turn}"))
        asked = len(upstream.requests)
        assert 200 == visit.request("POST", "/api/shop/refresh", headers=auth)[0]
        assert asked + 1 == len(upstream.requests)
        assert f"turn-{turn}" == json.loads(visit.request(*evaluate)[1])["value"]
        eventually(
            lambda at=visits[1 - turn], turn=turn: f"turn-{turn}" == json.loads(at.request(*evaluate)[1])["value"]
        )
    for visit in visits:
        visit.close()


def test_a_repeated_hook_call_fetches_nothing_at_any_worker(remote: GatewayProcess, upstream: CdnStandIn) -> None:
    """An id that one worker has accepted is not accepted again; the repeated call is still answered 200."""
    visits = [Visit(remote, pid) for pid in workers(remote)]
    asked = len(upstream.requests)
    headers = signed("call-1", b"{}")
    assert 200 == visits[0].request("POST", "/hook/shop", b"{}", headers)[0]
    assert asked + 1 == len(upstream.requests)
    assert [200, 200] == [visit.request("POST", "/hook/shop", b"{}", headers)[0] for visit in visits]
    assert asked + 1 == len(upstream.requests)
    assert 200 == visits[1].request("POST", "/hook/shop", b"{}", signed("call-2", b"{}"))[0]
    assert asked + 2 == len(upstream.requests)
    for visit in visits:
        visit.close()


def test_metrics_and_status_are_sums_over_the_workers(gateway_process: Start, config: Path, streams: Streams) -> None:
    """Requests to any worker are counted once; streams that close are subtracted."""
    gateway = gateway_process(settings(config))
    open_streams(streams, gateway, 30)
    answers = [gateway.post("/api/shop/eval", EVAL)[0] for _ in range(50)]
    assert [200] * 50 == answers
    write(config, 1)
    streams.read_until(lambda: all(len(stream.payloads) == 2 for stream in streams.all))
    requests = "flaggateway_http_requests_total"
    seconds = "flaggateway_http_request_duration_seconds_count"
    route = "/api/{sdkId}/eval"
    eventually(lambda: sample(gateway, requests, route=route) >= 50)
    eventually(lambda: sample(gateway, "configcat_stream_msg_sent_total") >= 60)
    assert 50 == sample(gateway, requests, route=route, method="POST", status="200")
    assert 50 == sample(gateway, seconds, route=route)
    assert 60 == sample(gateway, "configcat_stream_msg_sent_total", sdk="shop")
    assert 30 == sample(gateway, "configcat_stream_connections", sdk="shop", flag="[ALL]")
    assert 30 == gateway_status(gateway)["streams"]
    for stream in streams.all[:10]:
        stream.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: sample(gateway, "configcat_stream_connections") == 20)
    eventually(lambda: gateway_status(gateway)["streams"] == 20)


def test_a_reload_reaches_every_worker_and_keeps_the_streams(
    gateway_process: Start, config: Path, tmp_path: Path, streams: Streams
) -> None:
    """100 streams stay open while another SDK is added and removed; a refused file changes nothing."""
    other = tmp_path / "other.json"
    write(other, 7)
    plain = settings(config)
    sdk = {"key": "other", "offline": {"enabled": True, "local": {"file_path": str(other)}}}
    more = plain | {"sdks": plain["sdks"] | {"other": sdk}}
    gateway = gateway_process(plain)
    open_streams(streams, gateway, 100)
    visits = [Visit(gateway, pid) for pid in workers(gateway)]
    for turn in range(1, 7):
        gateway.reload(more if turn % 2 else plain)
        eventually(lambda turn=turn: gateway_status(gateway)["reloads"] >= turn, gateway.logs)
        assert [] == gateway_status(gateway)["reload_errors"]
        expected = 200 if turn % 2 else 404
        assert [expected] * 2 == [visit.request("POST", "/api/other/eval", EVAL)[0] for visit in visits]
    gateway.reload(plain | {"log": {"level": "loud"}})
    eventually(lambda: gateway_status(gateway)["reloads"] >= 7, gateway.logs)
    assert 1 == len(gateway_status(gateway)["reload_errors"])
    write(config, 1)
    streams.read_until(lambda: all(len(stream.payloads) == 2 for stream in streams.all))
    assert [False] * 100 == [stream.ended for stream in streams.all]
    for visit in visits:
        visit.close()


def test_a_replacement_serves_under_the_reloaded_settings(gateway_process: Start, config: Path) -> None:
    """A worker that starts after a reload uses its settings, on the port with which the gateway was started."""
    plain = settings(config)
    gateway = gateway_process(plain)
    gateway.reload(plain | {"http": plain["http"] | {"api": {"headers": {"X-Turn": "two"}, "enabled": False}}})
    eventually(lambda: gateway_status(gateway)["reloads"] == 1, gateway.logs)
    before = workers(gateway)
    os.kill(before[1], signal.SIGKILL)
    visit = Visit(gateway, await_replacement(gateway, before))
    assert 404 == visit.request("POST", "/api/shop/eval", EVAL)[0]
    visit.close()


def test_caps_hold_for_the_whole_service(gateway_process: Start, config: Path, streams: Streams) -> None:
    """Streams on both workers count towards one cap, and places become free again."""
    gateway = gateway_process(settings(config, sse={"drain_window": 0, "max_connections_per_address": 8}))
    for number in range(8):
        streams.open(gateway.port, stream_path("shop", {"Identifier": str(number)}))
        eventually(lambda number=number: gateway_status(gateway)["streams"] == number + 1)
    visits = [Visit(gateway, pid) for pid in workers(gateway)]
    eventually(lambda: [503, 503] == [visit.request("GET", stream_path("shop"))[0] for visit in visits])
    for visit in visits:
        visit.close()
    for stream in streams.all:
        stream.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: gateway_status(gateway)["streams"] == 0)
    late = streams.open(gateway.port, stream_path("shop"))
    streams.read_until(lambda: late.payloads)
    assert 200 == late.status


def test_a_stop_drains_every_worker_and_exits_with_0(gateway_process: Start, config: Path, streams: Streams) -> None:
    """Also when the signal is sent to the whole group, as by systemd; every stream ends with its last chunk."""
    gateway = gateway_process(settings(config, sse={"drain_window": 1}))
    open_streams(streams, gateway, 40)
    pids = workers(gateway)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGHUP)
    assert 0 == gateway.stop()
    assert [] == alive(pids)
    streams.read_until(lambda: all(stream.ended for stream in streams.all))
    assert "has ended; a new one starts" not in gateway.logs()


def test_json_log_lines_of_workers_have_their_number(gateway_process: Start, config: Path) -> None:
    """Lines of the leader have none."""
    gateway = gateway_process(settings(config) | {"log": {"format": "json", "level": "debug"}})
    gateway.stop()
    lines = [json.loads(line) for line in gateway.logs().splitlines() if line.startswith("{")]
    assert {None, 1, 2} == {line.get("worker") for line in lines}


def test_a_stopped_worker_ends_with_its_leader(gateway_process: Start, config: Path) -> None:
    """It cannot see that its link closes; the kernel kills it, so that the port is free."""
    gateway = gateway_process(settings(config))
    pids = workers(gateway)
    os.kill(pids[0], signal.SIGSTOP)
    gateway.kill()
    eventually(lambda: not alive(pids))
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", gateway.port))


def stop(pid: int) -> None:
    """Stop a process, and return once it accepts no connections."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")


def send_calls(gateway: GatewayProcess, count: int) -> list[socket.socket]:
    """Send so many calls, each on a connection of its own that ends with the answer."""
    head = f"POST /api/shop/eval HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(EVAL)}\r\n\r\n"
    connections = []
    for _ in range(count):
        connections.append(socket.create_connection(("127.0.0.1", gateway.port), timeout=60))
        connections[-1].sendall(head.encode() + EVAL)
    return connections


def statuses(connections: list[socket.socket]) -> list[bytes]:
    """Return the status of the answer on each connection; empty if there was none."""
    found = []
    for connection in connections:
        answer = b""
        with connection, contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
        found.append(answer[9:12])
    return found


def test_connections_that_wait_for_a_worker_which_ends_are_answered(gateway_process: Start, config: Path) -> None:
    """The kernel holds them in a socket that the leader keeps open; the other worker or the replacement accepts them.

    Twice, so that the socket of a replacement is one of them.
    """
    gateway = gateway_process(settings(config))
    for _ in range(2):
        pids = workers(gateway)
        stop(pids[0])
        waiting = send_calls(gateway, 150)
        os.kill(pids[0], signal.SIGKILL)
        assert [b"200"] * 150 == statuses(waiting)
        await_replacement(gateway, pids)
    assert 2 == sample(gateway, "flaggateway_worker_ends_total")


def test_connections_wait_while_all_workers_are_replaced(gateway_process: Start, config: Path) -> None:
    """The port stays open without a worker; the first replacement answers."""
    gateway = gateway_process(settings(config))
    pids = workers(gateway)
    for pid in pids:
        stop(pid)
    waiting = send_calls(gateway, 50)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert [b"200"] * 50 == statuses(waiting)


@pytest.mark.slow
def test_a_stopped_worker_is_shown_and_replaced(gateway_process: Start, config: Path) -> None:
    """After 5 s it is a problem and counted, after 15 s it is killed; then every call is answered."""
    gateway = gateway_process(settings(config))
    pids = workers(gateway)
    os.kill(pids[0], signal.SIGSTOP)
    eventually(lambda: sample(gateway, "flaggateway_workers_unresponsive") == 1, gateway.logs)
    eventually(lambda: any("does not answer" in each for each in gateway_status(gateway)["problems"]), gateway.logs)
    assert f"(process {pids[0]}) has not answered for 5 s" in gateway.logs()
    await_replacement(gateway, pids)
    assert [pids[1]] == alive(pids)
    for _ in range(20):
        assert (200, b'{"value":0,"variationId":"v0"}') == gateway.post("/api/shop/eval", EVAL)


def test_a_worker_that_does_not_answer_gets_no_calls_until_it_does(gateway_process: Start, config: Path) -> None:
    """After 5 s the other worker accepts all connections, also those that wait; one that goes on serves as before."""
    gateway = gateway_process(settings(config))
    pids = workers(gateway)
    visit = Visit(gateway, pids[0])
    stop(pids[0])
    waiting = send_calls(gateway, 40)
    eventually(lambda: sample(gateway, "flaggateway_workers_unresponsive") == 1, gateway.logs)
    assert [b"200"] * 40 == statuses(waiting)
    for _ in range(20):
        assert (200, b'{"value":0,"variationId":"v0"}') == gateway.post("/api/shop/eval", EVAL)
    os.kill(pids[0], signal.SIGCONT)
    eventually(lambda: sample(gateway, "flaggateway_workers_unresponsive") == 0, gateway.logs)
    assert 200 == visit.request("POST", "/api/shop/eval", EVAL)[0]  # on a connection of before
    visit.close()
    for pid in pids:  # a new connection reaches each
        again = Visit(gateway, pid)
        assert 200 == again.request("POST", "/api/shop/eval", EVAL)[0]
        again.close()
    assert pids == workers(gateway)
    assert 0 == gateway.stop()
