"""The fast path on real sockets: what memory cannot show of segments, pipelines, streams and readers that stop."""

from __future__ import annotations

import json
import random
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import trustme
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory

from eventually import eventually
from gateway.flags import load
from gateway.streams import HeartbeatWheel, Hub
from gateway.web import Context
from gateway.web.server.epoll import connection_epoll, separate_epoll
from gateway.web.server.fast_http import FastHttpFactory
from gateway.web.server.write_batch import TlsWriter
from server_paths import without_dates
from web_memory import FakeRegistry, FakeSdk, NoMetrics, RecordedMetrics, Refreshed, request_bytes, settings_of

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}, "long": {"t": 1, "v": {"s": "x" * 20_000}, "i": "v1"}}}
EVALUATE = request_bytes("POST", "/api/sdk1/eval", body='{"key":"on"}')
KEYS = request_bytes("GET", "/api/sdk1/keys")
HEAD = request_bytes("HEAD", "/api/sdk1/keys")
FILE = request_bytes("GET", "/configuration-files/configcat-proxy/sdk1/config_v6.json")
OPEN = request_bytes("GET", "/sse/sdk1/eval-all")
LAST = request_bytes("GET", "/api/sdk1/keys", {"Connection": "close"})


Address = tuple[str, int]


class Loopback:
    """One world behind three loopback ports: the Klein path, the fast path, and the fast path under TLS."""

    def __init__(self, home: Path) -> None:
        from twisted.internet import reactor as real  # noqa: TID251

        from gateway.settings import Certificate, Tls
        from gateway.web.server.site import make_site
        from gateway.web.server.tls import Certificates

        reactor: Any = real
        snapshot = load(json.dumps(CONFIG).encode(), '"1"')
        wheel = HeartbeatWheel(20, 60, lambda subscriber: subscriber.outlet.abort())
        self.hub = Hub("sdk1", snapshot, wheel=wheel, now=reactor.seconds, rng=random.Random(1), metrics=NoMetrics())
        registry = FakeRegistry(FakeSdk("sdk1", "key", snapshot))
        site = make_site(Context(registry, {"sdk1": self.hub}, reactor, dict), settings_of({}), RecordedMetrics())
        self.reactor = reactor
        self.factory = FastHttpFactory(site, reactor)
        self.encrypted = FastHttpFactory(site, reactor, TlsWriter())
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(str(home / "pem"))
        certificates = Certificates(
            Tls(enabled=True, certificates=(Certificate(str(home / "pem"), str(home / "pem")),))
        )
        secure = TLSMemoryBIOFactory(certificates, False, self.encrypted, reactor)
        self.ports = [reactor.listenTCP(0, factory, interface="127.0.0.1") for factory in (site, self.factory, secure)]
        for port, factory in zip(self.ports[1:], (self.factory, self.encrypted), strict=True):
            separate_epoll(port, connection_epoll(reactor, factory.writer))
        self.klein, self.fast, self.secure = [("127.0.0.1", port.getHost().port) for port in self.ports]
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        self.trust.set_alpn_protocols(["http/1.1"])

    def connect(self, address: Address, receive_buffer: int = 0) -> socket.socket:
        """A connection to one of the ports, encrypted where it asks for that."""
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(20)
        client.connect(address)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client if address != self.secure else self.trust.wrap_socket(client, server_hostname="127.0.0.1")

    def talk(self, address: Address, data: bytes, piece: int = 0) -> bytes:
        """Send everything, in segments of ``piece`` bytes, and return all that comes until the server closes."""
        with self.connect(address) as client:
            for start in range(0, len(data), piece or len(data)):
                client.sendall(data[start : start + (piece or len(data))])
            return without_dates(read_all(client))


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Loopback]:
    world = Loopback(tmp_path)
    yield world
    for port in world.ports:
        pytest_twisted.blockon(port.stopListening())


def read_all(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


@pytest_twisted.inlineCallbacks
def test_both_paths_answer_alike_on_sockets(loopback: Loopback) -> Any:
    """Pipelined, split, handed-over and refused requests give the same bytes on all ports."""
    for data, piece in (
        (EVALUATE + KEYS + FILE + LAST, 0),
        (EVALUATE + KEYS + FILE + LAST, 7),
        (EVALUATE + HEAD + EVALUATE + LAST, 0),
        (FILE * 100 + LAST, 0),
        (KEYS + b"rubbish\r\n\r\n", 0),
        (request_bytes("GET", "/nowhere") + LAST, 11),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 0),
    ):
        klein = yield deferToThread(loopback.talk, loopback.klein, data, piece)
        fast = yield deferToThread(loopback.talk, loopback.fast, data, piece)
        secure = yield deferToThread(loopback.talk, loopback.secure, data, piece)
        assert klein == fast == secure
        assert fast.startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("port", ["fast", "secure"])
