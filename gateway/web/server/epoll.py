"""An epoll for the connections of a port; the reactor watches it as one descriptor.

    reactor ──► ConnectionEpoll.doRead ──► doRead, doWrite of each connection that is ready

A reactor opens a logging context around each ready descriptor, which costs a tenth of a small answer.
Here one context covers all connections that are ready together, because nothing uses it.
"""

from __future__ import annotations

import select
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.tcp import Port
from zope.interface import implementer

from gateway.logger import component_logger
from gateway.twisted_private import PollLike, accept_clients

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

    from gateway.web.server.write_batch import PlainWriter

_log = component_logger("gateway")

AT_ONCE: Final = 64  # connections per turn, before timers, pushes and other descriptors


def connection_epoll(reactor: Any, writer: PlainWriter) -> ConnectionEpoll | None:
    """Return an epoll for the connections of a server's ports; None if the system has no epoll.

    Writes to them by ``writer`` during one turn leave together at its end.
    """
    return ConnectionEpoll(reactor, writer) if hasattr(select, "epoll") else None


def separate_epoll(port: IListeningPort, epoll: ConnectionEpoll | None) -> IListeningPort:
    """Watch the connections that ``port`` accepts from now on by ``epoll``, also once the port is closed."""
    if epoll is not None:
        typed: Any = port
        typed.reactor = epoll  # a Port gives it to its connections
        if isinstance(port, Port):
            typed.doRead = partial(accept_clients, port)
    return port


@implementer(IReactorFDSet)
class ConnectionEpoll(PollLike):
    """The reactor of connections: watches their descriptors itself and forwards everything else to the real reactor."""

    def __init__(self, reactor: Any, writer: PlainWriter) -> None:
        super().__init__(select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR)
        self._reactor = reactor
        self._writer = writer
        self._epoll = select.epoll()
        self._watched: dict[int, Any] = {}  # by file descriptor
        self._writes: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def fileno(self) -> int:
        """Return the epoll's descriptor, which is readable while a connection is ready."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """Return the name of the logging context."""
        return "connections"

    def addReader(self, descriptor: Any) -> None:
        """Call ``descriptor.doRead`` when there is something to read."""
        self._add(descriptor, self.reads)

    def addWriter(self, descriptor: Any) -> None:
        """Call ``descriptor.doWrite`` when there is room."""
        self._add(descriptor, self._writes)

    def removeReader(self, descriptor: Any) -> None:
        """Stop calling ``doRead``."""
        if not self._remove(descriptor, self.reads):
            self._reactor.removeReader(descriptor)

    def removeWriter(self, descriptor: Any) -> None:
        """Stop calling ``doWrite``."""
        if not self._remove(descriptor, self._writes):
            self._reactor.removeWriter(descriptor)

    def doRead(self) -> None:
        """Read from and write to up to ``AT_ONCE`` ready connections; the others stay ready for the next turn."""
        watched, readable = self._watched, select.EPOLLIN
        self._writer.hold()
        try:
            for number, event in self._epoll.poll(0, AT_ONCE):
                descriptor = watched.get(number)
                if descriptor is None:  # closed by another one that was ready
                    continue
                try:
                    if event == readable:
                        self._read(descriptor)
                    else:
                        self.do_read_or_write(descriptor, number, event)
                except Exception:  # noqa: BLE001  (the reactor would drop the whole epoll for a fault of one connection)
                    _log.failure("closing a connection failed; other connections are not affected")
        finally:
            self._writer.release()

    def _read(self, descriptor: Any) -> None:
        """Read, the case of nearly all events, without the checks of ``do_read_or_write``."""
        try:
            why = descriptor.doRead()
        except Exception as fault:  # noqa: BLE001  (as there: what a protocol raises ends its connection)
            _log.failure("reading from a connection failed; the connection is dropped")
            why = fault
        if why:
            self.disconnect(descriptor, why, True)

    def connectionLost(self, reason: object) -> None:
        """Do nothing: the reactor stops, and the connections have ended."""

    def _add(self, descriptor: Any, wanted: set[int]) -> None:
        number = descriptor.fileno()
        if self._watched.get(number) is descriptor:
            if number not in wanted:
                wanted.add(number)
                self._epoll.modify(number, self._events(number))
            return
        if not self._watched:
            self._reactor.addReader(self)
        self._forget(number)  # of a descriptor that was closed, and so left the epoll, without being removed
        self._watched[number] = descriptor
        wanted.add(number)
        self._epoll.register(number, self._events(number))

    def _remove(self, descriptor: Any, wanted: set[int]) -> bool:
        """Return whether the descriptor is watched here."""
        number = descriptor.fileno()
        if self._watched.get(number) is not descriptor:
            return False
        if number in wanted:
            wanted.remove(number)
            left = self._events(number)
            if left:
                self._epoll.modify(number, left)
            else:
                self._epoll.unregister(number)
                self._forget(number)
                if not self._watched:
                    self._reactor.removeReader(self)
        return True

    def _events(self, number: int) -> int:
        return (select.EPOLLIN if number in self.reads else 0) | (select.EPOLLOUT if number in self._writes else 0)

    def _forget(self, number: int) -> None:
        self._watched.pop(number, None)
        self.reads.discard(number)
        self._writes.discard(number)
