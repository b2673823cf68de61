"""The running gateway: it wires the rooms together, opens what they need, and drains.

    Registry ──► _config_changed ──► Server ──► clients
        ▲                              │
        └──────── refresh, hook ───────┘

``startService`` opens sockets, watchers and timers, or exits with one clear line; ``stopService`` drains.
What a reload changes is in ``gateway.app.reload``.
"""

from __future__ import annotations

import os
import random
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver
from twisted.python.threadpool import ThreadPool

from gateway import __version__
from gateway.app.api import build_console
from gateway.app.caches import SharedConfigs, file_cache
from gateway.app.config_alert import config_alert
from gateway.app.config_history import ConfigHistory
from gateway.app.fetch_reporter import FetchReporter
from gateway.app.foresight import foresee
from gateway.app.reload import Reload
from gateway.app.shared_database import SharedDatabase
from gateway.app.signals import catch_signals
from gateway.clocks import wall_clock
from gateway.deferreds import settle_all
from gateway.export import ExporterUnusable, ExportPipeline
from gateway.http_client import TrustError
from gateway.identity import IssuerKeys, KeyFetcher
from gateway.logger import component_logger
from gateway.serving import LocalServer, listen, listen_error_text
from gateway.storage import OutboxUnusable, outbox_path
from gateway.telemetry import (
    HealthWarnings,
    LagMonitor,
    LogLevels,
    LogWriter,
    Metrics,
    ProcessStatus,
    Readiness,
    SdkState,
    Status,
    SystemdNotifier,
    dropped_line,
    log_observer,
    make_diagnostics_site,
    open_log_file,
    raise_file_limit,
    reopen_log_file,
)
from gateway.upstream import Registry, Sdk
from gateway.web import WebState
from gateway.web.server import TlsError
from gateway.webhooks import Webhooks

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

    from gateway.console import Console
    from gateway.flags import Snapshot
    from gateway.serving import Server
    from gateway.settings import Loaded, Settings, SettingsFile

_log = component_logger("gateway")

CUT_SECONDS: Final = 1.0  # for each room to close after a second stop signal; what it leaves undone is on disk


