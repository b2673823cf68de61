"""An open event stream on a request of the Klein path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPushProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from gateway.web.server.socket_options import configure_stream
from gateway.web.server.stream_outlet import StreamOutlet

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from gateway.streams import Hub
    from gateway.web.callers import StreamCounter
    from gateway.web.server.klein_request import KleinRequest
    from gateway.web.values import StreamReply


class StreamResource(Resource):
    """The resource that Klein renders for a stream."""

    isLeaf = True

    def __init__(self, reply: StreamReply, hub: Hub, streams: StreamCounter) -> None:
        super().__init__()
        self._reply = reply
        self._hub = hub
        self._streams = streams

    def render(self, request: KleinRequest) -> int:
        """Write the head, then subscribe; ``HEAD`` is answered with the head only."""
        request.head(200, self._reply.headers)
        if request.method == b"HEAD":
            request.finish()
            return NOT_DONE_YET
        if request.clientproto == b"HTTP/1.1" and not request.responseHeaders.hasHeader(b"connection"):
            request.responseHeaders.setRawHeaders(b"Connection", [b"keep-alive"])
        request.is_stream = True
        KleinStream(request, self._streams, self._reply.address).open(self._hub, self._reply)
        if request.channel.read_ended:  # while it waited for a config
            request.transport.abortConnection()
        return NOT_DONE_YET


@implementer(IPushProducer)
class KleinStream(StreamOutlet):
    """The transport's producer."""

    def __init__(self, request: KleinRequest, streams: StreamCounter, address: str) -> None:
        super().__init__(streams, address)
        self._request: KleinRequest | None = request

    @property
    def is_gone(self) -> bool:
        """See ``StreamOutlet``."""
        return self._request is None

    def open(self, hub: Hub, reply: StreamReply) -> None:
        """Subscribe; the hub writes the first event before this returns."""
        request = self._request
        assert request is not None
        self._streams.opened(self._address)
        request.notifyFinish().addBoth(self._ended)
        configure_stream(request.transport)
        request.registerProducer(self, True)
        request.write(b"")
        self._subscribe(hub, reply)

    def write(self, data: bytes) -> None:
        """Send ``data``, unless the connection is lost."""
        if self._request is not None:
            self._request.write(data)

    def finish(self) -> None:
        """End the response with its last chunk, then the connection: the client may reconnect to another node."""
        request = self._request
        if request is not None:
            request.unregisterProducer()
            request.channel.persistent = False
            request.finish()

    def abort(self) -> None:
        """Drop the connection and what is unsent."""
        if self._request is not None:
            self._request.transport.abortConnection()

    def pauseProducing(self) -> None:
        """Pause the subscriber: the transport's buffer is full."""
        self.pause()

    def resumeProducing(self) -> None:
        """Resume the subscriber: the transport's buffer has drained."""
        self.resume()

    def stopProducing(self) -> None:
        """Do nothing: the connection is lost, and ``_ended`` follows."""

    def _ended(self, _: Failure | None) -> None:
        self._request = None
        self._unsubscribe()
