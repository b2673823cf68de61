"""The SQLite file at ``outbox.path``, which webhooks and exporter share: opened once, when the first of them needs it.

    settings ──► SharedDatabase ──► Database ──► Webhooks, ExportPipeline
                               └──► PostgresStore ──► Webhooks, where ``outbox.url`` is set

An outbox that is open records changes even where only the exporter needed it, and stays open until the gateway stops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from gateway.logger import component_logger
from gateway.storage import Database, check_shared, open_shared

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.export import ExportPipeline
    from gateway.http_client import Reactor, Trust
    from gateway.settings import Outbox, Settings
    from gateway.storage import OutboxStore
    from gateway.webhooks import Webhooks

_log = component_logger("gateway")


class SharedDatabase:
    """Opens and closes the file at ``path``; applies settings to ``webhooks`` and ``exporter``, which write to it.

    With the URL of ``outbox`` webhooks write to that database, as the node ``name`` of those that share it.
    """

    def __init__(
        self,
        reactor: Reactor,
        path: Path,
        webhooks: Webhooks,
        exporter: ExportPipeline,
        outbox: Outbox | None = None,
        name: str = "node",
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._webhooks = webhooks
        self._exporter = exporter
        self._outbox = outbox
        self._name = name
        self._database: Database | None = None
        self._shared: OutboxStore | None = None
        self._shared_used = False  # webhooks use it

    def check(self, settings: Settings) -> tuple[Database | None, Trust | None]:
        """Check the settings and open what they need; the result is for ``configure``.

        Returns the open database if they are the first to need it, which the caller closes if it does not call
        ``configure``, and the exporter's certificate authorities.  Blocks for some milliseconds; creates missing files.

        :raises ExporterUnusable: if the exporter cannot work with the settings
        :raises TrustError: if the exporter's CA file cannot be used
        :raises OutboxUnusable: if the database cannot be opened
        """
        trust = self._exporter.check(settings)
        url = "" if self._outbox is None else self._outbox.url
        if url and self._shared is None:
            check_shared(url)
        if self._database is not None or not ((settings.webhooks and not url) or settings.exporter.spools):
            return None, trust
        database = Database(self._reactor, self._path)
        database.open()
        return database, trust

    def configure(self, settings: Settings, opened: Database | None, trust: Trust | None) -> Deferred[None]:
        """Apply checked settings at start and at each reload; ``opened`` and ``trust`` are what ``check`` returned.

        Changes are recorded from this call on.  The Deferred fires when the settings are applied, and never fails: what
        a busy database refuses is logged, and repeated at the next start or reload.  ``outbox.path`` needs a restart.
        """
        if opened is not None:
            self._database = opened
            _log.info("outbox open: {path}", path=str(self._path))
        self._exporter.configure(settings, self._database, trust)
        if self._outbox is None or not self._outbox.url:
            return self._webhooks.configure(settings, self._database)
        self._shared_used = self._shared_used or bool(settings.webhooks)
        return self._webhooks.configure(settings, self.open_shared() if self._shared_used else None)

    def open_shared(self) -> OutboxStore | None:
        """Return the open database at ``outbox.url``, which nodes without webhooks use for configs; None without one.

        ``check`` has accepted the settings.
        """
        if self._shared is None and self._outbox is not None and self._outbox.url:
            self._shared = self._open_shared(self._outbox)
        return self._shared

    def stop(self) -> Deferred[None]:
        """Stop exporter and webhooks, both at once and within some seconds; then close the database."""
        return Deferred.fromCoroutine(self._stop())

    def _open_shared(self, outbox: Outbox) -> OutboxStore:
        store = open_shared(
            self._reactor, outbox.url, listen_url=outbox.listen_url, schema=outbox.schema, name=self._name
        )
        _log.info("outbox on PostgreSQL in schema {schema}", schema=outbox.schema)
        return store

    async def _stop(self) -> None:
        exported: Deferred[None] = Deferred.fromCoroutine(self._exporter.stop())
        await self._webhooks.stop()
        await exported
        if self._shared is not None:
            await self._shared.close()
        if self._database is not None:
            await self._database.close()
