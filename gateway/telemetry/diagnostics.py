"""The diagnostics port: status, metrics and probes over plain HTTP, apart from the traffic.

    status, metrics, readiness ──► pages ──► BoundedChannel ──► scraper, probe, operator

The pages are small and made in the reactor thread, at the moment of asking.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from gateway.telemetry.channel import BoundedChannel, BoundedRequest
from gateway.telemetry.outbox_pages import PATHS, Desk, OutboxPages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IReactorTime
    from twisted.web import http
    from twisted.web.server import Request

    from gateway.settings import Settings
    from gateway.telemetry.metrics import Exposition
    from gateway.telemetry.readiness import Readiness
    from gateway.telemetry.status import Status

IDLE_TIMEOUT = 120  # seconds between requests; the peer's

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"

Page = tuple[int, str, bytes]  # status, content type, body
PageMaker: TypeAlias = "Callable[[], Page]"


class DiagnosticsRoot(Resource):
    """Every page, by its exact path and for any method, as the peer has it; the outbox's are for theirs only."""

    isLeaf = True

    def __init__(self, outbox_pages: OutboxPages) -> None:
        super().__init__()
        self._outbox_pages = outbox_pages
        self.open_pages: Mapping[bytes, PageMaker] = {}
        self.guarded_pages: Mapping[bytes, PageMaker] = {}
        self.auth_headers: Mapping[str, str] = {}

    def render(self, request: Request) -> bytes | int:
        """Return the page's body, having set status and headers, or say that it will come."""
        later = self._outbox_pages.answer(request, self._admitted(request) if self.auth_headers else None)
        if later is None:
            return _written(request, self._page(request))
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def finish(answer: tuple[int, bytes]) -> None:
            if not gone:
                request.write(_written(request, (answer[0], JSON, answer[1])))
                request.finish()

        later.addCallback(finish)
        return NOT_DONE_YET

    def _page(self, request: Request) -> Page:
        page = self.open_pages.get(request.path)
        if page is not None:
            return page()
        guarded = self.guarded_pages.get(request.path)
        if guarded is not None:
            return guarded() if self._admitted(request) else (401, TEXT, b"Unauthorized\n")
        if request.path == b"/":
            paths = [path.decode() for path in (*self.open_pages, *self.guarded_pages)]
            paths += PATHS if self._outbox_pages.open else ()
            return 200, TEXT, ("\n".join(sorted(paths)) + "\n").encode()
        return 404, TEXT, b"404 page not found\n"

    def _admitted(self, request: Request) -> bool:
        """Compare every header, without stopping at the first difference."""
        admitted = True
        for name, value in self.auth_headers.items():
            given = (request.requestHeaders.getRawHeaders(name.encode()) or [b""])[0]
            admitted &= hmac.compare_digest(given, value.encode())
        return admitted


def _written(request: Request, page: Page) -> bytes:
    """Set status and headers, and return the bytes to write."""
    code, kind, body = page
    request.setResponseCode(code)
    request.responseHeaders.setRawHeaders("Content-Type", [kind])
    request.responseHeaders.setRawHeaders("Cache-Control", ["no-store"])
    request.responseHeaders.setRawHeaders("Content-Length", [str(len(body))])
    return b"" if request.method == b"HEAD" else body


class DiagnosticsSite(Site):
    """The diagnostics server; ``connections`` are open at this moment."""

    protocol = BoundedChannel  # type: ignore[assignment]  # without the generic one's HTTP/2
    requestFactory = BoundedRequest
    noisy = False  # the service reports the port

    def __init__(self, root: DiagnosticsRoot, guarded: Mapping[bytes, PageMaker], reactor: IReactorTime) -> None:
        super().__init__(root, timeout=IDLE_TIMEOUT, reactor=reactor, parsePOSTFormSubmission=False)
        self.connections = 0
        self._root = root
        self._guarded = guarded

    def log(self, request: http.Request) -> None:
        """Keep no access log: probes every second would drown everything else."""

    def reconfigure(self, settings: Settings) -> None:
        """Take over auth headers, and whether there is a status page; the rest needs a restart."""
        self._root.auth_headers = dict(settings.diag.auth_headers)
        guarded = dict(self._guarded)
        if not settings.diag.status.enabled:
            guarded.pop(b"/status", None)
        self._root.guarded_pages = guarded


def make_diagnostics_site(
    status: Status,
    metrics: Exposition,
    readiness: Readiness,
    settings: Settings,
    clock: IReactorTime,
    desk: Callable[[], Desk | None] = lambda: None,
) -> DiagnosticsSite:
    """Return the server's factory, listening nowhere yet; ``desk`` answers about deliveries while an outbox is open.

    ``/status`` and ``/metrics`` are there as the settings say, behind ``diag.auth_headers``.
    ``/livez`` and ``/readyz`` are always there and open, since probes carry no secrets.
    """
    guarded: dict[bytes, PageMaker] = {b"/status": lambda: (200, JSON, msgspec.json.encode(status.document()))}
    if settings.diag.metrics.enabled and settings.diag.metrics.prometheus.enabled:
        guarded[b"/metrics"] = lambda: (200, METRICS, metrics.render())
    root = DiagnosticsRoot(OutboxPages(desk))
    root.open_pages = {b"/livez": lambda: (200, TEXT, b"ok\n"), b"/readyz": lambda: _ready(readiness)}
    site = DiagnosticsSite(root, guarded, clock)
    site.reconfigure(settings)
    return site


def _ready(readiness: Readiness) -> Page:
    verdict = readiness.check()
    return verdict.code, JSON, msgspec.json.encode(verdict.body)
