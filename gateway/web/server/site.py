"""The main port's factory: HTTP/1.1 (and HTTP/2 under TLS) connections, answered by Klein under the current settings.

``make_site`` builds; nothing is opened until a service listens with it.
Importing this module installs Twisted's reactor (through klein): the tap does, after the reactor is chosen.
"""

from __future__ import annotations

import random
from io import BytesIO
from typing import TYPE_CHECKING

from attrs import evolve, frozen
from twisted.web.server import Site

from gateway.web.dispatch import build_dispatcher
from gateway.web.server.http1 import IDLE_TIMEOUT
from gateway.web.server.http2 import NegotiatedHttp
from gateway.web.server.klein_app import resource
from gateway.web.server.klein_request import KleinRequest
from gateway.web.server.request_log import with_request_log

if TYPE_CHECKING:
    from twisted.web.resource import IResource

    from gateway.settings import Http, Settings
    from gateway.web.context import Context
    from gateway.web.dispatch import Dispatcher
    from gateway.web.ports import WebMetrics

STREAM_RETRY_MILLISECONDS = (5_000, 10_000)  # told to a stream beyond the cap; one known client gives up after 30 s


@frozen
class Page:
    """The routes under one state of the settings, and the Klein resource made of them; swapped whole by a reload."""

    dispatcher: Dispatcher
    resource: IResource


class GatewaySite(Site):
    """``Site`` with our requests, limits and no access log: URLs carry keys and user data."""

    protocol = NegotiatedHttp
    requestFactory = KleinRequest

    def __init__(self, context: Context, settings: Settings, metrics: WebMetrics) -> None:
        page = _page(context, settings)
        super().__init__(page.resource, timeout=IDLE_TIMEOUT, reactor=context.clock, parsePOSTFormSubmission=False)
        self.page = page
        self._counted = metrics
        self._set_logging(settings.http)
        self.answering = 0  # requests whose answer has not begun

    def reconfigure(self, settings: Settings) -> None:
        """Answer the next requests under ``settings``; connections, streams and what is remembered stay.

        :raises ValueError: when ``settings`` cannot be applied; the old ones then stay in force.
        """
        self.page = _page(self.page.dispatcher.context, settings)
        self.resource = self.page.resource
        self._set_logging(settings.http)

    def _set_logging(self, http: Http) -> None:
        """Log each answer, and each stream that opens or closes, where the level of their component is debug."""
        self.metrics = with_request_log(self._counted, http)
        self.page.dispatcher.context.state.streams.log_changes = http.sse.log.level == "debug"

    def getContentFile(self, _length: int | None) -> BytesIO:
        """Return where a request's body goes: memory, because it is bounded."""
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
    """Return the factory of the main port.

    ``context.hubs`` is read at each new stream, so its owner may change it; what ``build_dispatcher`` derives from the
    settings, and the stream retry and refusal count, are filled in here.

    :raises ValueError: when ``settings`` cannot be applied, which validation has excluded.
    """
    chance = rng or random.SystemRandom()
    context = evolve(
        context,
        stream_retry=lambda: chance.randint(*STREAM_RETRY_MILLISECONDS),
        stream_refused=metrics.stream_refused,
    )
    return GatewaySite(context, settings, metrics)


def _page(context: Context, settings: Settings) -> Page:
    dispatcher = build_dispatcher(context, settings)
    return Page(dispatcher, resource(dispatcher))
