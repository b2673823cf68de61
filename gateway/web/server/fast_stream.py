"""An open event stream on a connection of the wire: nothing is left of the request that opened it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from gateway.web.server.socket_options import configure_stream

if TYPE_CHECKING:
    from gateway.web.context import OpenStreams
    from gateway.web.ports import Hub, Subscriber
    from gateway.web.server.write_batch import PlainWriter
    from gateway.web.values import StreamReply

TALK_LIMIT = 64 * 1024  # bytes that a client may send on an open stream, where it has nothing to say
LAST_CHUNK = b"0\r\n\r\n"


@implementer(IPushProducer)
class FastStream:
    """Protocol and producer to the transport, outlet to the hub."""

    __slots__ = ("_address", "_head", "_heard", "_streams", "_subscriber", "_writer", "transport")

    def __init__(self, transport: Any, writer: PlainWriter, streams: OpenStreams, address: str) -> None:
        self.transport = transport
        self._writer = writer
        self._streams = streams
        self._address = address
        self._subscriber: Subscriber | None = None
        self._head = b""
        self._heard = 0

    def open(self, hub: Hub, reply: StreamReply, head: bytes) -> None:
        """Take the connection over and subscribe; head and first frame leave in one write."""
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
        """Send ``data``; a connection that is gone, or has had its last chunk, swallows it."""
        transport = self.transport
        if transport is not None and not transport.disconnecting:
            chunk = self._writer.chunk(data)
            if self._head:
                chunk, self._head = self._head + chunk, b""
            self._writer.write(transport, chunk)

    def finish(self) -> None:
        """End the response in an orderly way, and the connection with it: its client may come back to another node."""
        transport = self.transport
        if transport is not None:
            transport.unregisterProducer()
            self._writer.write(transport, LAST_CHUNK)
            self._writer.close(transport)

    def abort(self) -> None:
        """Drop the connection with whatever is still unsent."""
        if self.transport is not None:
            self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """Told by the transport that its buffer is full."""
        if self._subscriber is not None:
            self._subscriber.pause()

    def resumeProducing(self) -> None:
        """Told by the transport that its buffer has drained."""
        if self._subscriber is not None:
            self._subscriber.resume()

    def stopProducing(self) -> None:
        """Told by the transport that the connection goes away; ``connectionLost`` does the work."""

    def dataReceived(self, data: bytes) -> None:
        """Ignore what a client says on an open stream, and drop one that does not stop."""
        self._heard += len(data)
        if self._heard > TALK_LIMIT:
            self.abort()

    def connectionLost(self, _reason: object) -> None:
        """Forget the stream."""
        if self.transport is not None:
            self.transport = None
            self._streams.closed(self._address)
            if self._subscriber is not None:
                self._subscriber.close()
                self._subscriber = None
