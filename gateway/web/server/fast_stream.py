"""An open event stream on a connection of the fast path; nothing is kept of the request that opened it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from gateway.web.server.socket_options import configure_stream

if TYPE_CHECKING:
    from gateway.streams import Hub, Subscriber
    from gateway.web.callers import StreamCounter
    from gateway.web.server.write_batch import PlainWriter
    from gateway.web.values import StreamReply

CLIENT_BYTES_LIMIT = 64 * 1024  # bytes that a client may send on an open stream, where none are expected
LAST_CHUNK = b"0\r\n\r\n"


@implementer(IPushProducer)
class FastStream:
    """The transport's protocol and producer; the hub's outlet."""

    __slots__ = ("_address", "_head", "_received", "_streams", "_subscriber", "_writer", "transport")

    def __init__(self, transport: Any, writer: PlainWriter, streams: StreamCounter, address: str) -> None:
        self.transport = transport
        self._writer = writer
        self._streams = streams
        self._address = address
        self._subscriber: Subscriber | None = None
        self._head = b""
        self._received = 0

    def open(self, hub: Hub, reply: StreamReply, head: bytes) -> None:
        """Take the connection over and subscribe; the head and the first event leave in one write."""
        transport = self.transport
        self._writer.switch_protocol(transport, self)
        configure_stream(transport)
        transport.registerProducer(self, True)
        self._streams.opened(self._address)
        self._head = head
        subscriber = hub.subscribe(reply.key, reply.user, self, reply.options)
        if self.transport is None:
            subscriber.close()
            return
        self._subscriber = subscriber
        if transport.producerPaused:
            subscriber.pause()

    def write(self, data: bytes) -> None:
        """Send ``data``, unless the connection is lost or the last chunk was sent."""
        transport = self.transport
        if transport is not None and not transport.disconnecting:
            chunk = self._writer.chunk(data)
            if self._head:
                chunk, self._head = self._head + chunk, b""
            self._writer.write(transport, chunk)

    def finish(self) -> None:
        """End the response with its last chunk, then the connection: the client may reconnect to another node."""
        transport = self.transport
        if transport is not None:
            transport.unregisterProducer()
            self._writer.write(transport, LAST_CHUNK)
            self._writer.close(transport)

    def abort(self) -> None:
        """Drop the connection and what is unsent."""
        if self.transport is not None:
            self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """Pause the subscriber: the transport's buffer is full."""
        if self._subscriber is not None:
            self._subscriber.pause()

    def resumeProducing(self) -> None:
        """Resume the subscriber: the transport's buffer has drained."""
        if self._subscriber is not None:
            self._subscriber.resume()

    def stopProducing(self) -> None:
        """Do nothing: the connection is lost, and ``connectionLost`` follows."""

    def dataReceived(self, data: bytes) -> None:
        """Ignore what the client sends; drop the connection beyond ``CLIENT_BYTES_LIMIT``."""
        self._received += len(data)
        if self._received > CLIENT_BYTES_LIMIT:
            self.abort()

    def connectionLost(self, _reason: object) -> None:
        """End the subscription."""
        if self.transport is not None:
            self.transport = None
            self._streams.closed(self._address)
            if self._subscriber is not None:
                self._subscriber.close()
                self._subscriber = None
