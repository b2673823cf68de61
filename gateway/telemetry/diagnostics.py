"""The diagnostics port: status, metrics and probes over plain HTTP, separate from the traffic of clients.

    status, metrics, readiness ──► pages ──► BoundedConnection ──► scraper, probe, operator

The pages are small, and rendered in the reactor thread for each request.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from gateway.telemetry.bounded_http import BODY_LIMIT, BoundedConnection, BoundedRequest
from gateway.telemetry.callers import Callers
from gateway.telemetry.config_pages import ConfigAdmin, ConfigPages
from gateway.telemetry.logins import AT_ONCE, Logins
from gateway.telemetry.outbox_pages import PATHS, DeliveryAdmin, OutboxPages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
    from twisted.web import http
    from twisted.web.server import Request

    from gateway.settings import Settings
    from gateway.telemetry.caller import Caller
    from gateway.telemetry.logins import InThread
    from gateway.telemetry.metrics import Metrics
    from gateway.telemetry.readiness import Readiness
    from gateway.telemetry.status import Status

T = TypeVar("T")

IDLE_TIMEOUT = 120  # seconds between requests, as in ConfigCat Proxy

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
AGE_HEADER = "X-Flaggateway-Config-Age"  # seconds, of the oldest cached config that is served; otherwise absent
AGE_PATHS = frozenset({b"/status", b"/readyz"})
OPENAPI = "/api/v1/openapi.json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"

EVENTS = "text/event-stream"
API = b"/api/"  # the beginning of all paths of the API

Page = tuple[int, str, bytes]  # status, content type, body
PageMaker: TypeAlias = "Callable[[], Page]"


class Api(Protocol):
    """The pages below ``/api/`` and the page for browsers, which another room answers."""

    def render_file(self, request: Request) -> bytes | None:
        """Set status and headers and return a file of the page; None if the request is for something else."""

    def body_limit(self, path: bytes) -> int:
        """Return how many bytes of a body are read on this path."""

    def render(self, request: BoundedRequest, caller: Caller) -> bytes | int:
        """Set status and headers and return the body, or return ``NOT_DONE_YET``."""


class DiagnosticsRoot(Resource):
    """All pages by exact path, for any method as in ConfigCat Proxy.

    Those of the outbox, of held configs and of the API are for their own methods only.
    """

    isLeaf = True

    def __init__(
        self,
        callers: Callers,
        outbox_pages: OutboxPages,
        config_pages: ConfigPages,
        config_age: Callable[[], int | None],
        api: Api | None = None,
    ) -> None:
        super().__init__()
        self._api = api
        self._callers = callers
        self._outbox_pages = outbox_pages
        self._config_pages = config_pages
        self._config_age = config_age
        self._open: set[BoundedRequest] = set()  # whose answers are not complete
        self.open_pages: Mapping[bytes, PageMaker] = {}
        self.guarded_pages: Mapping[bytes, PageMaker] = {}

    def admit_body(self, request: BoundedRequest, target: bytes) -> None:
        """Set how many bytes of a body are read: larger ones only from those who may use the API.

        Nothing more is read while the password of a caller is verified.
        """
        path = target.partition(b"?")[0]
        if self._api is None or not path.startswith(API):
            return
        limit = self._api.body_limit(path)
        caller = self._callers.identify(request) if limit > BODY_LIMIT else None
        if isinstance(caller, Deferred):
            request.pause()

        def identified(caller: Caller) -> Caller:
            request.limit_body(limit if caller.denial is None else min(limit, BODY_LIMIT))
            return caller

        request.limit_body(limit)
        request.caller = caller.addCallback(identified) if isinstance(caller, Deferred) else caller
        if isinstance(caller, Deferred):
            caller.addCallback(request.resume)
        elif caller is not None:
            identified(caller)

    def drop_streams(self) -> None:
        """Close the connections of all streams: their callers may have lost access, and the others come back."""
        for request in list(self._open):
            kinds = request.responseHeaders.getRawHeaders("Content-Type", ())
            if any(kind.startswith(EVENTS) for kind in kinds):
                request.channel.abort()  # at once: a client that does not read would stay otherwise

    def render(self, request: Request) -> bytes | int:
        """Set status and headers and return the body, or return ``NOT_DONE_YET``."""
        page = self.open_pages.get(request.path)
        if page is not None:
            return self._written(request, page())
        # What the page loads holds no data; the page itself is guarded, so that a browser lets its user log in once.
        open_to_all = request.path != b"/" or not self._callers.has_users
        file = self._api.render_file(request) if self._api is not None and open_to_all else None
        if file is not None:
            return file
        assert isinstance(request, BoundedRequest)
        caller = request.caller if request.caller is not None else self._callers.identify(request)
        if not isinstance(caller, Deferred):
            return self._answer(request, caller)
        return _later(request, caller, lambda found: self._answer(request, found))

    def _answer(self, request: BoundedRequest, caller: Caller) -> bytes | int:
        """Return the answer to a caller."""
        if self._api is not None and request.path.startswith(API):
            body = self._api.render(request, caller)
            if body == NOT_DONE_YET:
                self._open.add(request)
                request.notifyFinish().addBoth(lambda _: self._open.discard(request))
            return body
        answered = self._config_pages.answer(request, caller)
        if answered is not None:
            return self._written(request, (answered[0], JSON, answered[1]))
        pending = self._outbox_pages.answer(request, caller)
        if pending is not None:
            return _later(request, pending, lambda answer: self._written(request, (answer[0], JSON, answer[1])))
        if self._callers.protected and (request.path in self.guarded_pages or self._is_closed_index(request)):
            denial = caller.denial
            if denial is not None:
                denial.announce(request)
                return self._written(request, (denial.code, TEXT, f"{denial.text}\n".encode()))
        file = None if self._api is None or request.path != b"/" else self._api.render_file(request)
        return self._written(request, self._page(request)) if file is None else file

    def _is_closed_index(self, request: Request) -> bool:
        return request.path == b"/" and self._callers.has_users

    def _page(self, request: Request) -> Page:
        guarded = self.guarded_pages.get(request.path)
        if guarded is not None:
            return guarded()
        if request.path == b"/":
            paths = [path.decode() for path in (*self.open_pages, *self.guarded_pages)]
            paths += PATHS if self._outbox_pages.open else ()
            paths += self._config_pages.paths
            paths += () if self._api is None else (OPENAPI,)
            return 200, TEXT, ("\n".join(sorted(paths)) + "\n").encode()
        return 404, TEXT, b"404 page not found\n"

    def _written(self, request: Request, page: Page) -> bytes:
        """Set status and headers, and return the bytes to write."""
        code, kind, body = page
        request.setResponseCode(code)
        request.responseHeaders.setRawHeaders("Content-Type", [kind])
        request.responseHeaders.setRawHeaders("Cache-Control", ["no-store"])
        request.responseHeaders.setRawHeaders("Content-Length", [str(len(body))])
        age = self._config_age() if request.path in AGE_PATHS else None
        if age is not None:
            request.responseHeaders.setRawHeaders(AGE_HEADER, [str(age)])
        return b"" if request.method == b"HEAD" else body


class DiagnosticsSite(Site):
    """The factory of the diagnostics port; ``connections`` is the number of open ones."""

    protocol = BoundedConnection  # type: ignore[assignment]  # Site's own has HTTP/2 too
    requestFactory = BoundedRequest
    noisy = False  # the service logs the port

    def __init__(
        self,
        root: DiagnosticsRoot,
        callers: Callers,
        guarded: Mapping[bytes, PageMaker],
        reactor: IReactorTime,
        threads: ThreadPool,
    ) -> None:
        super().__init__(root, timeout=IDLE_TIMEOUT, reactor=reactor, parsePOSTFormSubmission=False)
        self.connections = 0
        self.draining = False  # whether each connection ends with its next answer
        self._root = root
        self._callers = callers
        self._guarded = guarded
        self._threads = threads

    def startFactory(self) -> None:
        """Let passwords be verified: the port is open."""
        super().startFactory()
        self._threads.start()

    def stopFactory(self) -> None:
        """Wait for the verifications that run, which take less than a second."""
        super().stopFactory()
        self._threads.stop()

    def admit_body(self, request: BoundedRequest, target: bytes) -> None:
        """Set how many bytes of a request's body are read."""
        self._root.admit_body(request, target)

    def log(self, request: http.Request) -> None:
        """Log nothing: a probe each second would hide everything else."""

    def reconfigure(self, settings: Settings) -> None:
        """Apply users, auth headers and whether the status page is enabled; the rest needs a restart."""
        if self._callers.reconfigure(settings.diag):
            self._root.drop_streams()
        guarded = dict(self._guarded)
        if not settings.diag.status.enabled:
            guarded.pop(b"/status", None)
        self._root.guarded_pages = guarded


