"""The diagnostics port: status, metrics and probes over plain HTTP, separate from the traffic of clients.

    status, metrics, readiness ──► pages ──► BoundedConnection ──► scraper, probe, operator

The pages are small, and rendered in the reactor thread for each request.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from gateway.telemetry.bounded_http import BODY_LIMIT, BoundedConnection, BoundedRequest
from gateway.telemetry.config_pages import ConfigAdmin, ConfigPages
from gateway.telemetry.operator_access import on_this_machine
from gateway.telemetry.outbox_pages import PATHS, DeliveryAdmin, OutboxPages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IReactorTime
    from twisted.web import http
    from twisted.web.server import Request

    from gateway.settings import Settings
    from gateway.telemetry.metrics import Metrics
    from gateway.telemetry.readiness import Readiness
    from gateway.telemetry.status import Status

IDLE_TIMEOUT = 120  # seconds between requests, as in ConfigCat Proxy

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
AGE_HEADER = "X-Flaggateway-Config-Age"  # seconds, of the oldest cached config that is served; otherwise absent
AGE_PATHS = frozenset({b"/status", b"/readyz"})
OPENAPI = "/api/v1/openapi.json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"

API = b"/api/"  # the beginning of all paths of the API

Page = tuple[int, str, bytes]  # status, content type, body
PageMaker: TypeAlias = "Callable[[], Page]"


class Api(Protocol):
    """The pages below ``/api/`` and the page for browsers, which another room answers."""

    def render_file(self, request: Request) -> bytes | None:
        """Set status and headers and return a file of the page; None if the request is for something else."""

    def body_limit(self, path: bytes) -> int:
        """Return how many bytes of a body are read on this path."""

    def render(self, request: BoundedRequest, authorized: bool | None) -> bytes | int:  # noqa: FBT001 - three states
        """Set status and headers and return the body, or return ``NOT_DONE_YET``.

        ``authorized`` is None if the settings have no auth headers.
        """


class DiagnosticsRoot(Resource):
    """All pages by exact path, for any method as in ConfigCat Proxy.

    Those of the outbox, of held configs and of the API are for their own methods only.
    """

    isLeaf = True

    def __init__(
        self,
        outbox_pages: OutboxPages,
        config_pages: ConfigPages,
        config_age: Callable[[], int | None],
        api: Api | None = None,
    ) -> None:
        super().__init__()
        self._api = api
        self._outbox_pages = outbox_pages
        self._config_pages = config_pages
        self._config_age = config_age
        self.open_pages: Mapping[bytes, PageMaker] = {}
        self.guarded_pages: Mapping[bytes, PageMaker] = {}
        self.auth_headers: Mapping[str, str] = {}

    def body_limit(self, request: Request, target: bytes) -> int | None:
        """Return how many bytes of a body are read; larger ones only from those who may use the API."""
        path = target.partition(b"?")[0]
        if self._api is None or not path.startswith(API):
            return None
        allowed = self._authorized(request) if self.auth_headers else on_this_machine(request)
        return self._api.body_limit(path) if allowed else min(self._api.body_limit(path), BODY_LIMIT)

    def render(self, request: Request) -> bytes | int:
        """Set status and headers and return the body, or return ``NOT_DONE_YET``."""
        file = None if self._api is None else self._api.render_file(request)
        if file is not None:
            return file
        authorized = self._authorized(request) if self.auth_headers else None
        if self._api is not None and request.path.startswith(API):
            assert isinstance(request, BoundedRequest)
            return self._api.render(request, authorized)
        answered = self._config_pages.answer(request, authorized)
        if answered is not None:
            return self._written(request, (answered[0], JSON, answered[1]))
        pending = self._outbox_pages.answer(request, authorized)
        if pending is None:
            return self._written(request, self._page(request))
        closed: list[object] = []
        request.notifyFinish().addErrback(closed.append)

        def finish(answer: tuple[int, bytes]) -> None:
            if not closed:
                request.write(self._written(request, (answer[0], JSON, answer[1])))
                request.finish()

        pending.addCallback(finish)
        return NOT_DONE_YET

    def _page(self, request: Request) -> Page:
        page = self.open_pages.get(request.path)
        if page is not None:
            return page()
        guarded = self.guarded_pages.get(request.path)
        if guarded is not None:
            return guarded() if self._authorized(request) else (401, TEXT, b"Unauthorized\n")
        if request.path == b"/":
            paths = [path.decode() for path in (*self.open_pages, *self.guarded_pages)]
            paths += PATHS if self._outbox_pages.open else ()
            paths += self._config_pages.paths
            paths += () if self._api is None else (OPENAPI,)
            return 200, TEXT, ("\n".join(sorted(paths)) + "\n").encode()
        return 404, TEXT, b"404 page not found\n"

    def _authorized(self, request: Request) -> bool:
        """Compare all headers, without stopping at the first difference."""
        authorized = True
        for name, value in self.auth_headers.items():
            given = (request.requestHeaders.getRawHeaders(name.encode()) or [b""])[0]
            authorized &= hmac.compare_digest(given, value.encode())
        return authorized

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

    def __init__(self, root: DiagnosticsRoot, guarded: Mapping[bytes, PageMaker], reactor: IReactorTime) -> None:
        super().__init__(root, timeout=IDLE_TIMEOUT, reactor=reactor, parsePOSTFormSubmission=False)
        self.connections = 0
        self.draining = False  # whether each connection ends with its next answer
        self._root = root
        self._guarded = guarded

    def body_limit(self, request: Request, target: bytes) -> int | None:
        """Return how many bytes of a request's body are read; None if the body is not used."""
        return self._root.body_limit(request, target)

    def log(self, request: http.Request) -> None:
        """Log nothing: a probe each second would hide everything else."""

    def reconfigure(self, settings: Settings) -> None:
        """Apply auth headers and whether the status page is enabled; the rest needs a restart."""
        self._root.auth_headers = dict(settings.diag.auth_headers)
        guarded = dict(self._guarded)
        if not settings.diag.status.enabled:
            guarded.pop(b"/status", None)
        self._root.guarded_pages = guarded


def make_diagnostics_site(
    status: Status,
    metrics: Metrics,
    readiness: Readiness,
    settings: Settings,
    clock: IReactorTime,
    admin: Callable[[], DeliveryAdmin | None] = lambda: None,
    configs: ConfigAdmin | None = None,
    *,
    api: Api | None = None,
) -> DiagnosticsSite:
    """Return the factory of the diagnostics port; ``admin`` returns None while no outbox is open.

    ``/status`` and ``/metrics`` are served if the settings enable them, and need ``diag.auth_headers``.
    ``/livez`` and ``/readyz`` are always served and need no headers, because probes have no secrets.
    """
    guarded: dict[bytes, PageMaker] = {b"/status": lambda: (200, JSON, msgspec.json.encode(status.document()))}
    if settings.diag.metrics.enabled and settings.diag.metrics.prometheus.enabled:
        guarded[b"/metrics"] = lambda: (200, METRICS, metrics.render())
    root = DiagnosticsRoot(OutboxPages(admin), ConfigPages(configs), lambda: status.oldest_stale_age, api)
    root.open_pages = {b"/livez": lambda: (200, TEXT, b"ok\n"), b"/readyz": lambda: _ready(readiness)}
    site = DiagnosticsSite(root, guarded, clock)
    site.reconfigure(settings)
    return site


def _ready(readiness: Readiness) -> Page:
    verdict = readiness.check()
    return verdict.code, JSON, msgspec.json.encode(verdict.body)
