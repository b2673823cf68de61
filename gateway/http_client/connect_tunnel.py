"""An endpoint that reaches a host through an HTTP proxy's CONNECT (RFC 9110, 9.3.6): any 2xx opens the tunnel.

proxy endpoint ──► CONNECT host:port ──► 200 ──► the caller's protocol, on the same bytes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.python.failure import Failure

HEAD_LIMIT: Final = 16 * 1024  # bytes of the proxy's answer to CONNECT (Twisted's limit of one header line)
_END: Final = b"\r\n\r\n"


class TunnelRefused(Exception):
    """The proxy did not open the tunnel; the text is the reason, without URL or secret."""


class _Tunnel(Protocol):
    """Requests the tunnel, then passes every byte to the protocol of ``factory``."""

    transport: Any  # TCP, or TLS to the proxy

    def __init__(self, request: bytes, factory: IProtocolFactory, address: Any) -> None:
        self._request = request
        self._factory = factory
        self._address = address
        self._head = b""
        self._inner: IProtocol | None = None
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self._abort())

    def connectionMade(self) -> None:
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self.opened.called:
            return
        self._head += data
        head, end, rest = self._head.partition(_END)
        if len(head) > HEAD_LIMIT:
            self._refuse("the proxy's answer to CONNECT is too long")
        elif end:
            self._answered(head, rest)

    def _answered(self, head: bytes, rest: bytes) -> None:
        words = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            self._refuse("the proxy does not speak HTTP")
        elif not words[1].startswith(b"2") or len(words[1]) != 3:
            self._refuse(f"the proxy refused to connect: {words[1][:3].decode('ascii')}")
        else:
            self._open(rest)

    def _open(self, rest: bytes) -> None:
        inner = self._factory.buildProtocol(self._address)
        if inner is None:
            self._refuse("the connection is not wanted any more")
            return
        self._inner = inner
        self._head = b""
        inner.makeConnection(self.transport)
        self.opened.callback(inner)
        if rest:
            inner.dataReceived(rest)

    def _refuse(self, reason: str) -> None:
        self._abort()
        if not self.opened.called:
            self.opened.errback(TunnelRefused(reason))

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.opened.called:
            self.opened.errback(TunnelRefused("the proxy closed the connection"))


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """Connects to ``host``:``port`` through the proxy at ``endpoint``.

    ``connect`` fails with ``TunnelRefused`` when the proxy does not answer 2xx within ``timeout`` seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        host: str,
        port: int,
        authorization: bytes,
        timeout: float,
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._timeout = timeout
        name = f"[{host}]" if ":" in host else host
        target = f"{name}:{port}".encode("ascii")
        lines = [b"CONNECT " + target + b" HTTP/1.1", b"Host: " + target]
        if authorization:
            lines.append(b"Proxy-Authorization: " + authorization)
        self._request = b"\r\n".join(lines) + _END

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See ``IStreamClientEndpoint``."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        tunnel = await self._endpoint.connect(_TunnelFactory(self._request, factory))
        assert isinstance(tunnel, _Tunnel)
        return await tunnel.opened.addTimeout(self._timeout, self._clock, _unanswered)


def _unanswered(_result: object, _seconds: float) -> NoReturn:
    raise TunnelRefused("the proxy did not answer in time")


class _TunnelFactory(Factory):
    noisy = False

    def __init__(self, request: bytes, factory: IProtocolFactory) -> None:
        self._request = request
        self._wrapped = factory

    def buildProtocol(self, addr: IAddress | None) -> _Tunnel:
        return _Tunnel(self._request, self._wrapped, addr)
