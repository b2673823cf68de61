"""Connections to one receiver: resolve, check, connect to what was checked; and count what comes back.

    name ──► addresses ──► Guard ──► TCP to that very address ──► TLS for the name ──► Meter ──► HTTP

Nothing is resolved twice, so a name that changes its mind between check and connection changes nothing.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IProtocolFactory, IResolutionReceiver, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.web.http_headers import Headers

    from gateway.http_client.address_guard import Guard

ANSWER_LIMIT: Final = 1024 * 1024  # bytes of one answer, its head included; receivers say a line or nothing
ADDRESS_LIMIT: Final = 4  # addresses of one name that are tried; more would not fit into one attempt's time
IDLE_SECONDS: Final = 4  # a connection is kept; many servers close theirs after 5, and a POST must not meet that


class AddressRefused(Exception):
    """Every address of the receiver is one that must not be called; the text says why."""


class _Metered(ProtocolWrapper):
    """One connection; cut when more comes back after a request than any honest answer has.

    Counted below HTTP, so that heads count as well, however many an answer has.
    """

    _received = 0

    def write(self, data: bytes) -> None:
        """Count anew with each request."""
        self._received = 0
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Count anew with each request."""
        self._received = 0
        super().writeSequence(data)

    def stopProducing(self) -> None:
        """Cut, when whoever reads a body has enough: a receiver that drips must not hold a descriptor."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        self._received += len(data)
        if self._received > ANSWER_LIMIT:
            self.transport.abortConnection()  # type: ignore[union-attr]
        else:
            super().dataReceived(data)


class _Meter(WrappingFactory):
    protocol = _Metered
    noisy = False

    def __init__(self, target: IProtocolFactory, opened: set[Any]) -> None:
        super().__init__(target)
        self._opened = opened

    def registerProtocol(self, p: Any) -> None:
        """See ``WrappingFactory``."""
        self._opened.add(p)

    def unregisterProtocol(self, p: Any) -> None:
        """See ``WrappingFactory``."""
        self._opened.discard(p)


@implementer(IStreamClientEndpoint)
class _Checked:
    """Connects to the first address of ``host`` that may be called and answers."""

    def __init__(self, reactor: Any, guard: Guard, host: str, port: int, bind: str | None, timeout: float) -> None:
        self._reactor = reactor
        self._guard = guard
        self._host = host
        self._port = port
        self._bind = bind
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See ``IStreamClientEndpoint``."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        addresses = await resolved(self._reactor, self._host, self._port)
        if not addresses:
            raise DNSLookupError(self._host)
        refusals = [self._guard.refusal(address) for address in addresses]
        usable = [address for address, why in zip(addresses, refusals, strict=True) if why is None]
        if not usable:
            raise AddressRefused(next(why for why in refusals if why is not None))
        # The others share the time, so that one that is dead leaves some for the next; the attempt's own timer runs on.
        *others, last = usable[:ADDRESS_LIMIT]
        for address in others:
            try:
                return await self._to(address, factory, self._timeout / (len(others) + 1))
            except ConnectError:
                continue
        return await self._to(last, factory, self._timeout)

    def _to(self, address: str, factory: IProtocolFactory, timeout: float) -> Deferred[Any]:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        bind = (self._bind, 0) if self._bind else None
        endpoint = kind(self._reactor, address, self._port, timeout=timeout, bindAddress=bind)
        return endpoint.connect(factory)


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
        if not self.done.called:  # a look-up in a thread goes on after whoever waited was cancelled
            self.done.callback(self.found)


def resolved(reactor: Any, host: str, port: int) -> Deferred[list[str]]:
    """Return the addresses of ``host``, in the resolver's order, each once; empty when there is no such name.

    Errs only when cancelled, and has no bound on time of its own.  A literal address is not looked up.
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
class Connections:
    """The agent of one receiver, with a pool of its own; it follows no redirects and unpacks nothing."""

    def __init__(
        self,
        reactor: Any,
        guard: Guard,
        policy: BrowserLikePolicyForHTTPS,
        *,
        bind: str | None,
        idle: int,
        timeout: float,
    ) -> None:
        self._reactor = reactor
        self._guard = guard
        self._policy = policy
        self._bind = bind
        self._timeout = timeout
        self._opened: set[Any] = set()
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = idle
        self._pool.cachedConnectionTimeout = IDLE_SECONDS
        self._pool.retryAutomatically = False  # each attempt is counted, so nobody below may repeat one
        self._agent = Agent.usingEndpointFactory(reactor, self, self._pool)

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See ``IAgent``."""
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_packed)  # type: ignore[no-any-return]

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See ``IAgentEndpointFactory``."""
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported("only http and https receivers are supported")
        host = uri.host.decode("ascii").strip("[]")
        endpoint: IStreamClientEndpoint = _Checked(
            self._reactor, self._guard, host, uri.port, self._bind, self._timeout
        )
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Counted(endpoint, self._opened)

    def close(self) -> Deferred[None]:
        """Close idle connections, and cut the rest: requests in flight err.  Fires when the idle ones are closed."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        for line in list(self._opened):
            line.transport.abortConnection()
        return closed.addCallback(lambda _: None)


@implementer(IStreamClientEndpoint)
class _Counted:
    def __init__(self, endpoint: IStreamClientEndpoint, opened: set[Any]) -> None:
        self._endpoint = endpoint
        self._opened = opened

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See ``IStreamClientEndpoint``."""
        connected: Deferred[Any] = self._endpoint.connect(_Meter(protocolFactory, self._opened))
        return connected.addCallback(lambda line: line.wrappedProtocol)


def _packed(response: IResponse) -> IResponse:
    """Hide a Content-Encoding from the layers above: a small answer must not unfold into a large one."""
    response.headers.removeHeader(b"content-encoding")
    return response
