"""Both server paths over memory: Twisted's own buffering and producers, with a window instead of a socket.

What a test sends is delivered as a reactor would deliver it: only while the transport reads, 64 KiB at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.web.server.fast_http import FastHttpFactory
from web_memory import MemorySite

DATE = re.compile(rb"Date: [^\r]*\r\n")
RETRY = re.compile(rb"retry: \d+")
READ_SIZE = 64 * 1024  # bytes that a transport reads at once


@define
class FakeReactor:
    """Records the descriptors that are watched."""

    readers: set[object] = field(factory=set)
    writers: set[object] = field(factory=set)

    def addReader(self, descriptor: object) -> None:
        self.readers.add(descriptor)

    def addWriter(self, descriptor: object) -> None:
        self.writers.add(descriptor)

    def removeReader(self, descriptor: object) -> None:
        self.readers.discard(descriptor)

    def removeWriter(self, descriptor: object) -> None:
        self.writers.discard(descriptor)


@implementer(ITCPTransport)
class MemoryTransport(FileDescriptor):
    """A TCP transport whose socket is ``window`` bytes of memory (None: without bound)."""

    def __init__(self, peer: str, window: int | None) -> None:
        self.interest = FakeReactor()
        super().__init__(self.interest)  # type: ignore[arg-type]
        self.client = (peer, 40000)
        self.connected = 1
        self.window = window
        self.sent = bytearray()
        self.half_closed = False
        self.gone: Failure | None = None
        self.protocol: Any = None
        self.socket = self

    def send(self, data: bytes) -> int:
        """As a socket does: what fits, or an error when nothing does."""
        sent = self.writeSomeData(data)
        if isinstance(sent, BaseException):
            raise BrokenPipeError
        if data and not sent:
            raise BlockingIOError
        return sent

    def writeSomeData(self, data: bytes) -> int | BaseException:
        if self.gone is not None:
            return ConnectionLost()
        size = min(len(data), self.SEND_LIMIT)
        if self.window is not None:
            size = min(size, self.window - len(self.sent))
        self.sent += bytes(data[:size])
        return size

    def _closeWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.lose(Failure(ConnectionAborted()))

    def lose(self, reason: Failure) -> None:
        if self.gone is None:
            self.gone = reason
            self.connectionLost(reason)
            self.protocol.connectionLost(reason)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", *self.client)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 8050)

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None: ...

    @property
    def unsent(self) -> int:
        """Bytes that wait in the process."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen


class Client:
    """A client's connection to a factory."""

    def __init__(self, factory: Any, *, peer: str = "192.0.2.7", window: int | None = None) -> None:
        self.transport = MemoryTransport(peer, window)
        self._inbox = b""
        protocol = factory.buildProtocol(self.transport.getPeer())
        self.transport.protocol = protocol
        self.transport.startReading()
        protocol.makeConnection(self.transport)

    @property
    def protocol(self) -> Any:
        """What the transport talks to now."""
        return self.transport.protocol

    @property
    def closed(self) -> bool:
        """Whether the server has closed its side or the connection."""
        return self.transport.gone is not None or self.transport.half_closed

    @property
    def undelivered(self) -> int:
        """Bytes that the server has not read."""
        return len(self._inbox)

    def send(self, data: bytes, piece: int = 0) -> None:
        """Send ``data``, in segments of ``piece`` bytes."""
        for start in range(0, len(data), piece or len(data) or 1):
            self._inbox += data[start : start + (piece or len(data))]
            self.turn()

    def received(self) -> bytes:
        """Return what has arrived since the last call; the window is empty again afterwards."""
        self.turn()
        data = bytes(self.transport.sent)
        self.transport.sent.clear()
        self.turn()
        return data

    def everything(self) -> bytes:
        """Return all that arrives when the client reads until nothing more comes."""
        data = b""
        while piece := self.received():
            data += piece
        return data

    def hang_up(self) -> None:
        """The client closes the connection."""
        self.transport.lose(Failure(ConnectionDone()))

    def turn(self) -> None:
        """Let the reactor do all that it can."""
        while self._read() or self._write():
            pass

    def _read(self) -> bool:
        transport = self.transport
        if transport.gone is not None or not self._inbox or transport not in transport.interest.readers:
            return False
        data, self._inbox = self._inbox[:READ_SIZE], self._inbox[READ_SIZE:]
        transport.protocol.dataReceived(data)
        return True

    def _write(self) -> bool:
        transport = self.transport
        if transport.gone is not None or transport not in transport.interest.writers:
            return False
        before = len(transport.sent), transport.unsent
        outcome: Any = transport.doWrite()
        if outcome is not None:
            transport.lose(Failure(outcome))
        return outcome is not None or before != (len(transport.sent), transport.unsent)


class ServerPaths:
    """The same world twice: behind the Klein path alone, and behind the fast path."""

    def __init__(self, config: object, settings: Mapping[str, Any] | None = None, **more: Any) -> None:
        self.klein = MemorySite(config, settings, **more)
        self.fast = MemorySite(config, settings, **more)
        self.factory = FastHttpFactory(self.fast.site, self.fast.clock)

    def clients(self, **more: Any) -> tuple[Client, Client]:
        """Return a connection to each path: the Klein path, the fast path."""
        return Client(self.klein.site, **more), Client(self.factory, **more)

    def answers(self, data: bytes, piece: int = 0) -> tuple[Received, Received]:
        """Return what each answers to ``data`` on a new connection, and whether it then closed."""
        answers = []
        for client in self.clients():
            client.send(data, piece)
            answers.append(Received(without_dates(client.everything()), client.closed))
            if not client.closed:
                client.hang_up()
        return answers[0], answers[1]


@define
class Received:
    """All bytes of a connection, without date and retry time, and whether it was closed."""

    data: bytes
    closed: bool


def without_dates(data: bytes) -> bytes:
    """Return ``data`` without what may differ from one run to the next."""
    return RETRY.sub(b"retry: 0", DATE.sub(b"Date: x\r\n", data))
