"""Sends one message once and returns an ``Attempt``: no network error, however hostile the receiver, is raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as RequestTimeout
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from gateway.http_client.address_guard import Guard
from gateway.http_client.agent import HttpAgent, Limits, Reactor
from gateway.http_client.attempt import ANSWER_KEPT, Attempt, fault_text
from gateway.http_client.bounded_body import Excerpt, read_body
from gateway.http_client.trust import Trust, load_trust
from gateway.http_client.wire_url import wire_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.settings import Delivery

ANSWER_LIMIT: Final = 1024 * 1024  # bytes of one answer, its head included; receivers send a line or nothing
BODY_LIMIT: Final = ANSWER_LIMIT // 2  # bytes of an answer's body; below the connection's, for the better error text
IDLE_SECONDS: Final = 4  # many servers close an idle connection after 5, and a POST must not meet that


class Sender(Protocol):
    """Sends to one receiver."""

    def send(self, headers: Sequence[tuple[str, str]], body: bytes) -> Deferred[Attempt]:
        """Make one attempt within the receiver's timeout; never fails, also not when cancelled."""

    def close(self) -> Deferred[None]:
        """Close every connection."""


@frozen
class Route:
    """How to reach a receiver; one whose route a reload leaves equal keeps its connections.

    ``ca_file`` is read when the sender is made, unless ``trust`` holds what was read from it before.
    """

    url: str
    ca_file: str
    concurrency: int
    timeout: float  # seconds of one attempt
    delivery: Delivery
    trust: Trust | None = None


MakeSender = Callable[[Reactor, Route], Sender]


def make_sender(reactor: Reactor, route: Route) -> Sender:
    """Return a sender over HTTP.

    :raises TrustError: when ``ca_file`` cannot be used
    :raises ValueError: when the URL or a network of ``delivery`` cannot be used
    """
    delivery = route.delivery
    agent = HttpAgent(
        reactor,
        load_trust(route.ca_file, "ca_file") if route.trust is None else route.trust,
        Limits(ANSWER_LIMIT, route.timeout, route.concurrency, IDLE_SECONDS),
        guard=Guard.from_settings(delivery.allowed_networks, delivery.denied_networks),
        bind=delivery.source_address,
        retry=False,  # each attempt is counted, so no layer below may repeat one
    )
    return HttpSender(reactor, route.url, agent, route.timeout)


class HttpSender:
    """POSTs to one URL within ``timeout`` seconds, name resolution and the whole answer included."""

    def __init__(self, reactor: Reactor, url: str, agent: HttpAgent, timeout: float) -> None:
        self._reactor = reactor
        self._url, self._credentials = wire_form(url)
        self._agent = agent
        self._timeout = timeout

    def send(self, headers: Sequence[tuple[str, str]], body: bytes) -> Deferred[Attempt]:
        """See ``Sender``."""
        return Deferred.fromCoroutine(self._send(headers, body))

    def close(self) -> Deferred[None]:
        """See ``Sender``."""
        return self._agent.close_connections()

    async def _send(self, headers: Sequence[tuple[str, str]], body: bytes) -> Attempt:
        began = self._reactor.seconds()
        answer = _Answer()
        work: Deferred[None] = Deferred.fromCoroutine(self._post(headers, body, answer))
        work.addTimeout(self._timeout, self._reactor, _timed_out)
        fault = ""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the border between the network's exceptions and our values
            fault = fault_text(error)
        duration = max(0.0, self._reactor.seconds() - began)
        if fault and answer.status is not None and answer.status >= 400:
            fault = ""  # a receiver may refuse a body before it has read it, and reset the connection then
        return Attempt(answer.status, fault, duration, answer.body.start, answer.retry_after)

    async def _post(self, headers: Sequence[tuple[str, str]], body: bytes, answer: _Answer) -> None:
        sent = Headers()
        for name, value in headers:
            sent.addRawHeader(name, value)
        if self._credentials and not sent.hasHeader("Authorization"):
            sent.addRawHeader("Authorization", self._credentials)
        response = await self._agent.send("POST", self._url, sent, body)
        answer.status = response.code
        after = response.headers.getRawHeaders(b"retry-after", [None])[0]
        answer.retry_after = None if after is None else after.decode("ascii", "replace")
        await read_body(response, answer.body)


@define
class _Answer:
    """What has arrived of an answer."""

    status: int | None = None
    retry_after: str | None = None
    body: Excerpt = field(factory=lambda: Excerpt(BODY_LIMIT, ANSWER_KEPT))


def _timed_out(result: Failure | None, seconds: float) -> None:
    if isinstance(result, Failure):  # else the answer came at the last moment
        raise RequestTimeout(seconds)
