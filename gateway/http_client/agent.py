"""The agent of all outgoing requests: trust, proxies, checked addresses, bounded responses, connections to close.

    host ──► addresses ──► Guard ──► TCP ──► CONNECT ──► TLS for the host ──► _Connection (counts bytes) ──► HTTP

A name is resolved once per connection, so an answer of the resolver that changes after the check has no effect.
"""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import frozen
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IProtocolFactory, IResolutionReceiver, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI, Agent, HTTPConnectionPool, ProxyAgent
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from gateway import __version__
from gateway.http_client.address_guard import AddressRefused
from gateway.http_client.connect_tunnel import TunnelEndpoint
from gateway.http_client.errors import explain_certificate
from gateway.http_client.refused_certificate import CertificateWatch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hyperlink import EncodedURL
    from OpenSSL.SSL import Connection
    from twisted.python.failure import Failure

    from gateway.http_client.address_guard import Guard
    from gateway.http_client.proxies import Proxy, ProxyRules
    from gateway.http_client.trust import Trust

Reactor = Any  # IReactorTime, IReactorTCP and IReactorPluggableNameResolver in one, which annotations cannot express

ENCODING_HEADER: Final = b"X-Received-Content-Encoding"
USER_AGENT: Final = f"flaggateway/{__version__}"  # the header of all outgoing requests
ADDRESS_LIMIT: Final = 4  # addresses of one name that are tried; more would not fit into the time of one request
# No server may leave a cookie; treq would make two jars per request otherwise.
_NO_COOKIES: Final = IndexableCookieJar(DefaultCookiePolicy(allowed_domains=()))


@frozen
class Limits:
    """The bounds of one agent's connections."""

    response_bytes: int  # of one response, its head included; beyond it the connection is aborted
    connect_seconds: float  # for TCP, and again for a proxy's answer to CONNECT
    idle_connections: int  # that are kept per host
    idle_seconds: int


class _Connection(ProtocolWrapper):
    """One connection; aborted when the response to a request has more bytes than the agent's limit.

    It counts below HTTP, so heads count as well, however many a response has.
    """

    factory: _ConnectionFactory
    transport: Any  # TCP or TLS
    _received = 0

    def write(self, data: bytes) -> None:
        """Count from zero for each request."""
        self._received = 0
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Count from zero for each request."""
        self._received = 0
        super().writeSequence(data)

    def stopProducing(self) -> None:
        """Abort when the reader of a body stops: a server that sends slowly must not hold a descriptor."""
        self.abort()

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        self._received += len(data)
        if self._received > self.factory.limit:
            self.abort()
        else:
            super().dataReceived(data)

    def abort(self) -> None:
        """Close at once, whatever is buffered."""
        self.transport.abortConnection()


class _ConnectionFactory(WrappingFactory):
    """Wraps the connections of ``target`` and keeps them in the agent's set for as long as they live."""

    protocol = _Connection
    noisy = False

    def __init__(self, target: IProtocolFactory, agent: HttpAgent) -> None:
        super().__init__(target)
        self.limit = agent.limits.response_bytes
        self._agent = agent

    def registerProtocol(self, p: Any) -> None:
        """See ``WrappingFactory``."""
        self._agent.opened.add(p)

    def unregisterProtocol(self, p: Any) -> None:
        """See ``WrappingFactory``."""
        self._agent.opened.discard(p)
        self._agent.connection_closed()


