"""What answers clients: the main port, the site behind it, and the streams of every SDK.

    Registry ──► add_sdk, publish, remove_sdk ──► Server ──► hubs, site ──► clients

What was evaluated for them leaves by ``keep``.
``LocalServer`` does this in one process; ``gateway.workers.Crew`` has the same methods and uses several processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory

from gateway.export import Collector
from gateway.export.forwarder import Haul
from gateway.logger import component_logger
from gateway.serving.listening import listen
from gateway.serving.push_loop import PushLoop
from gateway.streams import Exposure
from gateway.web import Context
from gateway.web.server.epoll import apart
from gateway.web.server.fast_http_factory import WireFactory
from gateway.web.server.socket_options import hand_down
from gateway.web.server.tls import Certificates, build_context
from gateway.web.server.write_batch import PlainLink, TlsLink

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from gateway import upstream
    from gateway.export import Parcel
    from gateway.flags import Snapshot
    from gateway.settings import Exporter, Settings
    from gateway.telemetry import Metrics
    from gateway.web import Registry, Sdk

_log = component_logger("gateway")

IN_FLIGHT_SECONDS = 5.0  # how long a stop waits for requests that are being answered; the peer's figure
TICK = 0.05  # seconds between two looks at what a stop waits for


class Server(Protocol):
    """What the running gateway asks of whatever answers its clients; every method is for the reactor thread."""

    @property
    def stream_count(self) -> int:
        """How many streams are open."""

    @property
    def serving(self) -> bool:
        """Whether clients are answered."""

    def open(self) -> None:
        """Take the main port; raises ``CannotListenError`` or ``TlsError``."""

    def start(self) -> None:
        """Begin to work for the streams, once every SDK is known."""

    def add_sdk(self, sdk: upstream.Sdk) -> None:
        """Serve an SDK; nothing happens when it is served already."""

    def remove_sdk(self, sdk_id: str) -> None:
        """Serve an SDK no longer: its streams end."""

    def restart_streams(self, sdk: upstream.Sdk) -> None:
        """End the streams of an SDK, so that its clients come back under its new default attributes."""

    def publish(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Tell the streams of an SDK what its new config changes."""

    def check(self, settings: Settings) -> None:
        """Raise ``TlsError`` or ``ValueError`` where ``apply`` would."""

    def apply(self, settings: Settings) -> None:
        """Answer under other settings from now on; streams stay, and on an error everything does."""

    def log_to(self, path: str) -> None:
        """Have the lines of its own processes, if it has any, go to this file from now on."""

    def settled(self) -> Deferred[None]:
        """Return a Deferred that fires when everything said so far holds for every client; it never errs."""

    async def drain(self, cut_short: Callable[[], bool]) -> None:
        """Accept nobody new, end the streams over the drain window, let requests in flight end; or ``cut_short()``."""

    def stop(self) -> None:
        """Stop working for the streams."""


