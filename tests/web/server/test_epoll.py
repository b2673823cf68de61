"""The epoll of connections: calls what a reactor would call, and forwards everything else to the reactor."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost

from gateway.web.server.epoll import ConnectionEpoll
from gateway.web.server.write_batch import PlainWriter


class Reactor:
    """Records what it has to watch; the test turns it."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.forwarded: list[tuple[str, Any]] = []

    def addReader(self, descriptor: Any) -> None:
        self.readers.append(descriptor)

    def removeReader(self, descriptor: Any) -> None:
        if descriptor in self.readers:
            self.readers.remove(descriptor)
        else:
            self.forwarded.append(("reader", descriptor))

    def removeWriter(self, descriptor: Any) -> None:
        self.forwarded.append(("writer", descriptor))

    def callLater(self, *what: Any) -> str:
        return f"later {what}"


class End:
    """One end of a socket pair, as a descriptor that records its calls; ``doRead`` returns ``answers``."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.calls: list[Any] = []
        self.answers: Any = None

    def fileno(self) -> int:
        return self.socket.fileno()

    def logPrefix(self) -> str:
        return "end"

    def doRead(self) -> Any:
        self.calls.append(self.socket.recv(100))
        if isinstance(self.answers, ZeroDivisionError):
            raise self.answers
        return self.answers

    def doWrite(self) -> None:
        self.calls.append("write")

    def connectionLost(self, reason: Any) -> None:
        self.calls.append(reason.type)


@pytest.fixture
def world() -> Iterator[tuple[Reactor, ConnectionEpoll, list[End]]]:
    reactor = Reactor()
    left, right = socket.socketpair()
    yield reactor, ConnectionEpoll(reactor, PlainWriter()), [End(left), End(right)]
    left.close()
    right.close()


def test_a_connection_is_called_while_it_is_watched_and_ready(world: Any) -> None:
    """Reading and writing are watched separately; the reactor watches one descriptor while there are connections."""
    reactor, descriptors, (one, other) = world
    descriptors.addReader(one)
    assert [descriptors] == reactor.readers
    descriptors.doRead()
    assert [] == one.calls
    other.socket.send(b"hello")
    descriptors.doRead()
    assert [b"hello"] == one.calls
    descriptors.addWriter(one)
    descriptors.addWriter(one)
    other.socket.send(b"again")
    descriptors.doRead()
    assert [b"hello", b"again", "write"] == one.calls
    descriptors.removeWriter(one)
    descriptors.removeReader(one)
    other.socket.send(b"unheard")
    descriptors.doRead()
    assert [b"hello", b"again", "write"] == one.calls
    assert ([], []) == (reactor.readers, reactor.forwarded)


def test_everything_else_is_forwarded_to_the_reactor(world: Any) -> None:
    """Other descriptors, clocks and all other attributes are the reactor's."""
    reactor, descriptors, (one, _) = world
    descriptors.removeReader(one)
    descriptors.removeWriter(one)
    assert [("reader", one), ("writer", one)] == reactor.forwarded
    assert "later (1, 'x')" == descriptors.callLater(1, "x")


@pytest.mark.parametrize(
    ("answers", "reason"), [(ConnectionDone(), ConnectionDone), (ConnectionLost(), ConnectionLost)]
)
def test_a_connection_that_ends_is_forgotten(world: Any, answers: Exception, reason: type) -> None:
    """``connectionLost`` is called once, and nothing after it."""
    reactor, descriptors, (one, other) = world
    descriptors.addReader(one)
    descriptors.addWriter(one)
    one.answers = answers
    other.socket.send(b"last")
    descriptors.doRead()
    assert [b"last", reason] == one.calls
    descriptors.doRead()
    assert [b"last", reason] == one.calls
    assert [] == reactor.readers


