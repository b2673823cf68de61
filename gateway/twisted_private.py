"""Every private name of Twisted that the gateway uses, under a public name of ours.

Twisted may change these in any release.  ``setup.cfg`` therefore bounds its version, and
``tests/test_twisted_private.py`` fails for each name that an upgrade changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.posixbase import _DisconnectSelectableMixin, _PollLikeMixin
from twisted.internet.ssl import platformTrust
from twisted.logger import Logger, LogPublisher
from twisted.web._http2 import H2Connection
from twisted.web._newclient import ParseError
from twisted.web.http import HTTPChannel, _GenericHTTPChannelProtocol
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from OpenSSL import SSL
    from OpenSSL.crypto import X509
    from twisted.python.failure import Failure

__all__ = (
    "ExtraTrustRoot",
    "Http1Connection",
    "Http2Connection",
    "NegotiatedConnection",
    "ParseError",  # of an HTTP client: the answer is not HTTP
    "PollLike",
    "forget_exit_signal",
    "http2_connection",
    "no_log",
    "write_directly",
)

no_log = Logger(observer=LogPublisher())
"""For ``_log`` of Twisted's HTTP connections, which logs each idle client that is closed."""


def forget_exit_signal(reactor: Any) -> None:
    """Have ``twistd`` exit with status 0 although a signal reached Twisted's own handlers, which it would die by."""
    reactor._exitSignal = None  # noqa: SLF001  (Twisted has no public way to say that the signal was handled)


def write_directly(transport: Any, data: bytes) -> None:
    """Write ``data`` to the socket of a TCP transport at once, or to its buffer while older data waits there.

    Saves the reactor two changes of its interest, and a turn, per write.  ``_tempDataBuffer`` is the part of the
    transport's buffer that was written since the last turn.
    """
    if (
        transport.connected
        and not transport.dataBuffer
        and not transport._tempDataBuffer  # noqa: SLF001  (see above)
        and not transport.disconnecting
    ):
        try:
            sent = transport.socket.send(data)
        except OSError:
            sent = 0  # the socket is full or broken; the transport finds out which, and ends the connection if broken
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


class PollLike(_PollLikeMixin, _DisconnectSelectableMixin):
    """What Twisted's reactors do with a file descriptor that is ready; subclasses provide ``IReactorFDSet``."""

    _POLL_IN: int  # event masks
    _POLL_OUT: int
    _POLL_DISCONNECTED: int

    def __init__(self, readable: int, writable: int, disconnected: int) -> None:
        self._POLL_IN, self._POLL_OUT, self._POLL_DISCONNECTED = readable, writable, disconnected
        self.reads = self._reads = set[int]()  # file descriptors that are watched for reading

    do_read_or_write = _PollLikeMixin._doReadOrWrite  # noqa: SLF001  (descriptor, number, event)
    disconnect = _DisconnectSelectableMixin._disconnectSelectable  # noqa: SLF001  (descriptor, reason, while reading)


class Http1Connection(HTTPChannel):
    """A server's HTTP/1.1 connection."""

    transport: Any  # a TCP or TLS transport
    site: Any
    _networkProducer: Any

    @property
    def is_handling_request(self) -> bool:
        """Whether a request is being answered."""
        return bool(self._handlingRequest)

    @property
    def is_http_1_1(self) -> bool:
        """Whether the request whose head is being read is HTTP/1.1, not 1.0."""
        return bool(self._version == b"HTTP/1.1")

    @property
    def field_count(self) -> int:
        """The number of header fields received of the current request."""
        return self._receivedHeaderCount

    @property
    def has_partial_line(self) -> bool:
        """Whether the beginning of a line of a head was received."""
        return bool(self.line_mode and self._buffer)

    def unregister_from_transport(self) -> None:
        """Stop being the transport's producer."""
        self._networkProducer.unregisterProducer()

    def malformed(self) -> None:
        """Refuse a request that Twisted's parser cannot read."""
        super()._respondToBadRequestAndDisconnect()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.malformed()