@implementer(IStreamClientEndpoint)
@frozen
class _CountedEndpoint:
    """An endpoint whose connections belong to an agent."""

    endpoint: IStreamClientEndpoint
    agent: HttpAgent

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See ``IStreamClientEndpoint``."""
        connected: Deferred[Any] = self.endpoint.connect(_ConnectionFactory(protocolFactory, self.agent))
        return connected.addCallback(lambda connection: connection.wrappedProtocol)


@implementer(IStreamClientEndpoint)
@frozen
class _GuardedEndpoint:
    """Connects to the first address of ``host`` that the guard allows and that answers."""

    reactor: Reactor
    guard: Guard
    host: str
    port: int
    bind: tuple[str, int] | None
    seconds: float

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See ``IStreamClientEndpoint``."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        addresses = await _resolve(self.reactor, self.host, self.port)
        if not addresses:
            raise DNSLookupError(self.host)
        refusals = [self.guard.refusal(address) for address in addresses]
        allowed = [address for address, why in zip(addresses, refusals, strict=True) if why is None]
        if not allowed:
            raise AddressRefused(next(why for why in refusals if why is not None))
        # Each address but the last has a share of the time, so that one without an answer leaves time for the next.
        *others, last = allowed[:ADDRESS_LIMIT]
        for address in others:
            try:
                return await self._to(address, factory, self.seconds / (len(others) + 1))
            except ConnectError:
                continue
        return await self._to(last, factory, self.seconds)

    def _to(self, address: str, factory: IProtocolFactory, seconds: float) -> Deferred[Any]:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        return kind(self.reactor, address, self.port, timeout=seconds, bindAddress=self.bind).connect(factory)


@implementer(IResolutionReceiver)
class _Addresses:
    def __init__(self) -> None:
        self.found: list[str] = []
        self.done: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """See ``IResolutionReceiver``."""

    def addressResolved(self, address: Any) -> None:
        """See ``IResolutionReceiver``."""
        if isinstance(address, (IPv4Address, IPv6Address)) and address.host not in self.found:
            self.found.append(address.host)

    def resolutionComplete(self) -> None:
        """See ``IResolutionReceiver``."""
        if not self.done.called:  # a lookup in a thread goes on after its caller was cancelled
            self.done.callback(self.found)


def _resolve(reactor: Reactor, host: str, port: int) -> Deferred[list[str]]:
    """Return the addresses of ``host``, in the resolver's order, each once; empty for an unknown name.

    It fails only when cancelled, and has no time limit of its own.  A literal address is not looked up.
    """
    receiver = _Addresses()
    try:
        receiver.found.append(str(ip_address(host)))
    except ValueError:
        reactor.nameResolver.resolveHostName(receiver, host, port)
    else:
        receiver.resolutionComplete()
    return receiver.done


@implementer(IAgent, IAgentEndpointFactory)
class HttpAgent:
    """Requests to one server, over a connection pool of its own; it follows no redirects and decompresses nothing.

    With ``guard`` it connects to allowed addresses only; with ``proxies`` a request goes direct, in absolute form
    through a proxy (http) or through its CONNECT (https), and the guard then checks the address of the proxy.
    ``bind`` is the local address of its connections.  With ``retry`` the pool repeats a GET whose kept connection
    turns out to be closed.
    """

    def __init__(
        self,
        reactor: Reactor,
        trust: Trust,
        limits: Limits,
        *,
        guard: Guard | None = None,
        proxies: ProxyRules | None = None,
        bind: str | None = None,
        retry: bool = False,
    ) -> None:
        self.limits = limits
        self.opened: set[_Connection] = set()
        self._reactor = reactor
        self._tls = trust.policy
        self._guard = guard
        self._proxies = proxies
        self._bind = (bind, 0) if bind else None
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = limits.idle_connections
        self._pool.cachedConnectionTimeout = limits.idle_seconds
        self._pool.retryAutomatically = retry
        self._direct = Agent.usingEndpointFactory(reactor, self, self._pool)
        self._forwarders: dict[Proxy, ProxyAgent] = {}
        self._closing: list[Deferred[None]] = []
        self._client = HTTPClient(self, _NO_COOKIES)
        self._handshake: list[Connection] = []  # the latest TLS connection

    def send(
        self, method: Literal["GET", "POST"], url: str | EncodedURL, headers: Headers, body: bytes | None = None
    ) -> Deferred[IResponse]:
        """Send one request; fires when the head of the response is here.  No cookie is sent or kept.

        treq adds ``Accept-Encoding: gzip``; a response's Content-Encoding is in ``ENCODING_HEADER``.
        """
        return self._client.request(  # type: ignore[return-value]  # treq's response proxies IResponse
            method,
            url,
            headers=headers,
            data=body,
            cookies=_NO_COOKIES,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See ``IAgent``."""
        agent = self._direct
        proxy = self._proxy(URI.fromBytes(uri)) if self._proxies is not None and uri.startswith(b"http:") else None
        if proxy is not None:
            agent = self._forwarder(proxy)
            if proxy.authorization:
                headers = headers.copy() if headers is not None else Headers()
                headers.setRawHeaders(b"Proxy-Authorization", [proxy.authorization])
        response = agent.request(method, uri, headers, bodyProducer)
        return response.addCallbacks(_hide_encoding, self._explain)  # type: ignore[no-any-return]  # not annotated

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See ``IAgentEndpointFactory``."""
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported("only http and https are supported")
        host = uri.host.decode("ascii")
        proxy = self._proxy(uri)
        endpoint: IStreamClientEndpoint
        if proxy is None:
            endpoint = self._tcp(host, uri.port)
        else:
            seconds = self.limits.connect_seconds
            endpoint = TunnelEndpoint(self._reactor, self._to(proxy), host, uri.port, proxy.authorization, seconds)
        if uri.scheme == b"https":
            endpoint = self._over_tls(endpoint, uri.host, uri.port)
        return _CountedEndpoint(endpoint, self)

    def close_connections(self) -> Deferred[None]:
        """Abort every connection, busy or idle; fires when all are closed, and never fails.

        Requests in flight fail; a later request opens a new connection.
        """
        closed: Deferred[None] = Deferred()
        self._closing.append(closed)
        self._pool.closeCachedConnections()
        for connection in list(self.opened):
            connection.abort()
        self.connection_closed()
        return closed

    def connection_closed(self) -> None:
        """Fire what waits for the last connection, if this was the last."""
        if not self.opened:
            closing, self._closing = self._closing, []
            for closed in closing:
                if not closed.called:
                    closed.callback(None)

    def _proxy(self, uri: URI) -> Proxy | None:
        if self._proxies is None:
            return None
        return self._proxies.choose(uri.scheme.decode("ascii"), uri.host.decode("ascii"), uri.port)

    def _tcp(self, host: str, port: int) -> IStreamClientEndpoint:
        seconds = self.limits.connect_seconds
        if self._guard is not None:
            return _GuardedEndpoint(self._reactor, self._guard, host, port, self._bind, seconds)
        return HostnameEndpoint(self._reactor, host, port, timeout=seconds, bindAddress=self._bind)

    def _to(self, proxy: Proxy) -> IStreamClientEndpoint:
        endpoint = self._tcp(proxy.host, proxy.port)
        if proxy.tls:
            endpoint = self._over_tls(endpoint, proxy.host.encode("ascii"), proxy.port)
        return endpoint

    def _over_tls(self, endpoint: IStreamClientEndpoint, host: bytes, port: int) -> IStreamClientEndpoint:
        watched = CertificateWatch(self._tls.creatorForNetloc(host, port), self._handshake)
        wrapped: IStreamClientEndpoint = wrapClientTLS(watched, endpoint)
        return wrapped

    def _explain(self, failure: Failure) -> Failure:
        """Add why a certificate was refused; of several handshakes at a time, the latest may be that of another one."""
        return explain_certificate(failure, self._handshake.pop()) if self._handshake else failure

    def _forwarder(self, proxy: Proxy) -> ProxyAgent:
        if proxy not in self._forwarders:
            endpoint = _CountedEndpoint(self._to(proxy), self)
            self._forwarders[proxy] = ProxyAgent(endpoint, self._reactor, self._pool)
        return self._forwarders[proxy]


def _hide_encoding(response: IResponse) -> IResponse:
    """Keep treq from decompressing without a bound: a small response could unfold to a large one."""
    values = response.headers.getRawHeaders(b"Content-Encoding", [])
    response.headers.setRawHeaders(ENCODING_HEADER, [b",".join(values).strip().lower()])
    response.headers.removeHeader(b"Content-Encoding")
    return response
