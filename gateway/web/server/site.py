"""The main port's factory: HTTP/1.1 (and HTTP/2 under TLS) connections, answered by Klein under the current settings.

``make_site`` builds; nothing is opened until a service listens with it.
Importing this module installs Twisted's reactor (through klein): the tap does, after the reactor is chosen.
"""

from __future__ import annotations

import random
from io import BytesIO
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.web.server import Site

from gateway.web.context import Context
from gateway.web.dispatch import build
from gateway.web.ports import Uncounted
from gateway.web.server.http1 import IDLE_TIMEOUT
from gateway.web.server.http2 import Negotiated
from gateway.web.server.klein_app import resource
from gateway.web.server.klein_request import WebRequest
from gateway.web.server.request_log import traced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IReactorTime
    from twisted.web.resource import IResource

    from gateway.export import Collector
    from gateway.settings import Settings
    from gateway.web.dispatch import Web
    from gateway.web.ports import Hub, Registry, WebMetrics

STREAM_RETRY_MILLISECONDS = (5_000, 10_000)  # told to a stream beyond the cap; one known client gives up after 30 s


@frozen
class Page:
    """The routes under one state of the settings, and the Klein resource made of them; swapped whole by a reload."""

    web: Web
    resource: IResource


class GatewaySite(Site):
    """``Site`` with our requests, limits and no access log: URLs carry keys and user data."""

    protocol = Negotiated
    requestFactory = WebRequest

    def __init__(self, context: Context, settings: Settings, metrics: WebMetrics) -> None:
        page = _page(context, settings)
        super().__init__(page.resource, timeout=IDLE_TIMEOUT, reactor=context.clock, parsePOSTFormSubmission=False)
        self.page = page
        self._counted = metrics
        self.metrics = traced(metrics, settings.http)
        self.answering = 0  # requests whose answer has not begun

    def reconfigure(self, settings: Settings) -> None:
        """Answer the next requests under ``settings``; connections, streams and what is remembered stay.

        :raises ValueError: when ``settings`` cannot be applied; the old ones then stay in force.
        """
        self.page = _page(self.page.web.context, settings)
        self.resource = self.page.resource
        self.metrics = traced(self._counted, settings.http)

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
    registry: Registry,
    hubs: Mapping[str, Hub],
    settings: Settings,
    *,
    clock: IReactorTime,
    metrics: WebMetrics | None = None,
    status_document: Callable[[], Mapping[str, object]] = dict,
    rng: random.Random | None = None,
    evaluations: Collector | None = None,
) -> GatewaySite:
    """Return the factory of the main port.

    ``hubs`` maps SDK ids to the hubs of their streams; it is read at each new stream, so the owner may change it.
    ``evaluations`` is told of each, if the settings ask for it.
    ``status_document`` gives the document of ``/status``, which is served here only when the settings say so.

    :raises ValueError: when ``settings`` cannot be applied, which validation has excluded.
    """
    chance = rng or random.SystemRandom()
    counter = metrics or Uncounted()
    context = Context(
        registry,
        hubs,
        clock,
        status_document,
        stream_retry=lambda: chance.randint(*STREAM_RETRY_MILLISECONDS),
        evaluations=evaluations,
        stream_refused=counter.stream_refused,
    )
    return GatewaySite(context, settings, counter)


def _page(context: Context, settings: Settings) -> Page:
    web = build(context, settings)
    return Page(web, resource(web))
