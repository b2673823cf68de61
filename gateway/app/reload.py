"""SIGHUP: the settings are read again and applied, all or nothing; a stream whose SDK did not change stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from gateway.deferreds import supervise
from gateway.export import ExporterUnusable
from gateway.http_client import TrustError
from gateway.logger import component_logger
from gateway.settings import restart_needed
from gateway.storage import OutboxUnusable
from gateway.telemetry import LogLevels
from gateway.web.server import TlsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app.shared_database import SharedDatabase
    from gateway.serving import Server
    from gateway.settings import Settings, SettingsFile
    from gateway.telemetry import DiagnosticsSite, Metrics, ProcessStatus, SystemdNotifier
    from gateway.upstream import Registry

_log = component_logger("gateway")


@define
class Reload:
    """Everything a reload reaches; ``settings`` are those the process was started with."""

    source: SettingsFile
    settings: Settings
    registry: Registry
    server: Server
    database: SharedDatabase
    diagnostics: DiagnosticsSite
    levels: LogLevels
    metrics: Metrics
    process_status: ProcessStatus
    notifier: SystemdNotifier
    summary: Callable[[], str]
    now: Callable[[], float]

    def __call__(self) -> None:
        """Read, validate, apply; a refused file changes nothing, and log, status and metrics say why.

        They say so once what was applied holds for every client.
        """
        self.notifier.reloading()
        problems = self._apply()
        self.server.settled().addCallback(lambda _: self._tell(problems))

    def _tell(self, problems: list[str]) -> None:
        for problem in problems:
            _log.error("reload refused, the old settings stay: {problem}", problem=problem)
        self.process_status.reloaded(self.now(), problems)
        self.metrics.reloaded(not problems)
        self.notifier.ready("reload refused, see the log" if problems else self.summary())

    def _apply(self) -> list[str]:
        loaded = self.source.read()
        if loaded.settings is None:
            return [str(problem) for problem in loaded.problems]
        settings = loaded.settings
        # All that can refuse comes first, ``server.apply`` last among it; what follows was checked and does not fail.
        database = None
        try:
            self.server.check(settings)
            network = self.registry.check(settings)
            database = self.database.check(settings)
            self.server.apply(settings)
        except (ExporterUnusable, OutboxUnusable, TlsError, TrustError, ValueError) as error:
            if database is not None:
                supervise(database.close(), _log, "closing the outbox failed")
            return [str(error)]
        # Before the registry, so that the first changes of a new SDK are delivered by the new settings.
        self.database.configure(settings, database)
        self.registry.reconfigure(settings, network)
        self.diagnostics.reconfigure(settings)
        self.levels.replace(LogLevels.from_settings(settings))
        for warning in loaded.warnings:
            _log.warn("settings: {warning}", warning=str(warning))
        pending = restart_needed(self.settings, settings)
        if pending:
            _log.warn("reloaded, but these take a restart: {options}", options=", ".join(pending))
        _log.info("settings reloaded", report=True)
        return []
