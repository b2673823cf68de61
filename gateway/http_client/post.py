"""Sends one message once, and says what came of it: the only module that knows treq.

Every fault of the network, however hostile the receiver, becomes an ``Attempt``; nothing is raised.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import unquote

from attrs import frozen
from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.internet.protocol import connectionDone
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from gateway.http_client.address_guard import Guard
from gateway.http_client.agent import ANSWER_LIMIT, Connections
from gateway.http_client.attempt import ANSWER_KEPT, AnswerTooLong, Attempt, fault_text
from gateway.http_client.endpoint_trust import policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.python.failure import Failure

    from gateway.settings import Delivery

BODY_LIMIT: Final = ANSWER_LIMIT // 2  # bytes of an answer's body; below the bound of the connection, to say it better
# No receiver may leave a cookie; treq would make two jars per request otherwise.
_NO_COOKIES: Final = IndexableCookieJar(DefaultCookiePolicy(allowed_domains=()))


class _Uri(EncodedURL):
    """A URL that is in the form of the wire already: treq makes it so for each request, at a fifth of its cost."""

    def to_uri(self) -> EncodedURL:
        """See ``EncodedURL``."""
        return self


class Sender(Protocol):
    """What the courier sends through, one per endpoint."""

    def send(self, headers: Sequence[tuple[str, str]], body: bytes) -> Deferred[Attempt]:
        """Make one attempt; never errs, and ends within the endpoint's timeout; cancelling cuts it short."""

    def close(self) -> Deferred[None]:
        """Close every connection."""


@frozen
class Route:
    """How to reach an endpoint: one whose route a reload leaves equal keeps its connections.

    ``ca_file`` is read when the connections are made, so other bytes under the same name take a restart.
    """

    url: str
    ca_file: str
    concurrency: int
    timeout: float
    delivery: Delivery


MakeSender = Callable[[Any, Route], Sender]


def make_sender(reactor: Any, route: Route) -> Sender:
    """Return what sends over HTTP; raises ``TrustError`` or ValueError when the settings cannot be used."""
    delivery = route.delivery
    connections = Connections(
        reactor,
        Guard.from_settings(delivery.allowed_networks, delivery.denied_networks),
        policy(route.ca_file),
        bind=delivery.source_address,
        idle=route.concurrency,
        timeout=route.timeout,
    )
    return HttpSender(reactor, route.url, connections, route.timeout)


class HttpSender:
    """POSTs to one URL within ``timeout`` seconds, name resolution and the whole answer included."""

    def __init__(self, reactor: Any, url: str, connections: Connections, timeout: float) -> None:
        self._reactor = reactor
        self._url, self._credentials = _wire_form(url)
        self._connections = connections
        self._client = HTTPClient(connections, _NO_COOKIES)
        self._timeout = timeout

    def send(self, headers: Sequence[tuple[str, str]], body: bytes) -> Deferred[Attempt]:
        """See ``Sender``."""
        return Deferred.fromCoroutine(self._send(headers, body))

    def close(self) -> Deferred[None]:
        """See ``Sender``."""
        return self._connections.close()

    async def _send(self, headers: Sequence[tuple[str, str]], body: bytes) -> Attempt:
        began = self._reactor.seconds()
        seen = _Seen()
        work: Deferred[None] = Deferred.fromCoroutine(self._post(headers, body, seen))
        work.addTimeout(self._timeout, self._reactor)
        fault = ""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the border between the network's exceptions and our values
            fault = fault_text(error)
        duration = max(0.0, self._reactor.seconds() - began)
        return Attempt(seen.status, fault, duration, bytes(seen.answer), seen.retry_after)

    async def _post(self, headers: Sequence[tuple[str, str]], body: bytes, seen: _Seen) -> None:
        listed = Headers()
        for name, value in headers:
            listed.addRawHeader(name, value)
        if self._credentials and not listed.hasHeader("Authorization"):
            listed.addRawHeader("Authorization", self._credentials)
        response: Any = await self._client.post(
            self._url,
            headers=listed,
            data=body,
            cookies=_NO_COOKIES,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        seen.status = response.code
        after = response.headers.getRawHeaders(b"retry-after", [None])[0]
        seen.retry_after = None if after is None else after.decode("ascii", "replace")
        reading = _Reading(seen)
        response.deliverBody(reading)
        await reading.done


class _Seen:
    """What is known of an answer, whole or not."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after: str | None = None
        self.answer = bytearray()


def _wire_form(url: str) -> tuple[_Uri, str]:
    """Return ``url`` as it is asked for, and the name and password in it as Basic credentials; raises ValueError.

    A host in ASCII stays as it is: IDNA refuses the colons of IPv6 and the underscores of container names.
    """
    given = EncodedURL.from_text(url)
    host = given.host
    plain = given.replace(userinfo="", fragment="")
    uri = plain.replace(host="x").to_uri().replace(host=host) if host.isascii() else plain.to_uri()
    return cast(_Uri, _Uri.from_text(uri.to_text())), _basic(given.userinfo) if given.userinfo else ""


def _basic(userinfo: str) -> str:
    name, _, password = userinfo.partition(":")
    return f"Basic {b64encode(f'{unquote(name)}:{unquote(password)}'.encode()).decode()}"


class _Reading(StreamProtocol):
    """Reads a body to its end, keeps the first bytes, gives up beyond the limit or when cancelled."""

    def __init__(self, seen: _Seen) -> None:
        self._seen = seen
        self._size = 0
        self.done: Deferred[None] = Deferred(self._cut)

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        self._size += len(data)
        self._seen.answer += data[: ANSWER_KEPT - len(self._seen.answer)]
        if self._size > BODY_LIMIT and not self.done.called:
            self._cut()
            self.done.errback(AnswerTooLong())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``IProtocol``."""
        if self.done.called:
            return
        # Without a length, and with the connection closed, the answer is as whole as it can be known to be.
        if isinstance(reason.value, (ResponseDone, PotentialDataLoss)):
            self.done.callback(None)
        else:
            self.done.errback(reason)

    def _cut(self, _: object = None) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.stopProducing()
