"""The running gateway: it wires the rooms together, opens what they need, and drains.

    Registry ──► _config_changed ──► Pump ──► hubs ──► streams
        ▲                              ▲
    web: refresh, hook             web: subscribe

``startService`` opens sockets, watchers and timers, or exits with one clear line; ``stopService`` drains.
What a reload changes is in ``gateway.reload``.
"""

from __future__ import annotations

import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.threadpool import ThreadPool

from gateway import __version__
from gateway.listening import explained, listen
from gateway.pump import Pump
from gateway.reload import Reload
from gateway.signals import catch_signals
from gateway.telemetry import (
    LagMonitor,
    LogLevels,
    Metrics,
    NoMetrics,
    Notifier,
    PrometheusMetrics,
    Readiness,
    Status,
    Vitals,
    log_observer,
    make_diagnostics_site,
    raise_file_limit,
)
from gateway.upstream import Registry, Sdk, UpstreamError
from gateway.web.site import make_site
from gateway.web.tls import Certificates, TlsError
from gateway.web.wire import WireFactory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IListeningPort

    from gateway.flags import Snapshot
    from gateway.settings import Loaded, Settings, SettingsFile

_log = Logger()

IN_FLIGHT_SECONDS = 5.0  # how long a stop waits for requests that are being answered; the peer's figure
TICK = 0.05  # seconds between two looks at what a stop waits for


