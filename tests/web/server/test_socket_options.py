"""What connections and open streams ask of the kernel."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

from gateway.telemetry import Metrics
from gateway.web.server.socket_options import UNSENT_LIMIT, USER_TIMEOUT_LIMIT, configure_listener, configure_stream
from web_memory import FakeRegistry, settings_of


@implementer(IReactorFDSet)
class Reactor(MemoryReactor):
    """A reactor that watches nothing."""


@pytest.fixture(params=[("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Return a listening socket."""
    address, family = request.param
    with socket.create_server((address, 0), family=family) as made:
        yield made


@pytest.fixture
def connection() -> Iterator[Connection]:
    """Return a transport on a real socket."""
    with socket.socket() as handle:
        yield Connection(handle, Protocol(), Reactor())


def accepted_options(listening: socket.socket) -> tuple[int, ...]:
    """Return what a connection begins with: no delay, bytes that wait unsent, milliseconds without acknowledgement."""
    with socket.create_connection(listening.getsockname()[:2]), listening.accept()[0] as accepted:
        options = (socket.TCP_NODELAY, socket.TCP_NOTSENT_LOWAT, socket.TCP_USER_TIMEOUT)
        return tuple(accepted.getsockopt(socket.IPPROTO_TCP, option) for option in options)


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(60, 60_000), (0.5, 500), (0.0001, 1), (1e12, USER_TIMEOUT_LIMIT), (0, 0)]
)
def test_connections_begin_with_what_their_port_was_given(
    listening: socket.socket, seconds: float, milliseconds: int
) -> None:
    """The stall timeout is the kernel's too, in milliseconds and within what it can hold; 0 leaves it alone."""
    configure_listener(listening, 7)
    configure_listener(listening, seconds)
    assert (1, UNSENT_LIMIT, milliseconds) == accepted_options(listening)


def test_a_reload_gives_new_connections_the_new_stall_timeout(listening: socket.socket) -> None:
    """The server's port is configured at the start and by a reload, and not after it is closed."""
    from gateway.serving import LocalServer

    class Port:
        """A port of the reactor."""

        def __init__(self) -> None:
            self.socket: Any = listening
            self.connected = True

        def doRead(self) -> None:
            """No connection waits."""

        def stopListening(self) -> None:
            """Close."""
            self.connected = False
            del self.socket

    clock = Clock()
    server = LocalServer(
        clock, FakeRegistry(), settings_of({"http": {"sse": {"stall_timeout": 9}}}),
        metrics=Metrics(lambda: 0.0, "test"), status_document=dict, rng=random.Random(1), keep=lambda _: succeed(None),
    )  # fmt: skip
    server.adopt_port(Port())
    assert (1, UNSENT_LIMIT, 9_000) == accepted_options(listening)
    server.check(settings_of({"http": {"sse": {"stall_timeout": 3}}}))()
    assert (1, UNSENT_LIMIT, 3_000) == accepted_options(listening)
    draining = Deferred.fromCoroutine(server.drain(lambda: True))
    server.check(settings_of({}))()
    clock.pump([1.0] * 5)
    assert draining.called
    assert 3_000 == listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_a_socket_below_wrappers_is_found(connection: Connection) -> None:
    """TLS and other wrappers stand between the stream and its socket."""
    inner = ProtocolWrapper(WrappingFactory(None), Protocol())
    inner.transport = connection
    outer = ProtocolWrapper(WrappingFactory(None), Protocol())
    outer.transport = inner
    assert UNSENT_LIMIT != connection.bufferSize
    configure_stream(outer)
    assert UNSENT_LIMIT == connection.bufferSize


def test_what_is_no_socket_is_left_alone() -> None:
    """A stream over HTTP/2, or in memory, has no socket of its own."""
    stands_for_one = object()
    configure_stream(stands_for_one)
    assert not hasattr(stands_for_one, "bufferSize")
