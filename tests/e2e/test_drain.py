"""A stop as clients see it: no request is cut, and a load balancer has time to notice it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventually import eventually
from gateway_process import GatewayProcess, pause
from streams import Streams, stream_path

Start = Callable[..., GatewayProcess]
BODY = b'{"key":"number"}'


@pytest.fixture
def streams() -> Iterator[Streams]:
    """A group of streams that is closed with the test."""
    with contextlib.closing(Streams()) as group:
        yield group


def start(gateway_process: Start, tmp_path: Path, workers: int, **http_options: Any) -> GatewayProcess:
    """Return a running gateway with one flag."""
    flags = {"number": {"t": 2, "v": {"i": 0}, "i": "v"}}
    (tmp_path / "config.json").write_text(json.dumps({"p": {"s": "salt"}, "f": flags}), "utf-8")
    local = {"file_path": str(tmp_path / "config.json")}
    sdk = {"key": "local", "offline": {"enabled": True, "local": local}}
    return gateway_process({"workers": workers, "sdks": {"shop": sdk}, "http": http_options})


def ask(client: http.client.HTTPConnection, method: str, path: str) -> http.client.HTTPResponse:
    """Return the answer to one request, read to its end."""
    client.request(method, path, BODY if method == "POST" else None)
    answer = client.getresponse()
    answer.read()
    return answer


def ask_until_refused(client: http.client.HTTPConnection) -> int:
    """Send requests until no new connection is accepted; return how many were answered, all with 200.

    ``http.client`` opens another connection after ``Connection: close``.
    """
    answered = 0
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            assert 200 == ask(client, "POST", "/api/shop/eval").status
            answered += 1
            pause(0.01)
    return answered


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_of_a_kept_connection_is_cut(
    gateway_process: Start, tmp_path: Path, streams: Streams, workers: int
) -> None:
    """A client that sends request after request, until its connection is refused, gets an answer to each."""
    gateway = start(gateway_process, tmp_path, workers, sse={"drain_window": 1})
    for number in range(6):
        streams.open(gateway.port, stream_path("shop", {"Identifier": str(number)}))
    streams.read_until(lambda: all(stream.payloads for stream in streams.all))
    fast = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    klein = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    probe = http.client.HTTPConnection("127.0.0.1", gateway.diag_port, timeout=20)
    for client, method in ((fast, "POST"), (klein, "HEAD")):
        path = "/api/shop/eval" if method == "POST" else "/api/shop/keys"
        assert ask(client, method, path).getheader("Connection") is None
    assert 200 == ask(probe, "GET", "/readyz").status
    idle = [http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20) for _ in range(3)]
    for client in idle:
        ask(client, "POST", "/api/shop/eval")
    os.kill(gateway.pid, signal.SIGTERM)
    eventually(lambda: "shutdown requested" in gateway.logs())
    last = [
        ask(fast, "POST", "/api/shop/eval"),
        ask(klein, "HEAD", "/api/shop/keys"),
        *[ask(client, "POST", "/api/shop/eval") for client in idle],
        ask(probe, "GET", "/readyz"),
    ]
    assert [200, 200, 200, 200, 200, 503] == [answer.status for answer in last]
    assert ["close"] * 6 == [answer.getheader("Connection") for answer in last]
    ask_until_refused(fast)
    assert 0 == gateway.wait()
    streams.read_until(lambda: all(stream.ended for stream in streams.all))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_port_stays_open_for_the_shutdown_delay(gateway_process: Start, tmp_path: Path, workers: int) -> None:
    """``/readyz`` is 503 at once, new connections and streams are served, and a second signal ends the delay."""
    gateway = start(gateway_process, tmp_path, workers, shutdown_delay=600)
    os.kill(gateway.pid, signal.SIGTERM)
    eventually(lambda: gateway.get("/readyz", diag=True)[0] == 503)
    client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    for _ in range(20):
        answer = ask(client, "POST", "/api/shop/eval")
        assert (200, "close") == (answer.status, answer.getheader("Connection"))
    with contextlib.closing(Streams()) as streams:
        stream = streams.open(gateway.port, stream_path("shop"))
        streams.read_until(lambda: stream.payloads)
        assert gateway.returncode is None
        os.kill(gateway.pid, signal.SIGTERM)
        assert 0 == gateway.wait()
        streams.read_until(lambda: stream.ended)


def test_the_port_closes_after_the_delay(gateway_process: Start, tmp_path: Path) -> None:
    gateway = start(gateway_process, tmp_path, 1, shutdown_delay=0.5)
    os.kill(gateway.pid, signal.SIGTERM)
    assert ask_until_refused(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20))
    assert 0 == gateway.wait()
