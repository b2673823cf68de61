"""The connections of a port, in an epoll of their own that the reactor watches as one descriptor.

    reactor ──► ConnectionEpoll.doRead ──► doRead, doWrite of each connection that is ready

A reactor opens a logging context around every descriptor that is ready, at the cost of a tenth of a small answer.
Nobody asks for that context here, so it is opened once around all that are ready together.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReactorFDSet
from zope.interface import implementer

from gateway.logger import component_logger
from gateway.twisted_private import PollLike

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

    from gateway.web.server.write_batch import PlainWriter

_log = component_logger("gateway")

AT_ONCE: Final = 64  # connections that are seen to before timers, pushes and other descriptors have their turn


def separate_epoll(port: IListeningPort, reactor: Any, writer: PlainWriter) -> IListeningPort:
    """Have the connections that ``port`` accepts from now on watched apart, where the system has an epoll.

    What is sent by ``writer`` while several of them are seen to leaves afterwards.
    """
    if hasattr(select, "epoll"):
        port.reactor = ConnectionEpoll(reactor, writer)  # type: ignore[attr-defined]  # what a Port hands to its connections
    return port


@implementer(IReactorFDSet)
class ConnectionEpoll(PollLike):
    """Stands for the reactor before connections: watches those itself, and leaves all else to the reactor.

    What is done for a descriptor that is ready is what Twisted's own reactors do; they share that code with their
    other sets of descriptors in this way.
    """

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
        """See to the connections that are ready, ``AT_ONCE`` at most; the others are still ready in the next turn."""
        watched, readable = self._watched, select.EPOLLIN
        self._writer.hold()
        try:
            for number, event in self._epoll.poll(0, AT_ONCE):
                descriptor = watched.get(number)
                if descriptor is None:  # another one that was ready has closed it
                    continue
                try:
                    if event == readable:
                        self._read(descriptor)
                    else:
                        self.do_read_or_write(descriptor, number, event)
                except Exception:  # noqa: BLE001  (the reactor would give up the whole epoll for one connection's fault)
                    _log.failure("a connection did not end well")
        finally:
            self._writer.release()

    def _read(self, descriptor: Any) -> None:
        """Read, which nearly all events are for: without the questions that the shared code asks first."""
        try:
            why = descriptor.doRead()
        except Exception as fault:  # noqa: BLE001  (as there: what comes out of a protocol ends its connection)
            _log.failure("a connection could not be read from and is dropped")
            why = fault
        if why:
            self.disconnect(descriptor, why, True)

    def connectionLost(self, reason: object) -> None:
        """Told when the reactor stops: whoever holds connections has ended them by then."""

    def _add(self, descriptor: Any, wanted: set[int]) -> None:
        number = descriptor.fileno()
        if self._watched.get(number) is descriptor:
            if number not in wanted:
                wanted.add(number)
                self._epoll.modify(number, self._events(number))
            return
        if not self._watched:
            self._reactor.addReader(self)
        self._forget(number)  # it was another's, which was closed without a word and left the epoll with that
        self._watched[number] = descriptor
        wanted.add(number)
        self._epoll.register(number, self._events(number))

    def _remove(self, descriptor: Any, wanted: set[int]) -> bool:
        """Return whether the descriptor is one of these."""
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
