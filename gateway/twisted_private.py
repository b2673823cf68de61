"""Every private name of Twisted, and of its TLS library pyOpenSSL, that the gateway uses, under a public name of ours.

Twisted may change these in any release.  ``setup.cfg`` therefore bounds its version, and
``tests/test_twisted_private.py`` fails for each name that an upgrade changes.
"""

from __future__ import annotations

import time
from contextlib import suppress
from errno import EINVAL
from functools import partial
from socket import NI_NUMERICHOST, NI_NUMERICSERV, getnameinfo
from threading import Thread
from typing import TYPE_CHECKING, Any

from OpenSSL._util import ffi, lib
from twisted.internet._resolver import GAIResolver
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.address import IPv6Address
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.posixbase import _DisconnectSelectableMixin, _PollLikeMixin
from twisted.internet.ssl import platformTrust
from twisted.internet.tcp import Connection, Port, Server
from twisted.logger import Logger, LogPublisher
from twisted.python.threadpool import ThreadPool
from twisted.web._newclient import ParseError
from twisted.web.http import HTTPChannel
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from OpenSSL import SSL
    from OpenSSL.crypto import X509

__all__ = (
    "DaemonThreads",
    "ExtraTrustRoot",
    "Http1Connection",
    "ParseError",  # of an HTTP client: the answer is not HTTP
    "PollLike",
    "accept_clients",
    "certificate_refusal",
    "forget_exit_signal",
    "no_log",
    "resolve_in_daemon_threads",
    "use_monotonic_timers",
    "write_directly",
)

no_log = Logger(observer=LogPublisher())
"""For ``_log`` of Twisted's HTTP connections, which logs each idle client that is closed."""


def forget_exit_signal(reactor: Any) -> None:
    """Have ``twistd`` exit with status 0 although a signal reached Twisted's own handlers, which it would die by."""
    reactor._exitSignal = None  # noqa: SLF001  (Twisted has no public way to say that the signal was handled)


class DaemonThreads(ThreadPool):
    """Threads that the end of the process does not wait for."""

    threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]  # a callable with the same arguments


def resolve_in_daemon_threads(reactor: Any) -> None:
    """Look host names up in threads that a stop does not wait for.

    ``getaddrinfo`` cannot be interrupted, and takes a minute when no name server answers.  As many threads as in the
    reactor's own pool, which a stop waits for.
    """
    threads = DaemonThreads(0, 10, "names")
    threads.start()  # starts none yet: ``twistd`` forks later
    reactor.installNameResolver(GAIResolver(reactor, lambda: threads))


def use_monotonic_timers(reactor: Any) -> None:
    """Have a reactor's timers run on the monotonic clock, and put the wall clock at ``reactor.wall``.

    Twisted's run on ``time.time``: they stop for an hour when the clock is set back by one.  Calls that are pending
    keep the time that is left.  A second call has no effect.
    """
    if reactor.seconds is time.monotonic:
        return
    earlier = time.monotonic() - reactor.seconds()
    for call in reactor.getDelayedCalls():  # all move by the same time, so their order in Twisted's heap stays
        call.time += earlier
        call.seconds = time.monotonic
    reactor.seconds = time.monotonic
    reactor.wall = time.time  # noqa: TID251  (the wall clock of every process)


def certificate_refusal(connection: SSL.Connection) -> str:
    """Return OpenSSL's reason for refusing the certificate of the other side; empty if it was not refused.

    Without pyOpenSSL's private names the reason is empty too: it only makes a log line longer.
    """
    with suppress(AttributeError):
        code = lib.SSL_get_verify_result(connection._ssl)  # noqa: SLF001  (pyOpenSSL has no public call for it)
        if code:
            reason: bytes = ffi.string(lib.X509_verify_cert_error_string(code))
            return reason.decode("ascii", "replace")
    return ""


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


class ClientConnection(Server):
    """A TCP connection of a client: Twisted's, without the texts that only Twisted's log shows."""

    logstr = repstr = "connection of a client"

    def __init__(self, client: Any, protocol: Any, address: tuple[Any, ...], port: Port, reactor: Any) -> None:
        Connection.__init__(self, client, protocol, reactor)  # not of ``Server``, which makes those texts
        if len(address) > 2:
            self._addressType = IPv6Address
        self.server = port
        self.client = address
        self.hostname = address[0]
        self.startReading()
        self.connected = 1


def accept_clients(port: Any) -> None:
    """Accept up to ``port.numberAccepts`` of the connections that wait at a TCP port of Twisted.

    Does what ``Port.doRead`` does at half the cost.  Errors, which are rare, are left to that, but for a socket that
    another process has shut down: the port is no longer read.
    """
    factory, listening, reactor = port.factory, port.socket, port.reactor
    for _ in range(port.numberAccepts):
        try:
            client, address = listening.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == EINVAL:
                port.stopReading()
            else:
                Port.doRead(port)  # meets the same error
            return
        if len(address) == 4 and address[3]:  # an IPv6 address of one link: its zone is part of its text
            address = (getnameinfo(address, NI_NUMERICHOST | NI_NUMERICSERV)[0], *address[1:])
        protocol = factory.buildProtocol(port._buildAddr(address))  # noqa: SLF001  (see the module)
        if protocol is None:
            client.close()
        else:
            protocol.makeConnection(ClientConnection(client, protocol, address, port, reactor))


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


@implementer(IHalfCloseableProtocol)
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
    def target(self) -> bytes:
        """The target of the request whose head is being read, with its query."""
        return bytes(self._path)

    @property
    def field_count(self) -> int:
        """The number of header fields received of the current request."""
        return self._receivedHeaderCount

    @property
    def is_buffer_full(self) -> bool:
        """Whether the transport holds more than it should: the client does not read."""
        return bool(self._waitingForTransport)

    @property
    def has_partial_line(self) -> bool:
        """Whether the beginning of a line of a head was received."""
        return bool(self.line_mode and self._buffer)

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        """Return whether the connection stays open: Twisted reads the first ``Connection`` only, split at spaces."""
        fields = request.requestHeaders.getRawHeaders(b"connection", ())
        closes = any(option.strip(b" \t").lower() == b"close" for field in fields for option in field.split(b","))
        if closes:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return version == b"HTTP/1.1" and not closes

    def readConnectionLost(self) -> None:
        """Close once the client, which sends nothing more, has the answers that are written or in progress."""
        if not self.is_handling_request:  # otherwise reading starts again after the answer, and ends again
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing: it was this side that ended."""

    def unregister_from_transport(self) -> None:
        """Stop being the transport's producer."""
        self._networkProducer.unregisterProducer()

    def malformed(self) -> None:
        """Refuse a request that Twisted's parser cannot read."""
        super()._respondToBadRequestAndDisconnect()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.malformed()


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
