"""Connections in an epoll of their own: what a reactor would call is called, and what is not theirs is passed on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost

from gateway.web.server.epoll import ConnectionEpoll
from gateway.web.server.write_batch import PlainWriter


class Reactor:
    """Notes what it is asked to watch; it is turned by hand."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.passed_on: list[tuple[str, Any]] = []

    def addReader(self, descriptor: Any) -> None:
        self.readers.append(descriptor)

    def removeReader(self, descriptor: Any) -> None:
        if descriptor in self.readers:
            self.readers.remove(descriptor)
        else:
            self.passed_on.append(("reader", descriptor))

    def removeWriter(self, descriptor: Any) -> None:
        self.passed_on.append(("writer", descriptor))

    def callLater(self, *what: Any) -> str:
        return f"later {what}"


class End:
    """One end of a pair, as a descriptor that notes what is called; ``answers`` are what its doRead returns."""

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


def test_a_connection_is_called_when_it_is_ready_and_not_after_it_was_taken_out(world: Any) -> None:
    """Reading and writing are watched apart; the reactor watches one descriptor while there is a connection."""
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
    assert ([], []) == (reactor.readers, reactor.passed_on)


def test_what_is_not_a_connection_is_the_reactors(world: Any) -> None:
    """A port is taken out of the reactor; clocks and everything else are the reactor's."""
    reactor, descriptors, (one, _) = world
    descriptors.removeReader(one)
    descriptors.removeWriter(one)
    assert [("reader", one), ("writer", one)] == reactor.passed_on
    assert "later (1, 'x')" == descriptors.callLater(1, "x")


@pytest.mark.parametrize(("answers", "told"), [(ConnectionDone(), ConnectionDone), (ConnectionLost(), ConnectionLost)])
def test_a_connection_that_says_it_is_over_is_forgotten(world: Any, answers: Exception, told: type) -> None:
    """It is told once and never called again."""
    reactor, descriptors, (one, other) = world
    descriptors.addReader(one)
    descriptors.addWriter(one)
    one.answers = answers
    other.socket.send(b"last")
    descriptors.doRead()
    assert [b"last", told] == one.calls
    descriptors.doRead()
    assert [b"last", told] == one.calls
    assert [] == reactor.readers


def test_a_fault_ends_that_connection_alone(world: Any, logged_errors: Any) -> None:
    """What a connection raises is logged, and told to it; the other goes on."""
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


def test_one_that_does_not_take_its_end_well_ends_alone(world: Any, logged_errors: Any) -> None:
    """What is raised while a connection is told of its end is logged, and does not come up to the reactor."""
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


def test_a_connection_that_cannot_be_written_to_keeps_nothing_from_the_others(logged_errors: Any) -> None:
    """Of the writes that wait together only its own is lost; it is dropped."""
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
    """A connection whose socket is full, and which may fail at keeping what it is given."""

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


def test_a_connection_that_only_writes_hears_that_the_other_end_is_gone(world: Any) -> None:
    """Hanging up is told to whoever does not read as well."""
    _, descriptors, (one, other) = world
    descriptors.addWriter(one)
    other.socket.close()
    descriptors.doRead()
    assert [ConnectionLost] == one.calls


def test_a_number_that_is_used_again_is_the_new_connections(world: Any) -> None:
    """One that was closed without a word leaves nothing behind under its number."""
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
        assert [("reader", one)] == reactor.passed_on
        descriptors.removeReader(fresh)
    assert [] == reactor.readers


def test_one_that_closes_another_which_was_ready_too(world: Any) -> None:
    """A connection that is taken out while others are seen to is not called."""
    _, descriptors, (one, other) = world
    for end, peer in ((one, other), (other, one)):
        end.calls = Closing(descriptors, peer)
        descriptors.addReader(end)
    one.socket.send(b"x")
    other.socket.send(b"x")
    descriptors.doRead()
    assert 1 == len(one.calls) + len(other.calls)


class Closing(list[Any]):
    """Calls of an end that takes its peer out when it is called."""

    def __init__(self, descriptors: ConnectionEpoll, peer: End) -> None:
        super().__init__()
        self._descriptors = descriptors
        self._peer = peer

    def append(self, call: Any) -> None:
        super().append(call)
        self._descriptors.removeReader(self._peer)