class LocalServer:
    """Serves in this process; closed until ``open`` takes the port, or ``adopt_port`` is given one.

    ``keep`` takes what was evaluated; its Deferred never errs.
    """

    def __init__(
        self,
        reactor: Any,
        registry: Registry,
        settings: Settings,
        *,
        metrics: Metrics,
        status_document: Callable[[], Mapping[str, object]],
        rng: random.Random,
        keep: Callable[[Parcel], Deferred[None]],
    ) -> None:
        from gateway.web.server.site import make_site  # imports klein, which installs the reactor

        self._reactor = reactor
        self._settings = settings
        self._tls = settings.tls
        self._stall_timeout = settings.http.sse.stall_timeout
        self._ports: list[Any] = []
        self._certificates: Certificates | None = None
        self._collector = Collector(reactor.seconds, rng.random)
        self._haul = Haul(reactor, self._collector, keep)
        self._link = TlsLink() if settings.tls.enabled else PlainLink()
        self.push_loop = PushLoop(reactor, rng, metrics, settings.http.sse, self._link)
        self.site = make_site(
            Context(registry, self.push_loop.hubs, reactor, status_document, collector=self._collector),
            settings,
            metrics,
            rng=rng,
        )
        self._export(settings.exporter)

    @property
    def stream_count(self) -> int:
        """How many streams are open."""
        return self.push_loop.stream_count

    @property
    def serving(self) -> bool:
        """Always: the port is open before anybody can ask."""
        return True

    def open(self) -> None:
        """Listen, where the main server is enabled."""
        http = self._settings.http
        if not http.enabled:
            return
        self.adopt_port(listen(self._reactor, http.port, self.factory(), http.bind))
        scheme = "HTTP" if self._certificates is None else "HTTPS"
        _log.info("{scheme} server listening on port: {port}", scheme=scheme, port=http.port, report=True)

    def factory(self) -> Any:
        """Return the factory of the main port's connections; raises ``TlsError``."""
        if not self._settings.tls.enabled:
            return WireFactory(self.site, self._reactor, self._link)
        self._certificates = Certificates(self._tls)
        wire = WireFactory(self.site, self._reactor, self._link)
        return TLSMemoryBIOFactory(self._certificates, False, wire, self._reactor)

    def adopt_port(self, port: Any) -> None:
        """Take over an open port: see to its connections, and close it when draining."""
        hand_down(port.socket, self._stall_timeout)
        self._ports.append(apart(port, self._reactor, self._link))

    def start(self) -> None:
        """Begin to turn the heartbeat wheel, and to carry evaluations away."""
        self.push_loop.start()
        self._haul.start()

    def add_sdk(self, sdk: Sdk) -> None:
        """Make the SDK's hub, if it has none."""
        if sdk.id not in self.push_loop.hubs:
            self.push_loop.add(sdk.id, sdk.snapshot)

    def remove_sdk(self, sdk_id: str) -> None:
        """End the SDK's streams and forget its hub."""
        self.push_loop.remove(sdk_id)

    def restart_streams(self, sdk: Sdk) -> None:
        """End the SDK's streams and begin with a new hub."""
        self.push_loop.remove(sdk.id)
        self.push_loop.add(sdk.id, sdk.snapshot)

    def publish(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Push what the new config changes."""
        self.push_loop.publish(sdk_id, snapshot)

    def check(self, settings: Settings) -> None:
        """Read the certificates; ``apply`` checks the rest before it changes anything."""
        if self._certificates is not None:
            build_context(settings.tls)

    def apply(self, settings: Settings) -> None:
        """Answer, encrypt and beat as ``settings`` say."""
        # Both raise before they have changed anything; certificates may be others than when they were checked.
        context = None if self._certificates is None else build_context(settings.tls)
        self.site.reconfigure(settings)
        if self._certificates is not None and context is not None:
            self._certificates.use(context)
        self._tls = settings.tls
        self._stall_timeout = settings.http.sse.stall_timeout
        for port in self._ports:
            hand_down(port.socket, self._stall_timeout)
        self.push_loop.retime(settings.http.sse)
        self._export(settings.exporter)

    def log_to(self, path: str) -> None:
        """There is no other process."""

    def settled(self) -> Deferred[None]:
        """Everything holds at once."""
        return succeed(None)

    async def drain(self, cut_short: Callable[[], bool]) -> None:
        """Close the port, then the streams over the drain window, then wait for the answers."""
        while self._ports:
            await maybeDeferred(self._ports.pop().stopListening)
        window = self._settings.http.sse.drain_window if self.stream_count else 0.0
        self.push_loop.drain(window)
        await self._wait(lambda: self.stream_count == 0 or cut_short(), window + 2 * TICK)
        await self._wait(lambda: self.site.answering == 0 or cut_short(), IN_FLIGHT_SECONDS)
        self._haul.empty()

    def stop(self) -> None:
        """Stop turning and pushing, and carrying."""
        self.push_loop.stop()
        self._haul.stop()

    def _export(self, exporter: Exporter) -> None:
        """Count the evaluations that the settings ask for; the site sees to those of its answers."""
        self._collector.configure(
            sampling=exporter.sampling, aggregate=exporter.aggregate, batch=exporter.max_event_in_memory
        )
        self.push_loop.expose(Exposure(self._collector.many, whole=exporter.bulk) if exporter.on else None)

    async def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        """Return once ``done()``, after one more turn in which what was written leaves; ``seconds`` at most."""
        until = self._reactor.seconds() + seconds
        while not done() and self._reactor.seconds() < until:
            await deferLater(self._reactor, TICK, lambda: None)
        await deferLater(self._reactor, TICK, lambda: None)
