"""What an open stream asks of the kernel."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

from gateway.web.eventstream import UNSENT_LIMIT, USER_TIMEOUT_LIMIT, small_buffers


@implementer(IReactorFDSet)
class Reactor(MemoryReactor):
    """A reactor that watches nothing."""


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Return a transport on a real socket."""
    with socket.socket(request.param) as handle:
        yield Connection(handle, Protocol(), Reactor())


def options(connection: Connection) -> tuple[int, int]:
    """Return how many bytes wait unsent at most, and the milliseconds without an acknowledgement."""
    get = connection.socket.getsockopt
    return get(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT), get(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(60, 60_000), (0.5, 500), (0.0001, 1), (1e12, USER_TIMEOUT_LIMIT), (0, 0)]
)
def test_a_reader_that_is_gone_without_a_word_is_noticed(
    connection: Connection, seconds: float, milliseconds: int
) -> None:
    """The stall timeout is the kernel's too, in milliseconds and within what it can hold; 0 leaves it alone."""
    small_buffers(connection, seconds)
    assert (UNSENT_LIMIT, milliseconds) == options(connection)
    assert UNSENT_LIMIT == connection.bufferSize


def test_a_socket_below_wrappers_is_found(connection: Connection) -> None:
    """TLS and other wrappers stand between the stream and its socket."""
    inner = ProtocolWrapper(WrappingFactory(None), Protocol())
    inner.transport = connection
    outer = ProtocolWrapper(WrappingFactory(None), Protocol())
    outer.transport = inner
    small_buffers(outer, 60)
    assert (UNSENT_LIMIT, 60_000) == options(connection)


def test_what_is_no_socket_is_left_alone() -> None:
    """A stream over HTTP/2, or in memory, has no socket of its own."""
    small_buffers(object(), 60)
    with socket.socket(socket.AF_UNIX) as handle:
        small_buffers(Connection(handle, Protocol(), Reactor()), 60)
