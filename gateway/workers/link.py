"""One end of the socket pair between leader and worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.protocol import Factory, Protocol, connectionDone

from gateway.logger import component_logger
from gateway.workers.framing import Frames, TooLong, framed
from gateway.workers.protocol import NotUnderstood, encode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from gateway.workers.protocol import Down, Up

    Decode = Callable[[bytes], "Said"]

_log = component_logger("gateway")

Said = TypeVar("Said")


class Link(Protocol, Generic[Said]):
    """Gives ``received`` each message in order, and calls ``lost`` once when the other side is gone.

    A message that cannot be understood ends the link: both sides are of one version, so it can only be a fault.
    """

    transport: Any

    def __init__(
        self, decode: Decode[Said], limit: int, received: Callable[[Said], None], lost: Callable[[], None]
    ) -> None:
        self._decode = decode
        self._frames = Frames(limit)
        self._received = received
        self._lost = lost

    def send(self, message: Down | Up) -> None:
        """Say something; what is said to somebody who is gone is lost.

        What is said to somebody who does not read waits in memory: a worker that hangs is killed after 30 s.
        """
        self.send_framed(framed(encode(message)))

    def send_framed(self, data: bytes) -> None:
        """Say something that is encoded already."""
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        """Hang up once everything is written."""
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Hand on what is complete."""
        try:
            for message in self._frames.feed(data):
                self._received(self._decode(message))
        except (TooLong, NotUnderstood) as error:
            _log.error("leader and worker do not understand each other: {kind}", kind=type(error).__name__)
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002  (Twisted's signature)
        """Tell once."""
        self.transport = None
        self._lost()


class LinkFactory(Factory):
    """Makes the one link of an adopted socket."""

    noisy = False

    def __init__(self, link: Link[Any]) -> None:
        self._link = link

    def buildProtocol(self, _address: object) -> Link[Any]:
        """Return the link."""
        return self._link


def connect(reactor: Any, end: socket.socket, link: Link[Any]) -> None:
    """Speak over ``end`` from now on; the reactor has a descriptor of its own then, and ``end`` is closed."""
    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), end.family, LinkFactory(link))
    end.close()
