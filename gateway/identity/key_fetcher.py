"""Fetches the key sets of issuers: regularly, and when a token names an unknown key.  One per gateway, in the leader.

refresh, timer ──► GET ──► use(url, body) ──► the processes that serve
└── failed ──► the previous key set stays; a problem
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as RequestTimeout
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from gateway.deferreds import Timer, settle_all
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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.http_client import Reactor
    from gateway.settings import Settings

REFRESH_SECONDS: Final = 900.0  # between two fetches: how long a key that the issuer withdrew is accepted at most
UNKNOWN_SECONDS: Final = 60.0  # between two fetches for unknown keys, which any client can name, and after a failure
FIRST_SECONDS: Final = 10.0  # between two fetches while there has never been a key set
FETCH_SECONDS: Final = 10.0  # for one fetch
BODY_LIMIT: Final = 256 * 1024  # bytes; real key sets have less than 20 KiB
_OVERHEAD: Final = 64 * 1024  # bytes of a response beyond its body
_WORDS: Final = {
    NetworkError.TOO_LARGE: f"the answer has more than {BODY_LIMIT} bytes",
    NetworkError.WRONG_HOST: "the certificate is for another host",
    NetworkError.TLS: "the TLS handshake failed: {detail}",
    NetworkError.TIMED_OUT: f"no complete answer within {FETCH_SECONDS:g} s",
    NetworkError.UNKNOWN_HOST: "the host name cannot be resolved",
    NetworkError.CONNECT: "the connection failed: {detail}",
    NetworkError.PROXY: "{detail}",
    NetworkError.LOST: "the connection was lost",
}


@frozen
class Network:
    """How issuers are reached; equal for equal settings, environment and bytes of the CA file."""

    urls: tuple[str, ...]
    trust: Trust = field(repr=False)
    proxies: ProxyRules = field(repr=False)


class KeyFetcher:
    """Fetches the key sets that the settings name, each by itself; ``use`` gets what was fetched.

    ``use`` may raise ``ValueError`` for what is not a key set.  ``on_problem`` is called when ``problems`` has changed.
    """

    def __init__(
        self,
        reactor: Reactor,
        environ: Mapping[str, str],
        *,
        use: Callable[[str, bytes], None],
        on_problem: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._environ = environ
        self._use = use
        self._on_problem = on_problem
        self._network: Network | None = None
        self._sources: dict[str, _Source] = {}

    def check(self, settings: Settings) -> Network:
        """Return what ``configure`` needs; reads the CA file.

        :raises TrustError: when it cannot be used.
        """
        identity = settings.identity
        urls = tuple(dict.fromkeys(key.jwks_url for key in identity.keys if key.jwks_url))
        trust = load_trust(identity.ca_file, "identity.ca_file")
        # The registry has logged a proxy that cannot be used.
        proxies = ProxyRules.from_settings(settings.http_proxy.url, self._environ, lambda _where, _why: None)
        return Network(urls, trust, proxies)

    def configure(self, network: Network) -> None:
        """Fetch the key sets of ``network`` from now on; those whose address stays are not fetched again."""
        if network == self._network:
            return
        same = self._network is not None and (network.trust, network.proxies) == (
            self._network.trust,
            self._network.proxies,
        )
        self._network = network
        previous, self._sources = self._sources, {}
        for url in network.urls:
            kept = previous.pop(url, None) if same else None
            self._sources[url] = kept or _Source(self._reactor, url, network, self._use, self._on_problem)
        for source in previous.values():
            source.stop()
        for source in self._sources.values():
            if source.started is None:
                source.fetch()

    def refresh(self) -> Deferred[None]:
        """Fetch the key sets again, each at most once a minute; fires when no fetch is in progress, and never fails."""
        for source in self._sources.values():
            source.fetch_if_permitted()
        return settle_all([source.ended() for source in self._sources.values()])

    def problems(self) -> list[str]:
        """Return a sentence for each key set that cannot be fetched; its text is stable while that lasts."""
        return [source.problem for source in self._sources.values() if source.problem]

    def stop(self) -> Deferred[None]:
        """Fetch nothing any more; fires when all connections are closed."""
        sources, self._sources = self._sources, {}
        return settle_all([source.stop() for source in sources.values()])


class _Source:
    """One key set."""

    def __init__(
        self,
        reactor: Reactor,
        url: str,
        network: Network,
        use: Callable[[str, bytes], None],
        on_problem: Callable[[], None],
    ) -> None:
        self.started: float | None = None  # the latest fetch
        self.problem = ""
        self._reactor = reactor
        self._url = url
        self._wire, self._credentials = wire_form(url)
        self._place = urlsplit(url).hostname or "the issuer"
        self._use = use
        self._on_problem = on_problem
        self._has_keys = False
        self._fetching: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._stopped = False
        self._timer = Timer(reactor)
        limits = Limits(BODY_LIMIT + _OVERHEAD, FETCH_SECONDS / 2, 1, 10)
        self._agent = HttpAgent(reactor, network.trust, limits, proxies=network.proxies, retry=True)

    def fetch_if_permitted(self) -> None:
        """Fetch unless that was done in the last minute, or is being done."""
        if self.started is None or self._reactor.seconds() - self.started >= UNKNOWN_SECONDS:
            self.fetch()

    def fetch(self) -> None:
        """Fetch, unless that is being done."""
        if self._fetching is None and not self._stopped:
            self.started = self._reactor.seconds()
            self._timer.cancel()
            work: Deferred[None] = Deferred.fromCoroutine(self._fetch())
            self._fetching = work
            work.addTimeout(FETCH_SECONDS, self._reactor, _timed_out)
            work.addCallbacks(lambda _: "", _reason).addCallback(self._done)

    def ended(self) -> Deferred[None]:
        """Return a Deferred that fires when no fetch is in progress."""
        done: Deferred[None] = Deferred()
        if self._fetching is None:
            done.callback(None)
        else:
            self._waiting.append(done)
        return done

    def stop(self) -> Deferred[None]:
        """Fetch nothing any more; fires when the connections are closed."""
        self._stopped = True
        self._timer.cancel()
        if self._fetching is not None:
            self._fetching.cancel()
        return self._agent.close_connections()

    async def _fetch(self) -> None:
        headers = Headers({"User-Agent": [USER_AGENT], "Accept": ["application/json"]})
        if self._credentials:
            headers.setRawHeaders("Authorization", [self._credentials])
        response = await self._agent.send("GET", self._wire, headers)
        if response.code != 200:
            await self._agent.close_connections()
            raise _Unusable(f"it answered {response.code}")
        encoding = response.headers.getRawHeaders(ENCODING_HEADER, [b""])[0].decode("ascii", "replace")
        body = await read_body(response, Inflater(BODY_LIMIT, encoding))
        try:
            self._use(self._url, body)
        except ValueError as error:
            raise _Unusable(str(error)) from None
        self._has_keys = True

    def _done(self, reason: str) -> None:
        self._fetching = None
        if not self._stopped:
            failed = UNKNOWN_SECONDS if self._has_keys else FIRST_SECONDS
            self._timer.start(failed if reason else REFRESH_SECONDS, self.fetch)
            self._show(reason)
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            if not done.called:
                done.callback(None)

    def _show(self, reason: str) -> None:
        state = "the last key set stays in use" if self._has_keys else "its tokens are refused"
        problem = f"identity: the keys of {self._place} cannot be fetched, {state}: {reason}" if reason else ""
        if problem != self.problem:
            self.problem = problem
            self._on_problem()


class _Unusable(Exception):
    """An answer that is not a key set."""


def _timed_out(result: object, _seconds: float) -> object:
    if isinstance(result, Failure):
        raise RequestTimeout
    return result


def _reason(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, _Unusable):
        return str(error)
    cause, detail = classify(error) if error is not None else (NetworkError.UNEXPECTED, "")
    return _WORDS.get(cause, "unexpected {detail}").format(detail=detail)
