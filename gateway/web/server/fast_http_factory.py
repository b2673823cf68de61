"""What every connection of the main port begins with: the routes of the moment, and an eye on who is idle or late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import ServerFactory

from gateway.deferreds import Timer
from gateway.web.server.fast_http import Wire
from gateway.web.server.response_bytes import Renderer
from gateway.web.server.route_matcher import Matcher
from gateway.web.server.write_batch import PlainLink

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.web.server.site import GatewaySite

SWEEP_SECONDS = 1.0  # between two looks for connections that are idle or late


class WireFactory(ServerFactory):
    """The main port's factory: each connection begins on the wire; ``site`` takes what it hands over.

    ``link`` is a ``TlsLink`` where a TLS factory is wrapped around this one.
    """

    noisy = False
    protocol: Any = Wire

    def __init__(self, site: GatewaySite, clock: IReactorTime, link: PlainLink | None = None) -> None:
        self.site = site
        self.clock = clock
        self.renderer = Renderer()
        self.link = PlainLink() if link is None else link
        self.open: set[Wire] = set()
        self._page: Any = None
        self._matcher: Matcher | None = None
        self._sweep = Timer(clock)

    @property
    def matcher(self) -> Matcher:
        """The routes under the settings of the moment."""
        page = self.site.page
        if page is not self._page or self._matcher is None:
            self._page = page
            self._matcher = Matcher(page.dispatcher)
        return self._matcher

    def startFactory(self) -> None:
        """Begin to look for idle and late connections."""
        self._sweep.start(SWEEP_SECONDS, self._look)

    def stopFactory(self) -> None:
        """Stop looking."""
        self._sweep.cancel()

    def _look(self) -> None:
        self._sweep.start(SWEEP_SECONDS, self._look)
        now = self.clock.seconds()
        for wire in [wire for wire in self.open if now - wire.since > wire.deadline]:
            wire.late()