@pytest_twisted.inlineCallbacks
def test_answers_that_are_read_late(loopback: Loopback, port: str) -> Any:
    """A client that asks for 3 MB before it reads any of it, through a small window, gets all of it in the end."""

    def greedy() -> int:
        with loopback.connect(getattr(loopback, port), 4096) as client:
            client.sendall(FILE * 150 + LAST)
            return read_all(client).count(b"HTTP/1.1 200 OK")

    answered = yield deferToThread(greedy)
    assert 151 == answered


def half_closing(world: Loopback, address: Address, data: bytes) -> bytes:
    """Send a request and close the sending side, then read to the end."""
    with world.connect(address) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


CHUNKED = b"POST /api/sdk1/eval-all HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize("port", ["klein", "fast"])
@pytest_twisted.inlineCallbacks
def test_a_client_that_closes_its_sending_side_gets_its_answers(loopback: Loopback, port: str) -> Any:
    """At once, several in a row, of the Klein path and the fast path, and then the connection ends."""
    plain = request_bytes("POST", "/api/sdk1/eval-all", body="{}")
    for data in (CHUNKED, CHUNKED * 3, plain * 3, plain + CHUNKED):
        received = yield deferToThread(half_closing, loopback, getattr(loopback, port), data)
        assert data.count(b"POST") == received.count(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("port", ["klein", "fast"])
@pytest_twisted.inlineCallbacks
def test_a_client_that_closes_its_sending_side_is_waited_for(loopback: Loopback, port: str) -> Any:
    """An answer that takes its time is sent, and a further one behind it."""
    sdk = loopback.factory.site.routes.dispatcher.context.registry.by_id("sdk1")
    sdk.instant = False
    refresh = request_bytes("POST", "/api/sdk1/refresh")
    answer = deferToThread(half_closing, loopback, getattr(loopback, port), refresh + CHUNKED)
    site = loopback.factory.site
    while not sdk.pending or not all(each.read_ended for each in site.connections):
        yield deferLater(loopback.reactor, 0.01, lambda: None)
    while any(each.transport.fileno() in each.transport.reactor.reads for each in loopback.factory.open):
        yield deferLater(loopback.reactor, 0.01, lambda: None)
    sdk.pending.pop().callback(Refreshed())
    received = yield answer
    assert 2 == received.count(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("first", [b"", request_bytes("HEAD", "/nowhere")], ids=["fast path", "Klein path"])
@pytest_twisted.inlineCallbacks
def test_a_stream_ends_when_its_client_closes_its_sending_side(loopback: Loopback, first: bytes) -> Any:
    """The end of what a client sends is all that a server sees of most clients that are gone."""
    data = first + request_bytes("GET", "/sse/sdk1/eval-all")
    with suppress(ConnectionResetError):
        yield deferToThread(half_closing, loopback, loopback.fast, data)
    assert 0 == loopback.factory.site.routes.dispatcher.context.state.streams.total


@pytest.mark.parametrize("port", ["fast", "secure"])
@pytest_twisted.inlineCallbacks
def test_stream_opens_and_ends_with_its_client(loopback: Loopback, port: str) -> Any:
    """A stream opens on a connection that was used before; when its client hangs up nothing of it is left."""

    def first() -> tuple[socket.socket, bytes]:
        client = loopback.connect(getattr(loopback, port))
        client.sendall(KEYS + OPEN + KEYS)
        received = b""
        while not received.endswith(b"\n\n\r\n"):
            received += client.recv(65536)
        return client, received

    client, received = yield deferToThread(first)
    assert 2 == received.count(b"HTTP/1.1 200 OK")
    assert b"text/event-stream" in received
    assert 1 == len(loopback.hub.subscribers())
    client.close()
    yield deferToThread(eventually, lambda: not loopback.hub.subscribers())
    assert ([], set(), set()) == (loopback.hub.subscribers(), loopback.factory.open, loopback.encrypted.open)


@pytest.mark.parametrize("port", ["fast", "secure"])
@pytest_twisted.inlineCallbacks
def test_a_stream_that_is_ended_waits_for_no_word_of_its_client(loopback: Loopback, port: str) -> Any:
    """One that keeps the connection and does not read is forgotten; when it does read, it finds the whole response."""

    def opened() -> socket.socket:
        client = loopback.connect(getattr(loopback, port))
        client.sendall(OPEN)
        client.recv(10)
        return client

    client = yield deferToThread(opened)
    (subscriber,) = loopback.hub.subscribers()
    subscriber.outlet.finish()
    yield deferToThread(eventually, lambda: not loopback.hub.subscribers())
    received = yield deferToThread(read_all, client)
    client.close()
    assert received.endswith(b"\n\n\r\n0\r\n\r\n")