def test_a_fault_ends_that_connection_alone(world: Any, logged_errors: Any) -> None:
    """What a connection raises is logged and ends it; the other one is read."""
    _, descriptors, (one, other) = world
    descriptors.addReader(one)
    descriptors.addReader(other)
    one.answers = ZeroDivisionError()
    other.socket.send(b"to one")
    one.socket.send(b"to other")
    descriptors.doRead()
    assert [b"to one", ZeroDivisionError] == one.calls
    assert [b"to other"] == other.calls
    assert 1 == len(logged_errors.flush())


def test_a_fault_in_connection_lost_ends_that_connection_alone(world: Any, logged_errors: Any) -> None:
    """What ``connectionLost`` raises is logged and does not reach the reactor."""
    _, descriptors, (one, other) = world
    descriptors.addReader(one)
    descriptors.addReader(other)
    one.answers = ConnectionDone()
    one.connectionLost = lambda reason: 1 / 0
    other.socket.send(b"to one")
    one.socket.send(b"to other")
    descriptors.doRead()
    assert [[b"to one"], [b"to other"]] == [one.calls, other.calls]
    assert 1 == len(logged_errors.flush(ZeroDivisionError))


def test_a_failing_write_does_not_affect_the_others(logged_errors: Any) -> None:
    """Of a batch of writes only the failing connection's is lost, and the connection is dropped."""
    writer = PlainWriter()
    transports = [Transport(), Transport(broken=True), Transport()]
    writer.hold()
    for transport in transports:
        writer.write(transport, b"x")
    writer.release()
    assert [b"x", b"", b"x"] == [transport.sent for transport in transports]
    assert [False, True, False] == [transport.aborted for transport in transports]
    assert 1 == len(logged_errors.flush(ZeroDivisionError))


class Transport:
    """A connection whose socket is full, and whose buffer may fail."""

    connected = True
    disconnecting = False
    dataBuffer = b""
    _tempDataBuffer: tuple[bytes, ...] = ()

    def __init__(self, *, broken: bool = False) -> None:
        self.socket = self
        self.broken = broken
        self.aborted = False
        self.sent = b""

    def send(self, data: bytes) -> int:
        raise BlockingIOError

    def write(self, data: bytes) -> None:
        if self.broken:
            raise ZeroDivisionError
        self.sent += data

    def abortConnection(self) -> None:
        self.aborted = True


def test_a_connection_that_only_writes_notices_the_end(world: Any) -> None:
    """A hang-up also ends a connection that is not read."""
    _, descriptors, (one, other) = world
    descriptors.addWriter(one)
    other.socket.close()
    descriptors.doRead()
    assert [ConnectionLost] == one.calls


def test_a_reused_file_descriptor_belongs_to_the_new_connection(world: Any) -> None:
    """A connection that was closed without being removed leaves nothing behind."""
    reactor, descriptors, (one, _) = world
    descriptors.addReader(one)
    number = one.fileno()
    one.socket.close()
    near, far = socket.socketpair()
    with near, far:
        if near.fileno() != number:
            near, far = far, near
        assert number == near.fileno()
        fresh = End(near)
        descriptors.addReader(fresh)
        far.send(b"for the new one")
        descriptors.doRead()
        assert ([b"for the new one"], []) == (fresh.calls, one.calls)
        descriptors.removeReader(one)
        assert [("reader", one)] == reactor.forwarded
        descriptors.removeReader(fresh)
    assert [] == reactor.readers


def test_a_connection_that_removes_another_ready_one(world: Any) -> None:
    """A connection that is removed during the turn is not called."""
    _, descriptors, (one, other) = world
    for end, peer in ((one, other), (other, one)):
        end.calls = Closing(descriptors, peer)
        descriptors.addReader(end)
    one.socket.send(b"x")
    other.socket.send(b"x")
    descriptors.doRead()
    assert 1 == len(one.calls) + len(other.calls)


class Closing(list[Any]):
    """Calls of an end that removes its peer when it is called."""

    def __init__(self, descriptors: ConnectionEpoll, peer: End) -> None:
        super().__init__()
        self._descriptors = descriptors
        self._peer = peer

    def append(self, call: Any) -> None:
        super().append(call)
        self._descriptors.removeReader(self._peer)
