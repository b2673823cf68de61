"""One SDK's config JSON from the CDN: conditional requests, redirects of both kinds, every error as a value.

fetch ─► GET, If-None-Match ─► 3xx? again ─► 304 / 200 ─► body names another CDN? again ─► Outcome
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urljoin, urlsplit

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.web.http import RESPONSES
from twisted.web.http_headers import Headers

from gateway.deferreds import Timer
from gateway.http_client import (
    ENCODING_HEADER,
    USER_AGENT,
    HttpAgent,
    Inflater,
    Limits,
    NetworkError,
    ProxyRules,
    Trust,
    classify,
    load_trust,
    read_body,
    wire_form,
)
from gateway.logger import component_logger
from gateway.upstream.governance import FETCH_LIMIT, Accept, Refuse, check_preferences
from gateway.upstream.outcome import (
    CDN_FAILED,
    CDN_FETCHED,
    CDN_NOT_MODIFIED,
    CDN_STATUS,
    Failed,
    Fetched,
    Kind,
    NotModified,
    Outcome,
    etag_of,
)
from gateway.upstream.polling import delay, interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hyperlink import EncodedURL
    from twisted.python.failure import Failure
    from twisted.web.iweb import IResponse

    from gateway.http_client import Reactor
    from gateway.settings import Upstream
    from gateway.upstream.plan import Plan
    from gateway.upstream.source import Confirm, SourceContext, Wake

_log = component_logger("sdks")

CDN: Final = {"global": "https://cdn-global.configcat.com", "eu": "https://cdn-eu.configcat.com"}
REDIRECT_LIMIT: Final = 10  # 3xx answers followed in one fetch; Go's client and browsers stop at 10 to 20
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
HOST_LIMIT: Final = 255  # characters of a host in texts; the limit of DNS
_PORTS: Final = {"http": 80, "https": 443}
RESPONSE_OVERHEAD: Final = 1024 * 1024  # bytes of one response above twice max_bytes; chunks can double a body
IDLE_SECONDS: Final = 240  # that a connection is kept, as in Twisted's pools

# The texts are those of ConfigCat Proxy where it has one.
_WORDS: Final[Mapping[NetworkError, tuple[Kind, str]]] = {
    NetworkError.TOO_LARGE: (Kind.TOO_LARGE, "the config JSON is larger than upstream.max_bytes"),
    NetworkError.BAD_ENCODING: (Kind.ENCODING, "the config JSON cannot be decompressed"),
    NetworkError.TRUNCATED: (Kind.TRUNCATED, "the config JSON ended early"),
    NetworkError.ADDRESS_REFUSED: (Kind.CONNECT, "not called: {detail}"),
    NetworkError.PROXY: (Kind.PROXY, "{detail}"),
    NetworkError.WRONG_HOST: (Kind.TLS, "the upstream's certificate is for another host"),
    NetworkError.TLS: (Kind.TLS, "the TLS handshake with the upstream failed: {detail}"),
    NetworkError.TIMED_OUT: (Kind.TIMEOUT, "the connection timed out"),
    NetworkError.CANCELLED: (Kind.STOPPED, "the fetch was given up"),
    NetworkError.UNKNOWN_HOST: (Kind.CONNECT, "the host name cannot be resolved"),
    NetworkError.ADDRESS_FAMILY: (Kind.CONNECT, "the address family is not supported"),
    NetworkError.CONNECT: (Kind.CONNECT, "the connection failed: {detail}"),
    NetworkError.NOT_HTTP: (Kind.PROTOCOL, "the upstream does not speak HTTP"),
    NetworkError.SCHEME: (Kind.PROTOCOL, "only http and https upstreams are supported"),
    NetworkError.LOST: (Kind.CONNECT, "the connection was lost"),
    NetworkError.BAD_URL: (Kind.REDIRECT, "the upstream redirects to an address that cannot be read"),
    NetworkError.UNEXPECTED: (Kind.PROTOCOL, "{detail}"),
}


@frozen
class Network:
    """How upstreams are reached; equal for equal settings, environment and bytes of the CA file."""

    limits: Upstream
    trust: Trust
    proxies: ProxyRules

    def agent(self, reactor: Reactor) -> HttpAgent:
        """Return a new agent for one SDK."""
        limits = self.limits
        # One idle connection, since an SDK has one fetch at a time.
        bounds = Limits(2 * limits.max_bytes + RESPONSE_OVERHEAD, limits.connect_timeout, 1, IDLE_SECONDS)
        return HttpAgent(reactor, self.trust, bounds, proxies=self.proxies, retry=True)


def open_network(limits: Upstream, proxy: str, environ: Mapping[str, str], warn: Callable[[str, str], None]) -> Network:
    """Read the CA file; a proxy URL that cannot be used is ignored after ``warn(where, why)``.

    :raises TrustError: when ``upstream.ca_file`` cannot be used
    """
    trust = load_trust(limits.ca_file, "upstream.ca_file")
    return Network(limits, trust, ProxyRules.from_settings(proxy, environ, warn))


class CdnSource:
    """Fetches one SDK's config JSON and wakes its SDK when the next poll is due; see ``Source``."""

    remote = True
    fetched = CDN_FETCHED
    not_modified = CDN_NOT_MODIFIED
    unreadable = unparsable = CDN_FAILED

    def __init__(self, context: SourceContext, network: Network, plan: Plan) -> None:
        settings = plan.settings
        self._context = context
        self._network = network
        self._sdk_id = plan.id
        self._key = plan.key
        self._custom = bool(settings.base_url)
        self._base = settings.base_url or CDN[settings.data_governance]
        self._every = interval(settings.poll_interval)
        self._agent = network.agent(context.reactor)
        self._etag = self._offered = ""
        self._failures = 0
        self._wake: Wake = _nothing
        self._poll = Timer(context.reactor)
        self.place = self._place(self._base)

    def start(self, wake: Wake, confirm: Confirm) -> None:  # noqa: ARG002 - each poll is a fetch
        """See ``Source``."""
        self._wake = wake

    def stop(self) -> Deferred[None]:
        """See ``Source``."""
        self._poll.cancel()
        self._wake = _nothing
        return self._agent.close_connections()

    def settled(self, outcome: Outcome) -> None:
        """See ``Source``: keep the ETag of a config that was accepted, and start the timer of the next poll."""
        failed = isinstance(outcome, Failed)
        self._failures = self._failures + 1 if failed else 0
        if isinstance(outcome, Fetched):
            # Only now: after a config that was refused, its ETag would get a 304, which hides that it is still refused.
            self._etag = self._offered
        wait = delay(self._every, self._failures, self._context.rng.random())
        self._poll.start(wait, self._wake)

    def adopt(self, etag: str) -> None:
        """Make the next fetch conditional on the config of this ETag, which the SDK has from elsewhere."""
        self._etag = etag

    async def fetch(self) -> Outcome:
        """See ``Source``; takes at most ``upstream.timeout`` seconds, redirects included."""
        self._poll.cancel()
        outcome = await self._within(self._network.limits.timeout)
        if isinstance(outcome, Failed):
            # The rest of a response is of no use, and an upstream that never closes must not hold a descriptor.
            await self._agent.close_connections()
        return outcome

    async def _within(self, seconds: float) -> Outcome:
        work: Deferred[Outcome] = Deferred.fromCoroutine(self._attempt())
        work.addTimeout(seconds, self._context.reactor, _timed_out)
        try:
            return await work
        except Exception as error:  # noqa: BLE001 - the border between the network's exceptions and our values
            return _failed(error)

    async def _attempt(self) -> Outcome:
        base = self._base
        for _ in range(FETCH_LIMIT):
            outcome = await self._get(config_url(base, self._key))
            if not isinstance(outcome, Fetched):
                if isinstance(outcome, NotModified):
                    self._base = base
                return outcome
            verdict = check_preferences(outcome.body, base, custom=self._custom)
            if isinstance(verdict, Refuse):
                return Failed(Kind.REDIRECT, verdict.reason)
            if verdict.advised:
                _log.warn(
                    "SDK {sdk_id}: the config JSON names another CDN, {place}; set data_governance accordingly",
                    sdk_id=self._sdk_id,
                    place=self._place(verdict.base),
                )
            if isinstance(verdict, Accept):
                self._base = verdict.base
                return outcome
            base = verdict.base
        return Failed(Kind.REDIRECT, "redirection loop encountered while trying to fetch config JSON")

    async def _get(self, url: str) -> Outcome:
        """Send one GET and follow its 3xx answers."""
        for _ in range(REDIRECT_LIMIT + 1):
            self.place = self._place(url)
            wire, credentials = wire_form(url)
            response = await self._send(wire, credentials)
            location = response.headers.getRawHeaders(b"location", [b""])[0]
            if response.code not in _MOVED or not location:
                return await self._answer(response)
            await self._agent.close_connections()  # the body is not read, so the connection cannot be used again
            url = urljoin(url, location.decode("ascii", "replace"))
            if not url.startswith(("http://", "https://")):
                return Failed(Kind.REDIRECT, "the upstream redirects to something that is no http or https URL")
        return Failed(Kind.REDIRECT, f"the upstream redirected more than {REDIRECT_LIMIT} times")

    async def _send(self, wire: EncodedURL, credentials: str) -> IResponse:
        status, seconds = None, self._context.reactor.seconds
        began = seconds()
        try:
            response = await self._agent.send("GET", wire, self._headers(credentials))
            status = response.code
        finally:
            self._context.requested(self._sdk_id, status, seconds() - began)
        return response

    def _place(self, url: str) -> str:
        """Return host and port of ``url``, and of the proxy on the way there; never its path, which has the SDK key."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "")[:HOST_LIMIT], parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            host = ""
        if not host:
            return "an address that cannot be read"
        proxy = self._network.proxies.choose(parts.scheme, host, port)
        through = "" if proxy is None else f" through the proxy {_host_and_port(proxy.host, proxy.port)}"
        return _host_and_port(host, port) + through

    def _headers(self, credentials: str) -> Headers:
        headers = Headers({"User-Agent": [USER_AGENT], "X-ConfigCat-UserAgent": [USER_AGENT]})
        if credentials:
            headers.setRawHeaders("Authorization", [credentials])
        if self._etag:
            headers.setRawHeaders("If-None-Match", [self._etag])
        return headers

    async def _answer(self, response: IResponse) -> Outcome:
        encoding = response.headers.getRawHeaders(ENCODING_HEADER, [b""])[0].decode("ascii", "replace")
        if response.code == 304 and self._etag:
            await read_body(response, Inflater(0, ""))
            return NotModified()
        if response.code != 200:
            return _unexpected(response.code)
        body = await read_body(response, Inflater(self._network.limits.max_bytes, encoding))
        etag = response.headers.getRawHeaders(b"etag", [b""])[0].decode("latin-1").strip()
        self._offered = etag
        return Fetched(body, etag or etag_of(body))


def config_url(base: str, key: str) -> str:
    """Return the URL of the config JSON of ``key``; ``base`` may end in slashes."""
    return f"{base.rstrip('/')}/configuration-files/{quote(key, safe='/')}/config_v6.json"


def _nothing() -> None:
    """Stand in for ``wake`` while the source is not started or stopped."""


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _timed_out(result: Outcome | Failure, seconds: float) -> Outcome:
    if isinstance(result, (Fetched, NotModified, Failed)):
        return result  # it came at the same moment as the timeout
    text = f"request timed out while trying to fetch config JSON. Timeout value: {seconds * 1000:.0f}ms"
    return Failed(Kind.TIMEOUT, text, cause=f"no complete answer within {seconds:g} s")


def _failed(error: BaseException) -> Failed:
    cause, detail = classify(error)
    kind, words = _WORDS[cause]
    text = words.format(detail=detail)
    return Failed(kind, f"unexpected error occurred while trying to fetch config JSON: {text}", cause=text)


def _unexpected(code: int) -> Failed:
    phrase = RESPONSES.get(code, b"").decode("ascii")  # Twisted's: the upstream's own phrase could hold anything
    line = f"{code} {phrase}".strip()
    text = f"unexpected HTTP response was received while trying to fetch config JSON: {line}"
    return Failed(Kind.STATUS, text, CDN_STATUS, line)
