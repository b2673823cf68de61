"""The limits and streams on real sockets: what memory transports cannot show."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from gateway.flags import load
from gateway.streams import HeartbeatWheel, Hub
from gateway.web import Context
from gateway.web.server.http1 import BODY_LIMIT, REQUEST_LINE_LIMIT
from gateway.web.server.socket_options import UNSENT_LIMIT, configure_listener
from web_memory import FakeRegistry, FakeSdk, NoMetrics, RecordedMetrics, settings_of

CONFIG = b'{"f":{"on":{"t":0,"v":{"b":true},"i":"v1"}}}'
KEYS = b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n"


class Loopback:
    """A site on a loopback port of the real reactor."""

    def __init__(self) -> None:
        import random

        from twisted.internet import reactor as real  # noqa: TID251

        from gateway.web.server.site import make_site

        reactor: Any = real
        self.snapshot = load(CONFIG, '"1"')
        wheel = HeartbeatWheel(20, 60, lambda subscriber: subscriber.outlet.abort())
        self.hub = Hub(
            "sdk1", self.snapshot, wheel=wheel, now=reactor.seconds, rng=random.Random(1), metrics=NoMetrics()
        )
        registry = FakeRegistry(FakeSdk("sdk1", "key", self.snapshot))
        self.site = make_site(Context(registry, {"sdk1": self.hub}, reactor, dict), settings_of({}), RecordedMetrics())
        self.port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        configure_listener(self.port.socket, 60)
        self.address = ("127.0.0.1", self.port.getHost().port)


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    site = Loopback()
    yield site
    pytest_twisted.blockon(site.port.stopListening())


def talk(address: tuple[str, int], data: bytes) -> bytes:
    """Send everything, then read to the end, as a client does that does not look before it has sent."""
    with socket.create_connection(address, timeout=20) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
        received = b""
        while piece := client.recv(65536):
            received += piece
        return received


@pytest_twisted.inlineCallbacks
def test_refusals_arrive_although_the_client_is_still_sending(loopback: Loopback) -> Any:
    """A client that sends far too much reads why it is refused, not a reset; others are served meanwhile."""
    too_long = b"GET /" + b"x" * (3 * REQUEST_LINE_LIMIT)
    head = b"POST /api/sdk1/eval HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1)
    many = b"GET / HTTP/1.1\r\nHost: g\r\n" + b"X: y\r\n" * 200 + b"\r\n"
    for data, status in ((too_long, b"414"), (head + b"x" * BODY_LIMIT, b"413"), (many, b"431"), (b"\0\r\n", b"400")):
        received = yield deferToThread(talk, loopback.address, data)
        assert received.startswith(b"HTTP/1.1 " + status)
        served = yield deferToThread(talk, loopback.address, KEYS)
        assert served.startswith(b"HTTP/1.1 200 OK")


@pytest_twisted.inlineCallbacks
def test_stream_notices_a_slow_reader_early(loopback: Loopback) -> Any:
    """An open stream has small buffers and no Nagle delay; a reader that stops is noticed before 256 KiB are queued."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    yield deferToThread(client.connect, loopback.address)
    client.sendall(b"GET /sse/sdk1/eval-all HTTP/1.1\r\nHost: g\r\n\r\n")
    first = yield deferToThread(client.recv, 4096)
    assert first.startswith(b"HTTP/1.1 200 OK")
    subscriber = loopback.hub.subscribers()[0]
    handle = subscriber.outlet._request.transport.socket
    assert 0 != handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert UNSENT_LIMIT == handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    written = 0
    while subscriber.paused_since is None and written < 1024 * 1024:
        subscriber.write(b": " + b"x" * 1021 + b"\n")
        written += 1024
        turn: Deferred[None] = Deferred()
        from twisted.internet import reactor  # noqa: TID251

        reactor.callLater(0, turn.callback, None)
        yield turn
    assert subscriber.paused_since is not None
    assert written <= 256 * 1024
    client.close()
    while loopback.hub.subscribers():
        turn = Deferred()
        reactor.callLater(0.01, turn.callback, None)
        yield turn
