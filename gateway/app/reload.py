"""Reload at SIGHUP: all settings are applied or none; streams of unchanged SDKs stay open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

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
    from gateway.history import History
    from gateway.identity import KeyFetcher
    from gateway.serving import Server
    from gateway.settings import Settings, SettingsFile
    from gateway.telemetry import DiagnosticsSite, Metrics, ProcessStatus, SystemdNotifier
    from gateway.upstream import Registry

_log = component_logger("gateway")


@define
class Reload:
    """Applies the settings of ``source`` to all rooms; ``settings`` are those of the start."""

    source: SettingsFile
    settings: Settings
    registry: Registry
    server: Server
    database: SharedDatabase
    history: History
    issuer_keys: KeyFetcher
    diagnostics: DiagnosticsSite
    levels: LogLevels
    metrics: Metrics
    process_status: ProcessStatus
    notifier: SystemdNotifier
    check_problems: Callable[[], None]
    summary: Callable[[], str]
    now: Callable[[], float]

    def __call__(self) -> None:
        """Read, check and apply the settings, or refuse them without a change; log, status and metrics show which.

        They do once all clients are served under the new settings.  systemd is notified in every case.
        """
        self.notifier.reloading()
        problems = ["internal error; the log has the details"]
        try:
            problems = self._apply()
        finally:
            self.server.settled().addCallback(lambda _: self._report(problems))

    def _report(self, problems: list[str]) -> None:
        for problem in problems:
            _log.error("reload refused, the old settings stay: {problem}", problem=problem)
        try:
            self.process_status.reloaded(self.now(), problems)
            self.metrics.reloaded(not problems, self.now())
            self.metrics.restart_pending(bool(self.process_status.restart_pending))
            self.check_problems()
        finally:
            self.notifier.ready("reload refused, see the log" if problems else self.summary())

    def _apply(self) -> list[str]:
        """Return the problems for which the settings were refused."""
        loaded = self.source.read()
        if loaded.settings is None:
            return [str(problem) for problem in loaded.problems]
        settings = loaded.settings
        # The checks return what they have read and opened, so that nothing below can fail.
        try:
            apply_to_server = self.server.check(settings)
            network = self.registry.check(settings)
            issuers = self.issuer_keys.check(settings)
            database, trust = self.database.check(settings)  # last: a database that it opens has to be used
        except (ExporterUnusable, OutboxUnusable, TlsError, TrustError, ValueError) as error:
            return [str(error)]
        apply_to_server()
        # Before the registry, so that the first changes of a new SDK are delivered by the new settings.
        self.database.configure(settings, database, trust)
        self.registry.reconfigure(settings, network)
        self.issuer_keys.configure(issuers)
        self.history.configure(settings)
        self.diagnostics.reconfigure(settings)
        self.levels.replace(LogLevels.from_settings(settings))
        for warning in loaded.warnings:
            _log.warn("settings: {warning}", warning=str(warning))
        pending = restart_needed(self.settings, settings)
        self.process_status.restart_needed(pending)
        if pending:
            _log.warn("reloaded, but these take a restart: {options}", options=", ".join(pending))
        _log.info("settings reloaded", report=True)
        return []