class Gateway(Service):
    """The whole gateway, or what leads its workers; built by ``gateway.tap.makeService``, closed until started."""

    def __init__(self, reactor: Any, source: SettingsFile, loaded: Loaded, log_file: str = "") -> None:
        assert loaded.settings is not None
        settings = loaded.settings
        self.setName("flaggateway")
        self._reactor = reactor
        self._loaded = loaded
        self._settings = settings
        self._rng = random.Random()  # noqa: S311 - for jitter and the ids of tests; no secret is made of it
        self._diagnostics_port: IListeningPort | None = None  # closed last: a balancer asks it whether we are ready
        self._threads = ThreadPool(1, 1, name="files")
        # A pool of its own, so that a disk that hangs under the cache does not hold up local config files.
        self._cache_threads = ThreadPool(0, 1, name="configs")
        self._levels = LogLevels.from_settings(settings)
        self._log_writer = LogWriter(lambda count: dropped_line(settings.log.format, count))
        self._metrics = Metrics(reactor.seconds, __version__, wall_clock(reactor))
        self._metrics.take_dropped_lines_from(self._log_writer.take_dropped)
        self._process_status = ProcessStatus(__version__, time.time(), lambda: self._server.stream_count)
        self._metrics.started(self._process_status.started)
        self._status = Status(wall_clock(reactor), self._process_status)
        host = socket.gethostname()
        self._history = ConfigHistory(reactor, settings, os.environ, self._metrics.history)
        self._webhooks = self._make_webhooks(settings, host)
        self._exporter = ExportPipeline(reactor, time.time, self._rng, host, self._metrics.evaluations)
        path = outbox_path(settings.outbox.path, os.environ, Path.home())
        self._database = SharedDatabase(
            reactor, path, self._webhooks, self._exporter, settings.outbox, settings.cluster.node or host
        )
        self._warnings = HealthWarnings(reactor, self._problems, self._problems_changed, self._logged_problems)
        self._cache = file_cache(settings, reactor, self._cache_threads, time.time)
        self._shared = SharedConfigs(reactor, settings, host, self._metrics, self._status)
        self._registry = Registry(
            reactor,
            settings,
            admit=self._admit,
            on_change=self._config_changed,
            on_added=self._sdk_began,
            on_removed=self._sdk_ended,
            on_attributes=lambda sdk: self._server.restart_streams(sdk),  # noqa: PLW0108 - the server is made below
            on_credit=self._webhooks.attribute,
            on_held=self._config_held,
            on_pinned=self._config_pinned,
            read_pin=self._history.read_pin,
            foresee=lambda sdk, new: foresee(reactor, self._server, sdk.id, new),
            on_problem=self._warnings.check,
            rng=self._rng,
            reporter=FetchReporter(self._status, self._metrics),
            environ=os.environ,
            in_thread=lambda read: deferToThreadPool(reactor, self._threads, read),
            cache=self._cache,
            shared=self._shared.cache,
            followed=self._shared.followed,
            credit_of=self._webhooks.credit_to_share,
            on_adopted=self._shared.adopted,
        )
        self._issuer_keys = self._make_key_fetcher()
        self._webhooks.order = self._registry  # which needs the webhooks itself
        self._server = self._make_server(settings)
        self._readiness = Readiness(self._sdk_states, self._status, lambda: self._server.serving)
        self._console = self._make_console(settings)
        self._diagnostics = make_diagnostics_site(
            self._status,
            self._metrics,
            self._readiness,
            settings,
            reactor,
            lambda: self._webhooks.admin,
            self._registry,
            api=self._console.api,
        )
        self._notifier = SystemdNotifier(os.environ, pid=os.getpid(), monotonic=time.monotonic)
        self._lag = LagMonitor(reactor, self._metrics.loop_lag)
        self._source = source
        self._log_file = log_file  # empty: standard output
        self._stopping = False
        self._drain_cut = False  # a second stop signal arrived
        self._cut_over: Deferred[None] = Deferred()  # fires ``CUT_SECONDS`` after it

    def setServiceParent(self, parent: Any) -> None:
        """Join the application, and give it our log format."""
        if hasattr(parent, "setComponent"):
            observer = log_observer(self._settings.log.format, self._levels, self._log_writer.put)
            parent.setComponent(ILogObserver, observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Open everything; on failure log one line and exit with status 1."""
        super().startService()
        settings = self._settings
        try:
            open_log_file(self._log_file)
        finally:
            self._log_writer.start()  # not earlier: twistd has forked before
        _report("flaggateway {version} starting", version=__version__)
        reload = self._reload()
        catch_signals(
            self._reactor,
            reload=lambda: reload() if self.running else None,
            stop=self._stop,
            reopen_log=self._reopen_log,
        )
        for warning in self._loaded.warnings:
            _log.warn("settings: {warning}", warning=str(warning))
        for note in self._loaded.notes:
            _report("settings: {note}", note=str(note))
        if settings.cache.file.enabled and self._cache is None:
            _log.warn(
                "the last good configs are not kept on disk, since this user has no home directory: set cache.file.path"
            )
        raise_file_limit(settings.http.sse.max_connections)
        try:
            issuers = self._issuer_keys.check(settings)
            database, trust = self._database.check(settings)
            self._server.open()
            self._open_diagnostics(settings)
            self._threads.start()
            self._cache_threads.start()
            self._history.start(settings)
            self._shared.start(self._database.open_shared())
            self._registry.start()
            self._issuer_keys.configure(issuers)
            # In the reactor turn in which the fetches start, so that the result of each one is recorded.
            self._database.configure(settings, database, trust)
        except (CannotListenError, ExporterUnusable, OutboxUnusable, TlsError, TrustError) as error:
            reason = listen_error_text(error, settings) if isinstance(error, CannotListenError) else str(error)
            _log.critical("not started: {reason}", reason=reason)
            raise SystemExit(1) from None
        self._server.start()
        self._lag.start()
        self._shared.show(self._registry, self._server, self._process_status, self._warnings.check)
        self._warnings.start()
        self._console.start()
        self._notifier.start_watchdog(self._reactor)
        # Only once the signal handlers are installed, since a signal may follow at once.
        self._reactor.callWhenRunning(self._notifier.ready, self._summary())

    def _stop(self) -> None:
        """Start the drain; a second call ends it at once, later ones change nothing."""
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()
        elif not self._drain_cut:
            self._drain_cut = True
            _report("second stop signal: closing without waiting for clients and endpoints")
            self._reactor.callLater(CUT_SECONDS, self._cut_over.callback, None)

    def _reopen_log(self) -> None:
        """Go on in a new log file, in every process; in the writer's thread, since a disk may hang."""

        def reopen() -> None:
            if reopen_log_file(self._log_file):
                self._reactor.callFromThread(self._server.log_to, self._log_file)

        self._log_writer.call(reopen)

    def stopService(self) -> Deferred[None]:
        """Drain: no new connections, streams ended over the drain window, requests in flight answered, then close."""
        super().stopService()
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        _report("shutdown requested, draining {streams} streams", streams=self._server.stream_count)
        self._readiness.stop()
        self._diagnostics.draining = True
        self._warnings.stop()
        self._notifier.stopping("draining")
        # Clients, then what feeds them, then what records: the last answers' evaluations are kept, and sent.
        await self._server.drain(lambda: self._drain_cut)
        await self._unless_cut(self._shared.leave())
        await self._unless_cut(self._registry.stop())
        await self._unless_cut(self._issuer_keys.stop())
        self._shared.stop()
        await self._unless_cut(self._database.stop())
        await self._unless_cut(self._history.stop())
        self._server.stop()
        self._lag.stop()
        await self._console.stop()
        if self._diagnostics_port is not None:
            await maybeDeferred(self._diagnostics_port.stopListening)
        self._threads.stop()
        self._cache_threads.stop()
        self._history.end_thread()
        self._notifier.stop_watchdog()
        _report("shutdown complete")
        self._log_writer.flush()  # also at exit, which a failed start of a worker cuts short

    async def _unless_cut(self, step: Deferred[Any]) -> None:
        """Wait until ``step`` has ended; after a second stop signal for at most ``CUT_SECONDS``."""
        await DeferredList([settle_all([step]), self._cut_over], fireOnOneCallback=True)

    def _make_key_fetcher(self) -> KeyFetcher:
        def use(url: str, body: bytes) -> None:
            self._server.use_issuer_keys(url, body)

        return KeyFetcher(self._reactor, os.environ, use=use, on_problem=self._warnings.check)

    def _make_webhooks(self, settings: Settings, host: str) -> Webhooks:
        webhooks = Webhooks(
            self._reactor,
            settings,
            wall=time.time,
            rng=self._rng,
            hostname=host,
            metrics=self._metrics.deliveries,
            on_change=self._history.history.note_change,
        )
        self._status.outbox = webhooks.leases
        return webhooks

    def _make_server(self, settings: Settings) -> Server:
        """Return what serves: this process, unless the settings ask for several."""
        count = worker_count(settings)
        if count > 1:
            from gateway.workers import Leader

            return Leader(
                self._reactor,
                self._registry,
                settings,
                count=count,
                environ=os.environ,
                metrics=self._metrics,
                status_document=self._status.document,
                keep=self._exporter.write,
                refresh_keys=self._issuer_keys.refresh,
            )
        return LocalServer(
            self._reactor,
            self._registry,
            settings,
            metrics=self._metrics,
            status_document=self._status.document,
            rng=self._rng,
            keep=self._exporter.write,
            state=WebState(issuers=IssuerKeys(self._issuer_keys.refresh)),
        )

    def _make_console(self, settings: Settings) -> Console:
        return build_console(
            self._reactor,
            settings,
            registry=self._registry,
            server=self._server,
            status=self._status,
            process=self._process_status,
            readiness=self._readiness,
            metrics=self._metrics,
            warnings=self._warnings,
            history=self._history.history,
            outbox=lambda: self._webhooks.admin,
        )

    def _open_diagnostics(self, settings: Settings) -> None:
        if settings.diag.enabled:
            self._diagnostics_port = listen(self._reactor, settings.diag.port, self._diagnostics, settings.diag.bind)
            _report("diagnostics server listening on port: {port}", port=settings.diag.port)

    def _reload(self) -> Reload:
        return Reload(
            source=self._source,
            settings=self._settings,
            registry=self._registry,
            server=self._server,
            database=self._database,
            history=self._history.history,
            issuer_keys=self._issuer_keys,
            diagnostics=self._diagnostics,
            levels=self._levels,
            metrics=self._metrics,
            process_status=self._process_status,
            notifier=self._notifier,
            check_problems=self._warnings.check,
            summary=self._summary,
            now=wall_clock(self._reactor),
        )

    def _summary(self) -> str:
        """Return what ``systemctl status`` shows while we serve."""
        serving, problems = f"serving {len(self._registry.sdks)} SDKs", self._warnings.current
        return serving if not problems else f"{serving}, degraded: {'; '.join(problems)}"

    def _sdk_states(self) -> list[SdkState]:
        return [SdkState(sdk.id, sdk.loading, sdk.snapshot is not None) for sdk in self._registry.sdks]

    def _problems(self) -> list[str]:
        parts = (self._registry, self._shared, self._exporter, self._webhooks, self._history.history, self._server)
        return [problem for part in (*parts, self._issuer_keys) for problem in part.problems()]

    def _logged_problems(self) -> list[str]:
        """Return the problems that are in the log already."""
        return [*self._process_status.problems(), *self._registry.fetch_problems()]

    def _problems_changed(self, problems: tuple[str, ...]) -> None:
        self._status.set_problems(problems)
        self._console.problems_changed(problems)
        self._notifier.status(self._summary())

    def _admit(self, sdk: Sdk, new: Snapshot) -> Deferred[None]:
        """Record a config before it is published; without a database, and after 250 ms, it is published at once."""
        return self._webhooks.record(sdk.id, new).addCallback(lambda _: self._server.prepare(sdk.id, new))

    def _config_changed(self, sdk: Sdk, old: Snapshot | None, new: Snapshot) -> None:
        self._metrics.config_applied(sdk.id)
        if self._registry.by_id(sdk.id) is sdk:
            self._console.config_applied(sdk.id, old, new)
            self._server.publish(sdk.id, new)
            if earlier := self._registry.tags_until(sdk.id, new.tag, first=old is None):
                self._server.know_configs(sdk.id, earlier)
            if old is None:
                known = self._history.history.earlier_tags(sdk.id, new.tag)
                known.addCallback(lambda tags: self._server.know_configs(sdk.id, tags) if tags else None)
            self._history.keep(sdk, new, self._webhooks.credit(sdk.id, new.etag))
        if (current := sdk.guard.current) is not None:
            self._metrics.flags_in_use(sdk.id, len(new.keys), len(current.faults))
            if current.degraded:
                before = None if old is None else old.etag
                self._webhooks.alert(config_alert("CONFIG_DEGRADED", sdk.id, before, current, current.degradation))
        self._warnings.check()

    def _config_held(self, sdk: Sdk) -> None:
        """Show that a config of ``sdk`` is held, or no longer is."""
        held = sdk.guard.held
        self._metrics.config_held(sdk.id, held is not None)
        self._console.config_held(sdk.id, None if held is None else held.reason)
        if held is not None:
            self._webhooks.alert(config_alert("CONFIG_HELD", sdk.id, held.replaces.etag, held.config, held.reason))
        self._warnings.check()

    def _config_pinned(self, sdk: Sdk) -> None:
        """Show that a config of ``sdk`` is pinned, or no longer is."""
        pinned = sdk.guard.pinned
        self._metrics.config_pinned(sdk.id, pinned is not None)
        tag, since = (None, 0.0) if pinned is None else (pinned.config.snapshot.tag, pinned.since)
        self._status.pinned(sdk.id, tag, since)
        self._warnings.check()

    def _sdk_began(self, sdk: Sdk) -> None:
        """Show an SDK that is new, or whose key, source or mode is, on the status page, and serve it."""
        plan = sdk.plan
        source_type = "file" if plan.path else "cache" if plan.follows else "remote"
        self._status.add(sdk.id, sdk.key, "online" if source_type == "remote" else "offline", source_type)
        self._metrics.sdk_added(sdk.id, lambda: self._status.is_healthy(sdk.id))
        self._server.add_sdk(sdk)

    def _sdk_ended(self, sdk: Sdk) -> None:
        self._status.remove(sdk.id)
        self._metrics.sdk_removed(sdk.id)
        self._server.remove_sdk(sdk.id)
        self._history.history.forget(sdk.id)


def worker_count(settings: Settings) -> int:
    """Return how many processes serve: those asked for, or one per CPU we may use; one where nothing is served."""
    if not settings.http.enabled:
        return 1
    return len(os.sched_getaffinity(0)) if settings.workers == "auto" else settings.workers


def _report(text: str, **fields: object) -> None:
    """Log a line of the life cycle, which is written at every level."""
    _log.info(text, report=True, **fields)
