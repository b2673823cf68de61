"""Connections to upstreams: trust, proxies, time-outs, and an agent whose connections can all be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, ProxyAgent
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from gateway.http_client.connect_tunnel import TunnelEndpoint
from gateway.http_client.proxies import Proxy, route
from gateway.http_client.trust import policy, read_authorities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.settings.schema.root import Upstream

ENCODING_HEADER = b"X-Received-Content-Encoding"
OVERHEAD = 1024 * 1024  # bytes of one fetch beyond twice max_bytes, for heads; chunk framing can double a body


@frozen
class Network:
    """How upstreams are reached.  ``identity`` is equal for equal settings and equal bytes of the CA file."""

    reactor: Any
    limits: Upstream
    policy: BrowserLikePolicyForHTTPS
    choose: Callable[[str, str, int], Proxy | None]
    identity: tuple[object, ...]

    def agent(self) -> Connections:
        """A new agent with a connection pool of its own."""
        return Connections(self)


def open_network(
    reactor: Any, limits: Upstream, proxy: str, environ: Mapping[str, str], complain: Callable[[str, str], None]
) -> Network:
    """Read the CA file and build; raises ``UpstreamError`` when the file cannot be used."""
    pem = read_authorities(limits.ca_file)
    names = ("http_proxy", "https_proxy", "no_proxy")
    seen = tuple((environ.get(name.upper()), environ.get(name)) for name in names)
    return Network(reactor, limits, policy(pem), route(proxy, environ, complain), (limits, proxy, pem, seen))


class _Line(ProtocolWrapper):
    """One connection; cut when more comes in during one fetch than any good answer can have."""

    received = 0

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        self.received += len(data)
        if self.received > self.factory.most:
            self.transport.abortConnection()  # type: ignore[union-attr]
        else:
            super().dataReceived(data)


class _Lines(WrappingFactory):
    """Wraps each new connection of *target*, and keeps it in *opened* for as long as it lives."""

    protocol = _Line
    noisy = False

    def __init__(
        self, target: IProtocolFactory, most: int, opened: dict[Any, None], closed: Callable[[], None]
    ) -> None:
        super().__init__(target)
        self.most = most
        self._opened = opened
        self._closed = closed

    def registerProtocol(self, p: Any) -> None:
        """See ``WrappingFactory``."""
        self._opened[p] = None

    def unregisterProtocol(self, p: Any) -> None:
        """See ``WrappingFactory``."""
        self._opened.pop(p, None)
        self._closed()


@implementer(IStreamClientEndpoint)
class _Noted:
    """An endpoint whose protocols' factories pass through *wrap* first."""

    def __init__(self, endpoint: IStreamClientEndpoint, wrap: Callable[[IProtocolFactory], _Lines]) -> None:
        self._endpoint = endpoint
        self._wrap = wrap

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See ``IStreamClientEndpoint``."""
        connected: Deferred[Any] = self._endpoint.connect(self._wrap(protocolFactory))
        return connected.addCallback(lambda line: line.wrappedProtocol)


@implementer(IAgent, IAgentEndpointFactory)
class Connections:
    """An agent for one upstream: direct, by a proxy's absolute-form request, or through its CONNECT.

    A response's Content-Encoding is moved to ``ENCODING_HEADER``, so that nobody above unpacks it without a bound.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._pool = HTTPConnectionPool(network.reactor)
        # One, since an SDK has one fetch at a time.  That the pool repeats a GET whose kept connection turns out to be
        # closed is wanted here.
        self._pool.maxPersistentPerHost = 1
        self._direct = Agent.usingEndpointFactory(network.reactor, self, self._pool)
        self._forward: dict[Proxy, ProxyAgent] = {}
        self._opened: dict[Any, None] = {}
        self._cuts: list[Deferred[None]] = []

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See ``IAgent``."""
        parts = URI.fromBytes(uri)
        proxy = self._proxy(parts)
        if parts.scheme == b"http" and proxy is not None:
            if proxy.authorization:
                headers = headers.copy() if headers is not None else Headers()
                headers.setRawHeaders(b"Proxy-Authorization", [proxy.authorization])
            answer = self._forwarder(proxy).request(method, uri, headers, bodyProducer)
        else:
            answer = self._direct.request(method, uri, headers, bodyProducer)
        return answer.addCallback(_still_encoded)  # type: ignore[no-any-return]

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See ``IAgentEndpointFactory``."""
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported("only http and https upstreams are supported")
        limits, host = self._network.limits, uri.host.decode("ascii")
        proxy = self._proxy(uri)
        endpoint: IStreamClientEndpoint
        if proxy is None:
            endpoint = self._tcp(host, uri.port)
        else:
            endpoint = TunnelEndpoint(
                self._network.reactor, self._to(proxy), host, uri.port, proxy.authorization, limits.connect_timeout
            )
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._network.policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return self._noted(endpoint)

    def begin(self) -> None:
        """A new fetch: what each connection may receive is counted from zero."""
        for line in self._opened:
            line.received = 0

    def cut(self) -> Deferred[None]:
        """Abort every connection, busy or idle; fires when all are closed, and never errs."""
        cut: Deferred[None] = Deferred()
        self._cuts.append(cut)
        self._pool.closeCachedConnections()
        for line in list(self._opened):
            line.transport.abortConnection()
        self._closed()
        return cut

    def _closed(self) -> None:
        if not self._opened:
            cuts, self._cuts = self._cuts, []
            for cut in cuts:
                if not cut.called:
                    cut.callback(None)

    def _noted(self, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        most = 2 * self._network.limits.max_bytes + OVERHEAD
        return _Noted(endpoint, lambda factory: _Lines(factory, most, self._opened, self._closed))

    def _proxy(self, uri: URI) -> Proxy | None:
        return self._network.choose(uri.scheme.decode("ascii"), uri.host.decode("ascii"), uri.port)

    def _tcp(self, host: str, port: int) -> IStreamClientEndpoint:
        return HostnameEndpoint(self._network.reactor, host, port, timeout=self._network.limits.connect_timeout)

    def _to(self, proxy: Proxy) -> IStreamClientEndpoint:
        endpoint = self._tcp(proxy.host, proxy.port)
        if proxy.tls:
            host = proxy.host.encode("ascii")
            endpoint = wrapClientTLS(self._network.policy.creatorForNetloc(host, proxy.port), endpoint)
        return endpoint

    def _forwarder(self, proxy: Proxy) -> ProxyAgent:
        if proxy not in self._forward:
            endpoint = self._noted(self._to(proxy))
            self._forward[proxy] = ProxyAgent(endpoint, self._network.reactor, self._pool)
        return self._forward[proxy]


def _still_encoded(response: IResponse) -> IResponse:
    values = response.headers.getRawHeaders(b"Content-Encoding", [])
    response.headers.setRawHeaders(ENCODING_HEADER, [b",".join(values).strip().lower()])
    response.headers.removeHeader(b"Content-Encoding")
    return response
