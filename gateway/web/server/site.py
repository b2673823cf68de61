"""The factory of the Klein path: HTTP/1.1, answered by Klein under the current settings.

Importing this module imports klein, which installs a reactor; import it after the reactor is chosen.
"""

from __future__ import annotations

import random
from io import BytesIO
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen
from twisted.web.server import Site

from gateway.web.dispatch import build_dispatcher
from gateway.web.server.http1 import BoundedHttp1
from gateway.web.server.klein_app import resource
from gateway.web.server.klein_request import KleinRequest
from gateway.web.server.request_log import with_request_log
from gateway.web.server.route_matcher import RouteMatcher

if TYPE_CHECKING:
    from twisted.web.resource import IResource

    from gateway.settings import Http, Settings
    from gateway.web.context import Context
    from gateway.web.dispatch import Dispatcher
    from gateway.web.ports import WebMetrics

STREAM_RETRY_MILLISECONDS = (5_000, 10_000)  # sent with a refused stream; one known client gives up after 30 s


@frozen
class SiteRoutes:
    """The routes under one version of the settings, and their Klein resource; a reload replaces both together."""

    dispatcher: Dispatcher
    resource: IResource
    matcher: RouteMatcher
    http: Http


class GatewaySite(Site):
    """``Site`` with our requests, limits and no access log: URLs carry keys and user data."""

    protocol = BoundedHttp1  # type: ignore[assignment]  # Twisted declares its class for both versions of HTTP
    requestFactory = KleinRequest

    def __init__(self, context: Context, settings: Settings, metrics: WebMetrics) -> None:
        routes = _routes(context, settings)
        timeout: Any = settings.http.keep_alive_timeout  # Twisted declares whole seconds
        super().__init__(routes.resource, timeout=timeout, reactor=context.clock, parsePOSTFormSubmission=False)
        self.routes = routes
        self._metrics = metrics
        self._set_logging(settings.http)
        self.answering = 0  # requests whose answer has not begun
        self.draining = False  # whether each connection ends with its next answer
        self.connections: set[BoundedHttp1] = set()  # those of the Klein path

    def prepare(self, settings: Settings) -> SiteRoutes:
        """Return the routes under ``settings`` for ``use``; changes nothing.

        :raises ValueError: if ``settings`` cannot be applied
        """
        return _routes(self.routes.dispatcher.context, settings)

    def use(self, routes: SiteRoutes) -> None:
        """Answer the next requests by ``routes``; connections and streams stay.  Does not fail."""
        self.routes = routes
        self.resource = routes.resource
        self.timeOut = routes.http.keep_alive_timeout  # of connections from now on
        self._set_logging(routes.http)

    def _set_logging(self, http: Http) -> None:
        """Log each answer, and each stream that opens or closes, where the level of their component is debug."""
        self.metrics = with_request_log(self._metrics, http)
        self.routes.dispatcher.context.state.streams.log_changes = http.sse.log.level == "debug"

    def getContentFile(self, _length: int | None) -> BytesIO:
        """Return the buffer of a request's body, in memory because bodies are bounded."""
        return BytesIO()

    def startFactory(self) -> None:
        """Open no access log."""

    def stopFactory(self) -> None:
        """Close no access log."""

    def log(self, request: object) -> None:
        """Log nothing."""


def make_site(
    context: Context, settings: Settings, metrics: WebMetrics, *, rng: random.Random | None = None
) -> GatewaySite:
    """Return the factory of the Klein path.

    ``context.hubs`` is read at each new stream, so its owner may change it; what ``build_dispatcher`` derives from the
    settings, and the stream retry and refusal count, are filled in here.

    :raises ValueError: ``settings`` cannot be applied, which validation has excluded
    """
    chance = rng or random.SystemRandom()
    context = evolve(
        context,
        stream_retry=lambda: chance.randint(*STREAM_RETRY_MILLISECONDS),
        stream_refused=metrics.stream_refused,
    )
    return GatewaySite(context, settings, metrics)


def _routes(context: Context, settings: Settings) -> SiteRoutes:
    dispatcher = build_dispatcher(context, settings)
    return SiteRoutes(dispatcher, resource(dispatcher), RouteMatcher(dispatcher), settings.http)