def make_diagnostics_site(  # noqa: PLR0913 - one per part
    status: Status,
    metrics: Metrics,
    readiness: Readiness,
    settings: Settings,
    clock: IReactorTime,
    admin: Callable[[], DeliveryAdmin | None] = lambda: None,
    configs: ConfigAdmin | None = None,
    *,
    api: Api | None = None,
    in_thread: InThread | None = None,
) -> DiagnosticsSite:
    """Return the factory of the diagnostics port; ``admin`` returns None while no outbox is open.

    ``in_thread`` calls a function in a thread; without it the factory has threads of its own while it listens.
    ``/status`` and ``/metrics`` are served if the settings enable them, and need a user or headers if there are any.
    ``/livez`` and ``/readyz`` are always served and need no headers, because probes have no secrets.
    """
    guarded: dict[bytes, PageMaker] = {b"/status": lambda: (200, JSON, msgspec.json.encode(status.document()))}
    if settings.diag.metrics.enabled and settings.diag.metrics.prometheus.enabled:
        guarded[b"/metrics"] = lambda: (200, METRICS, metrics.render())
    threads = ThreadPool(0, AT_ONCE, name="logins")
    reactor = cast("IReactorFromThreads", clock)  # except in tests, which pass ``in_thread``
    callers = Callers(Logins(clock, in_thread or partial(deferToThreadPool, reactor, threads), metrics.logins))
    root = DiagnosticsRoot(callers, OutboxPages(admin), ConfigPages(configs), lambda: status.oldest_stale_age, api)
    root.open_pages = {b"/livez": lambda: (200, TEXT, b"ok\n"), b"/readyz": lambda: _ready(readiness)}
    site = DiagnosticsSite(root, callers, guarded, clock, threads)
    site.reconfigure(settings)
    return site


def _later(request: Request, awaited: Deferred[T], answer: Callable[[T], bytes | int]) -> int:
    """Answer with what ``awaited`` gives, which never fails, if the connection is still open then."""
    closed: list[object] = []
    request.notifyFinish().addErrback(closed.append)

    def finish(result: T) -> None:
        body = NOT_DONE_YET if closed else answer(result)
        if isinstance(body, bytes):
            request.write(body)
            request.finish()

    awaited.addCallback(finish)
    return NOT_DONE_YET


def _ready(readiness: Readiness) -> Page:
    verdict = readiness.check()
    return verdict.code, JSON, msgspec.json.encode(verdict.body)