class Gateway(Service):
    """The whole gateway in one process; built by ``gateway.tap.makeService``, closed until ``startService``."""

    def __init__(self, reactor: Any, source: SettingsFile, loaded: Loaded) -> None:
        assert loaded.settings is not None
        settings = loaded.settings
        self.setName("flaggateway")  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._warnings = loaded.warnings
        self._settings = settings
        self._rng = random.SystemRandom()
        self._ports: list[IListeningPort] = []
        self._diagnostics_port: IListeningPort | None = None  # closed last: a balancer asks it whether we are ready
        self._threads = ThreadPool(1, 1, name="files")
        self._levels = LogLevels.from_settings(settings)
        self._metrics: Metrics = NoMetrics()
        if settings.diag.enabled and settings.diag.metrics.enabled:
            self._metrics = PrometheusMetrics(reactor.seconds, __version__)
        self._vitals = Vitals(__version__, time.time(), lambda: self._pump.stream_count)
        self._status = Status(reactor.seconds, self._vitals)
        self._pump = Pump(reactor, self._rng, self._metrics, settings.http.sse)
        self._registry = Registry(
            reactor,
            settings,
            on_change=self._config_changed,
            on_added=self._sdk_began,
            on_removed=self._sdk_ended,
            on_attributes=self._end_streams,
            rng=self._rng,
            reporter=Reports(self._status, self._metrics),
            environ=os.environ,
            in_thread=lambda read: deferToThreadPool(reactor, self._threads, read),
        )
        self._readiness = Readiness(Serving(self._registry), self._status)
        self._site = make_site(
            self._registry,
            self._pump.hubs,
            settings,
            clock=reactor,
            metrics=self._metrics,
            status_document=self._status.document,
            rng=self._rng,
        )
        self._diagnostics = make_diagnostics_site(self._status, self._metrics, self._readiness, settings, reactor)
        self._certificates: Certificates | None = None
        self._notifier = Notifier(os.environ, pid=os.getpid(), monotonic=time.monotonic)
        self._lag = LagMonitor(reactor, self._metrics.loop_lag)
        self._source = source
        self._hurry = False

    def setServiceParent(self, parent: Any) -> None:
        """Join the application, and give it our log format."""
        if hasattr(parent, "setComponent"):
            observer = log_observer(self._settings.log.format, self._levels, sys.stdout)
            parent.setComponent(ILogObserver, observer)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Open everything; on failure log one line and exit with status 1."""
        super().startService()  # type: ignore[no-untyped-call]
        settings = self._settings
        _report("flaggateway {version} starting", version=__version__)
        for warning in self._warnings:
            _log.warn("settings: {warning}", warning=str(warning))
        raise_file_limit(settings.http.sse.max_connections)
        try:
            self._listen(settings)
            self._threads.start()
            self._registry.start()
        except (CannotListenError, TlsError, UpstreamError) as error:
            reason = explained(error) if isinstance(error, CannotListenError) else str(error)
            _log.critical("not started: {reason}", reason=reason)
            raise SystemExit(1) from None
        self._pump.start()
        self._lag.start()
        self._notifier.start_watchdog(self._reactor)
        self._notifier.ready(f"serving {len(self._registry.sdks)} SDKs")
        catch_signals(self._reactor, reload=self._reload(), stop=self._stop)

    def _stop(self) -> None:
        """Begin to drain; asked again, stop waiting for anybody."""
        if self.running:
            self._reactor.stop()
        else:
            _report("asked again: closing at once")
            self._hurry = True

    def stopService(self) -> Deferred[None]:
        """Drain: no new connections, streams ended over the drain window, requests in flight answered, then close."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        _report("shutdown requested, draining {streams} streams", streams=self._pump.stream_count)
        self._readiness.stop()
        self._notifier.stopping("draining")
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        window = self._settings.http.sse.drain_window if self._pump.stream_count else 0.0
        self._pump.drain(window)
        await self._wait(lambda: self._pump.stream_count == 0, window + 2 * TICK)
        await self._wait(lambda: self._site.answering == 0, IN_FLIGHT_SECONDS)
        await self._registry.stop()
        self._pump.stop()
        self._lag.stop()
        if self._diagnostics_port is not None:
            await maybeDeferred(self._diagnostics_port.stopListening)
        self._threads.stop()
        self._notifier.stop_watchdog()
        _report("shutdown complete")

    async def _wait(self, done: Any, seconds: float) -> None:
        """Return once ``done()``, after one more turn in which what was written leaves; ``seconds`` at most."""
        until = self._reactor.seconds() + seconds
        while not done() and not self._hurry and self._reactor.seconds() < until:
            await deferLater(self._reactor, TICK, lambda: None)
        await deferLater(self._reactor, TICK, lambda: None)

    def _listen(self, settings: Settings) -> None:
        http = settings.http
        if http.enabled:
            factory: Any = WireFactory(self._site, self._reactor)
            scheme = "HTTP"
            if settings.tls.enabled:
                self._certificates = Certificates(settings.tls)
                factory = TLSMemoryBIOFactory(self._certificates, False, self._site, self._reactor)
                scheme = "HTTPS"
            self._ports.append(listen(self._reactor, http.port, factory, http.bind))
            _report("{scheme} server listening on port: {port}", scheme=scheme, port=http.port)
        if settings.diag.enabled:
            self._diagnostics_port = listen(self._reactor, settings.diag.port, self._diagnostics, settings.diag.bind)
            _report("diagnostics server listening on port: {port}", port=settings.diag.port)

    def _reload(self) -> Reload:
        return Reload(
            source=self._source,
            settings=self._settings,
            registry=self._registry,
            pump=self._pump,
            site=self._site,
            diagnostics=self._diagnostics,
            certificates=self._certificates,
            levels=self._levels,
            metrics=self._metrics,
            vitals=self._vitals,
            notifier=self._notifier,
            now=self._reactor.seconds,
        )

    def _config_changed(self, sdk: Sdk, _old: Snapshot | None, new: Snapshot) -> None:
        self._metrics.config_applied(sdk.id)
        self._pump.publish(sdk.id, new)

    def _sdk_began(self, sdk: Sdk) -> None:
        """Show an SDK that is new, or whose key, source or mode is, on the status page, and make its hub."""
        offline = bool(sdk.plan.path)
        self._status.add(sdk.id, sdk.key, "offline" if offline else "online", "file" if offline else "remote")
        if sdk.id not in self._pump.hubs:
            self._pump.add(sdk.id, sdk.snapshot)

    def _sdk_ended(self, sdk: Sdk) -> None:
        self._status.remove(sdk.id)
        self._metrics.sdk_removed(sdk.id)
        self._pump.remove(sdk.id)

    def _end_streams(self, sdk: Sdk) -> None:
        """Let the clients of ``sdk`` come back: they were opened with other default attributes."""
        self._pump.remove(sdk.id)
        self._pump.add(sdk.id, sdk.snapshot)


@frozen
class Reports:
    """Tells status and metrics of each fetch."""

    status: Status
    metrics: Metrics

    def record(self, sdk_id: str, ok: bool, message: str) -> None:  # noqa: FBT001 - the Protocol's
        """Put a line on the status page."""
        self.status.record(sdk_id, ok, message)

    def fetched(self, sdk_id: str, outcome: str, seconds: float) -> None:
        """Measure a fetch."""
        self.metrics.fetched(sdk_id, outcome, seconds)


@frozen
class Serving:
    """The registry, as the readiness probe asks for it."""

    registry: Registry

    def __iter__(self) -> Iterator[tuple[str, bool, bool]]:
        """Yield SDK id, whether its first fetch is still under way, and whether it has a config."""
        for sdk in self.registry.sdks:
            yield sdk.id, sdk.loading, sdk.snapshot is not None


def _report(text: str, **fields: object) -> None:
    """Log a line of the life cycle, which is written at every level."""
    _log.info(text, report=True, **fields)