class Http2Connection(H2Connection):
    """A server's HTTP/2 connection.  A hook's event is h2's; each by default does what Twisted does."""

    transport: Any
    streams: dict[int, Any]
    conn: Any
    _log = no_log

    def request_received(self, event: Any) -> None:
        """Begin a request whose head is complete."""
        super()._requestReceived(event)

    def request_data_received(self, event: Any) -> None:
        """Take a piece of a request's body."""
        super()._requestDataReceived(event)

    def request_ended(self, event: Any) -> None:
        """Answer a request whose body is complete."""
        super()._requestEnded(event)

    def request_aborted(self, event: Any) -> None:
        """End a request that the client has reset."""
        super()._requestAborted(event)

    def priority_updated(self, event: Any) -> None:
        """Change the priority of a request."""
        super()._handlePriorityUpdate(event)

    def terminate(self, reason: Failure) -> None:
        """End the connection and all its requests."""
        super()._terminate(reason)

    def forget_request(self, stream_id: int) -> None:
        """Free what is held for a request that has ended."""
        self._requestDone(stream_id)

    def flush_control_data(self) -> None:
        """Send the frames that h2 has ready, if the transport reads."""
        self._tryToWriteControlData()

    def call_later(self, seconds: float, call: Callable[..., object], *args: object) -> Any:
        """Return a delayed call on the connection's reactor."""
        return self._reactor.callLater(seconds, call, *args)

    def _requestReceived(self, event: Any) -> None:
        self.request_received(event)

    def _requestDataReceived(self, event: Any) -> None:
        self.request_data_received(event)

    def _requestEnded(self, event: Any) -> None:
        self.request_ended(event)

    def _requestAborted(self, event: Any) -> None:
        self.request_aborted(event)

    def _handlePriorityUpdate(self, event: Any) -> None:
        self.priority_updated(event)

    def _terminate(self, reason: Failure) -> None:
        self.terminate(reason)


def http2_connection(stream: Any) -> Any:
    """Return the connection of an HTTP/2 request's channel."""
    return stream._conn  # noqa: SLF001  (Twisted has no public name for it)


class NegotiatedConnection(_GenericHTTPChannelProtocol):
    """HTTP/1.1, or HTTP/2 where TLS has negotiated it; Twisted's own class does not let one choose the two classes."""

    http1: ClassVar[Callable[[], HTTPChannel]]
    http2: ClassVar[Callable[[Any], H2Connection]]  # of a reactor
    _channel: Any
    _site: Any
    _negotiatedProtocol: Any = None

    def __init__(self) -> None:
        super().__init__(type(self).http1())

    @property
    def connection(self) -> Any:
        """The connection that is in use."""
        return self._channel

    def dataReceived(self, data: bytes) -> None:
        """Decide by the first bytes, before which the TLS handshake has not ended."""
        if self._negotiatedProtocol is None:
            transport = self._channel.transport
            if getattr(transport, "negotiatedProtocol", None) == b"h2":
                self._switch_to_http2(transport)
                self._negotiatedProtocol = b"h2"
        super().dataReceived(data)

    def _switch_to_http2(self, transport: Any) -> None:
        """Do what Twisted's class does at this point."""
        producer = self._channel._networkProducer  # noqa: SLF001  (see above)
        producer.unregisterProducer()
        self._channel.setTimeout(None)
        old, self._channel = self._channel, type(self).http2(self._site.reactor)
        self._channel.requestFactory = old.requestFactory
        self._channel.site = self._site
        self._channel.factory = self._factory
        self._channel.timeOut = self._timeOut
        self._channel.callLater = self._callLater
        self._channel.makeConnection(transport)
        producer.registerProducer(self._channel, True)


@implementer(IOpenSSLTrustRoot)
class ExtraTrustRoot:
    """The platform's certificate authorities and some more: Twisted can only replace the platform's."""

    def __init__(self, extra: Iterable[X509]) -> None:
        self._platform = platformTrust()
        self._extra = tuple(extra)

    def _addCACertsToContext(self, context: SSL.Context) -> None:
        self._platform._addCACertsToContext(context)  # noqa: SLF001  (the interface's only method)
        store = context.get_cert_store()
        assert store is not None
        for certificate in self._extra:
            store.add_cert(certificate)
