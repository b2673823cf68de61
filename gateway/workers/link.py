"""One end of the socket pair between leader and worker: messages, each with its length in front."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.protocol import Factory, Protocol, connectionDone

from gateway.logger import component_logger
from gateway.workers.protocol import DECODE_ERRORS, encode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from msgspec.msgpack import Decoder
    from twisted.internet.interfaces import IReactorSocket
    from twisted.python.failure import Failure

    from gateway.workers.protocol import ToLeader, ToWorker

_log = component_logger("gateway")

TO_WORKER_LIMIT = 2**31  # bytes of one message: a config of any size that `upstream.max_bytes` sensibly allows
TO_LEADER_LIMIT = 16 * 1024 * 1024  # bytes of one message: a report of every flag of many SDKs is below 1 MiB

COPIED = 1024 * 1024  # bytes of a message; to copy one takes 0.2 ms

_LENGTH = Struct(">I")

M = TypeVar("M")


class MessageTooLong(Exception):
    """A message is longer than the limit of its direction."""


class Splitter:
    """Cuts received bytes into messages of at most ``limit`` bytes; large ones are not copied again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes | memoryview]:
        """Return the messages that ``data`` completes, in order.

        :raises MessageTooLong: as soon as a length over the limit has been received
        """
        buffer = self._buffer
        buffer += data
        messages: list[bytes | memoryview] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > self._limit:
                raise MessageTooLong(f"message of {length} bytes, the limit is {self._limit}")
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            if length <= COPIED:
                messages.append(bytes(memoryview(buffer)[start + _LENGTH.size : end]))
                start = end
            else:
                messages.append(memoryview(buffer)[start + _LENGTH.size : end])
                buffer = self._buffer = bytearray(memoryview(buffer)[end:])
                start = 0
        del buffer[:start]
        return messages


class Link(Protocol, Generic[M]):
    """Calls ``on_message`` with each message in order, and ``on_lost`` once when the other side has closed.

    A message that cannot be decoded closes the link: both sides are of one version, so it is a fault.
    """

    transport: Any

    def __init__(
        self, decoder: Decoder[M], limit: int, on_message: Callable[[M], None], on_lost: Callable[[], None]
    ) -> None:
        self._decoder = decoder
        self._splitter = Splitter(limit)
        self._on_message = on_message
        self._on_lost = on_lost

    def send(self, message: ToWorker | ToLeader) -> None:
        """Send a message; it is dropped when the link is closed.

        What the other side does not read waits in memory: a worker that hangs is killed after 15 s.
        """
        self.send_encoded(encode(message))

    def send_encoded(self, message: bytes) -> None:
        """Send a message that is encoded."""
        if self.transport is not None:
            self.transport.writeSequence((_LENGTH.pack(len(message)), message))

    def close(self) -> None:
        """Close the link once everything is written."""
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Handle the messages that are complete."""
        try:
            for message in self._splitter.feed(data):
                self._on_message(self._decoder.decode(message))
        except (MessageTooLong, *DECODE_ERRORS) as error:
            _log.error(
                "invalid message between leader and worker, the link is closed: {kind}", kind=type(error).__name__
            )
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's signature
        """Report the end of the link."""
        self.transport = None
        self._on_lost()


def connect(reactor: IReactorSocket, end: socket.socket, link: Link[Any]) -> None:
    """Use ``end`` as the transport of ``link``; the reactor duplicates the descriptor, and ``end`` is closed."""
    factory: Any = Factory.forProtocol(lambda: link)
    factory.noisy = False
    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), end.family, factory)
    end.close()
