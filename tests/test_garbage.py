"""``gateway.garbage``: collections are rare, and connections need none."""

from __future__ import annotations

import gc
import random
import socket
from select import select
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import succeed
from twisted.internet.epollreactor import EPollReactor

from gateway.flags import load
from gateway.garbage import THRESHOLDS, collect_rarely
from gateway.telemetry import Metrics
from web_memory import FakeRegistry, FakeSdk, request_bytes, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = b'{"f":{"on":{"t":0,"v":{"b":true},"i":"v1"}}}'
REQUEST = request_bytes("POST", "/api/sdk1/eval", body='{"key":"on"}')
STREAM = request_bytes("GET", "/sse/sdk1/eval-all/eyJ1c2VyIjp7IklkZW50aWZpZXIiOiJhIn19")


@pytest.fixture
def collector() -> Iterator[None]:
    """Undo what a test sets of the process's collector."""
    thresholds = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
def test_objects_of_the_start_are_left_alone() -> None:
    """After the call existing objects are in no generation, and the thresholds are set."""
    existing: list[Any] = []
    collect_rarely()
    assert THRESHOLDS == gc.get_threshold()
    assert not any(each is existing for generation in range(3) for each in gc.get_objects(generation))
    assert gc.get_freeze_count() > 1000


@pytest.mark.usefixtures("collector")
def test_connections_leave_no_cycles() -> None:
    """Requests and streams whose connections have ended are freed without the collector."""
    from gateway.serving import LocalServer

    reactor: Any = EPollReactor()
    sdk = FakeSdk("sdk1", "key", snapshot=load(CONFIG, ""))
    server = LocalServer(
        reactor, FakeRegistry(sdk), settings_of({}), metrics=Metrics(reactor.seconds, "test"), status_document=dict,
        rng=random.Random(1), keep=lambda _: succeed(None),
    )  # fmt: skip
    server.add_sdk(sdk)
    port: Any = reactor.listenTCP(0, server.factory(), interface="127.0.0.1")
    server.adopt_port(port)

    def turn_until(condition: Callable[[], bool]) -> None:
        for _ in range(3000):
            if condition():
                return
            reactor.doIteration(0.01)
        raise AssertionError

    def serve() -> None:
        """Answer ten requests and open ten streams, then end all connections."""
        clients = [socket.create_connection(("127.0.0.1", port.getHost().port), 10) for _ in range(20)]
        for number, client in enumerate(clients):
            client.sendall(STREAM if number % 2 else REQUEST)
            client.setblocking(False)
        turn_until(lambda: server.stream_count == 10)
        turn_until(lambda: len(select(clients, [], [], 0)[0]) == 20)
        for client in clients:
            assert client.recv(99).startswith(b"HTTP/1.1 200")
            client.close()
        turn_until(lambda: not server.stream_count and not server._connections.open)

    serve()  # whatever is made on first use
    gc.collect()
    gc.disable()
    serve()
    assert gc.collect() == 0
    port.stopListening()
    reactor.runUntilCurrent()
