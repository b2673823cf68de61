"""HTTP/2 clients that do not read: real sockets under TLS, and a real gateway between them and other clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import h2.events
import pytest
import trustme
from h2.errors import ErrorCodes

from eventually import eventually
from gateway_process import GatewayProcess
from http2_client import Http2Client
from soak import family, resident
from streams import stream_path
from worker_processes import sample

FLAGS = 700  # of 1 KB each: no window of a client holds an event
STALLED = 20


class Reader:
    """An event stream over HTTP/1.1 that is read all the time, in a thread."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self.heartbeats = 0
        self._client = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
        self._client.request("GET", stream_path("shop", {"Identifier": "zoe"}))
        self._answer = self._client.getresponse()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._client.sock is not None
        self._client.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._answer.close()
        self._client.close()

    def _read(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while line := self._answer.readline():
                self.heartbeats += line.startswith(b":")


@pytest.fixture
def authority() -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return a context that trusts the gateway."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=[1, 2])
def gateway(
    request: pytest.FixtureRequest,
    gateway_process: Callable[..., GatewayProcess],
    authority: trustme.CA,
    tmp_path: Path,
) -> GatewayProcess:
    """Return a gateway under TLS with a config of 700 KB, with one and with two processes."""
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(tmp_path / "cert.pem", append=number > 0)
    flags = {f"flag{n}": {"t": 1, "v": {"s": "x" * 1000}, "i": "v"} for n in range(FLAGS)}
    (tmp_path / "config.json").write_text(json.dumps({"p": {"s": "salt"}, "f": flags}), "utf-8")
    local = {"file_path": str(tmp_path / "config.json")}
    return gateway_process(
        {
            "workers": request.param,
            "sdks": {"shop": {"key": "local", "offline": {"enabled": True, "local": local}}},
            "http": {"sse": {"stall_timeout": 2, "heart_beat_interval": 1, "drain_window": 0}},
            "tls": {"enabled": True, "certificates": [{"cert": f"{tmp_path}/cert.pem", "key": f"{tmp_path}/key.pem"}]},
        }
    )


def test_streams_that_are_not_read_are_dropped_and_others_have_their_heartbeats(
    gateway: GatewayProcess, trusting: ssl.SSLContext
) -> None:
    """Twenty paused streams of one connection cost other connections nothing, and end after the stall time."""
    with contextlib.closing(Http2Client(gateway.port, trusting)) as stalled, Reader(gateway.port, trusting) as reader:
        for number in range(STALLED):
            stalled.request("GET", stream_path("shop", {"Identifier": f"s{number}"}))
        dropped = "flaggateway_streams_dropped_total"
        eventually(lambda: sample(gateway, dropped, reason="stalled") == STALLED)
        seen = reader.heartbeats
        eventually(lambda: reader.heartbeats > seen + 2)
        stalled.read()
        resets = stalled.of(h2.events.StreamReset)
    assert [ErrorCodes.CANCEL] * STALLED == [event.error_code for event in resets]
    assert "Traceback" not in gateway.logs()


def test_answers_that_are_not_read_take_little_memory(gateway: GatewayProcess, trusting: ssl.SSLContext) -> None:
    """Three clients that ask a hundred times for 700 KB and read nothing would otherwise take 200 MB."""
    assert 200 == evaluate(gateway, trusting)
    before = memory(gateway)
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(contextlib.closing(Http2Client(gateway.port, trusting, window=0))) for _ in range(3)
        ]
        for client in clients:
            for _ in range(100):
                client.request("POST", "/api/shop/eval-all", b"{}")
        for client in clients:
            eventually(lambda: not client.read() and client.of(h2.events.ResponseReceived))  # noqa: B023  (called here)
        assert 200 == evaluate(gateway, trusting)
        assert memory(gateway) - before < 40 * 1024


def memory(gateway: GatewayProcess) -> int:
    """Return the resident memory of all its processes in KB."""
    return sum(resident(pid) for pid in family(gateway.pid))


def evaluate(gateway: GatewayProcess, trusting: ssl.SSLContext) -> int:
    """Evaluate all flags on a connection of its own; return the status."""
    trusting.set_alpn_protocols(["http/1.1"])
    client = http.client.HTTPSConnection("localhost", gateway.port, context=trusting, timeout=30)
    client.request("POST", "/api/shop/eval-all", b"{}")
    answer = client.getresponse()
    answer.read()
    client.close()
    return answer.status


def test_a_stop_ends_connections_politely(gateway: GatewayProcess, trusting: ssl.SSLContext) -> None:
    """The stream ends whole and the client hears that it needs another connection; nothing is reset."""
    client = Http2Client(gateway.port, trusting, window=2**24)
    client.h2.increment_flow_control_window(2**24)
    number = client.request("GET", stream_path("shop", {"Identifier": "zoe"}))
    eventually(lambda: not client.read() and client.of(h2.events.DataReceived))
    assert 0 == gateway.stop()
    raw = b""
    while piece := client.socket.recv(65_536):
        raw += piece
    client.close()
    frames = list(frames_of(raw))
    assert (7, 0) in frames  # GOAWAY, of the connection
    assert (3, number) not in frames  # RST_STREAM
    assert (0, number) == [frame for frame in frames if frame[1] == number][-1]


def frames_of(raw: bytes) -> Iterator[tuple[int, int]]:
    """Yield type and stream of each frame."""
    at = 0
    while at + 9 <= len(raw):
        yield raw[at + 3], int.from_bytes(raw[at + 5 : at + 9])
        at += 9 + int.from_bytes(raw[at : at + 3])
