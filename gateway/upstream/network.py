"""Connections to upstreams: trust, proxies, time-outs, and an agent whose connections can all be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, ProxyAgent
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from gateway.upstream.proxies import Proxy, route
from gateway.upstream.trust import policy, read_authorities
from gateway.upstream.tunnel import TunnelEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.settings.schema import Upstream

ENCODING_HEADER = b"X-Received-Content-Encoding"


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


@implementer(IStreamClientEndpoint)
class _Noted:
    """An endpoint that tells *note* of each protocol it made."""

    def __init__(self, endpoint: IStreamClientEndpoint, note: Callable[[Any], None]) -> None:
        self._endpoint = endpoint
        self._note = note

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        def noted(protocol: IProtocol) -> IProtocol:
            self._note(protocol)
            return protocol

        return self._endpoint.connect(protocolFactory).addCallback(noted)


@implementer(IAgent, IAgentEndpointFactory)
class Connections:
    """An agent for one upstream: direct, by a proxy's absolute-form request, or through its CONNECT.

    A response's Content-Encoding is moved to ``ENCODING_HEADER``, so that nobody above unpacks it without a bound.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._pool = HTTPConnectionPool(network.reactor)  # type: ignore[no-untyped-call]
        self._pool.maxPersistentPerHost = 1
        self._direct = Agent.usingEndpointFactory(  # type: ignore[no-untyped-call]
            network.reactor, self, self._pool
        )
        self._forward: dict[Proxy, ProxyAgent] = {}
        self._live: list[Any] = []

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See ``IAgent``."""
        parts = URI.fromBytes(uri)  # type: ignore[no-untyped-call]
        proxy = self._proxy(parts)
        if parts.scheme == b"http" and proxy is not None:
            if proxy.authorization:
                headers = headers.copy() if headers is not None else Headers()
                headers.setRawHeaders(b"Proxy-Authorization", [proxy.authorization])
            answer = self._forwarder(proxy).request(method, uri, headers, bodyProducer)  # type: ignore[no-untyped-call]
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
        return _Noted(endpoint, self._note)

    def cut(self) -> Deferred[None]:
        """Abort every connection, busy or idle; fires when all are closed."""
        live, self._live = self._live, []
        closed: list[Deferred[Any]] = [protocol.abort() for protocol in live if protocol.state != "CONNECTION_LOST"]
        closed.append(self._pool.closeCachedConnections())  # type: ignore[no-untyped-call]
        return gatherResults(closed, consumeErrors=True).addBoth(lambda _: None)

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
            endpoint = _Noted(self._to(proxy), self._note)
            self._forward[proxy] = ProxyAgent(endpoint, self._network.reactor, self._pool)  # type: ignore[no-untyped-call]
        return self._forward[proxy]

    def _note(self, protocol: Any) -> None:
        self._live = [known for known in self._live if known.state != "CONNECTION_LOST"]
        self._live.append(protocol)


def _still_encoded(response: IResponse) -> IResponse:
    values = response.headers.getRawHeaders(b"Content-Encoding", [])
    response.headers.setRawHeaders(ENCODING_HEADER, [b",".join(values).strip().lower()])
    response.headers.removeHeader(b"Content-Encoding")
    return response
