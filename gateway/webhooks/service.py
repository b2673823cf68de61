"""Outbound as the gateway holds it: opened when something is to be told, and only then.

record ──► Recorder ──► database ──► Courier ──► receivers
              └── published after the commit, or after 250 ms
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import supervise
from gateway.export.metrics import ExportMetrics, Untold
from gateway.export.pipeline import Exports
from gateway.http_client.post import MakeSender, make_sender
from gateway.logger import component_logger
from gateway.storage import Database, check_database, outbox_path
from gateway.text.timestamps import iso
from gateway.webhooks.admin import Desk
from gateway.webhooks.attribution import Credits
from gateway.webhooks.delivery.courier import Courier
from gateway.webhooks.delivery.endpoint_health import FAILING_LONG
from gateway.webhooks.delivery.endpoint_policy import EndpointRules, Voice
from gateway.webhooks.maintenance import Upkeep
from gateway.webhooks.metrics import OutboundMetrics, Uncounted
from gateway.webhooks.recorder import Recorder
from gateway.webhooks.store import history
from gateway.webhooks.store.message_table import add_messages
from gateway.webhooks.store.outbox import Outbox

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from gateway.export import Parcel
    from gateway.flags import Snapshot
    from gateway.settings import Endpoint, Settings
    from gateway.webhooks.delivery.endpoint_queue import Rules

_log = component_logger("gateway")


class Outbound:
    """Everything that leaves the gateway; ``wall`` gives seconds since 1970.

    Without a web hook and an exporter in the settings nothing is opened, and ``record`` fires at once.
    """

    def __init__(  # noqa: PLR0913 - keywords, and each one a seam
        self,
        reactor: Any,
        settings: Settings,
        *,
        wall: Callable[[], float],
        rng: random.Random,
        environ: Mapping[str, str],
        home: Path,
        hostname: str,
        metrics: OutboundMetrics | None = None,
        export_metrics: ExportMetrics | None = None,
        sender: MakeSender = make_sender,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._wall = wall
        self._rng = rng
        self._path = outbox_path(settings.outbox.path, environ, home)
        self._metrics: OutboundMetrics = metrics if metrics is not None else Uncounted()
        self._sender = sender
        self._voice = Voice(settings, hostname)
        self._exports = Exports(reactor, wall, rng, hostname, export_metrics or Untold(), sender)
        self._database: Database | None = None
        self._outbox: Outbox | None = None
        self._recorder: Recorder | None = None
        self._courier: Courier | None = None
        self._desk: Desk | None = None
        self._upkeep: Upkeep | None = None
        self._latest: dict[str, Snapshot] = {}  # what each SDK serves: told when the outbox is opened later
        self._credits = Credits()

    @property
    def open(self) -> bool:
        """Whether a database is open."""
        return self._recorder is not None

    @property
    def desk(self) -> Desk | None:
        """Who answers about deliveries and changes; None while no database is open."""
        return self._desk

    @property
    def path(self) -> Path:
        """The database's file, whether it is open or not."""
        return self._path

    def start(self) -> Deferred[None]:
        """Open what the settings ask for; raises ``OutboxUnusable``, with nothing opened; fires when messages go out.

        Changes are recorded from this call on.  The Deferred never errs: what a busy database does not take is logged,
        and made up for at the next start or reload.
        """
        if not _wanted(self._settings):
            self._exports.configure(self._settings, None)
            return succeed(None)
        self._open()
        self._exports.configure(self._settings, self._database)
        return self._configured()

    def stop(self) -> Deferred[None]:
        """Let attempts in flight and changes that wait end, within some seconds; then close the database.

        Afterwards ``record`` fires at once and writes nothing.
        """
        return Deferred.fromCoroutine(self._close())

    def credit(self, sdk_id: str, body: bytes) -> Callable[[], None]:
        """Read from an authenticated hook's body who changed the config; see ``Credits.add``."""
        return self._credits.add(sdk_id, body)

    def record(self, sdk_id: str, new: Snapshot) -> Deferred[None]:
        """Record that ``new`` is now the config of an SDK; publish it when this fires.

        Fires when it is on disk, after 250 ms at the latest, and never errs.  What could not be recorded is told later,
        as one change from the last config that was.
        """
        self._latest[sdk_id] = new
        if self._recorder is None:
            return succeed(None)
        return self._recorder.record(sdk_id, new, *self._credits.of(sdk_id))

    def check(self, settings: Settings) -> None:
        """Raise ``OutboxUnusable`` or ``ExporterUnusable`` if ``reconfigure`` would; the files exist afterwards."""
        self._exports.check(settings)
        if _wanted(settings) and not self.open:
            check_database(self._path)

    def reconfigure(self, settings: Settings) -> Deferred[None]:
        """Go over to other settings; fires when they hold.  ``outbox.path`` takes a restart.

        Raises ``OutboxUnusable`` when the first web hook asks for a database that cannot be opened.
        """
        self._settings = self._voice.settings = settings
        for sdk_id in [sdk_id for sdk_id in self._latest if sdk_id not in settings.sdks]:
            del self._latest[sdk_id]
        if self._recorder is None:
            return self.start()
        self._exports.configure(settings, self._database)
        return self._configured()

    def keep(self, parcel: Parcel) -> Deferred[None]:
        """Keep evaluations on disk, if they are exported; fires when they are there or counted as dropped."""
        return self._exports.keep(parcel)

    def problems(self) -> list[str]:
        """Return what an operator should look at, one sentence each; the same one for as long as it is so."""
        found = self._exports.problems()
        if self._recorder is None or self._courier is None:
            return found
        trouble = self._recorder.trouble or self._courier.trouble
        if trouble:
            found.append(f"the outbox cannot be written: {trouble}")
        if self._recorder.full:
            found.append("the outbox has reached outbox.max_bytes, new messages are refused")
        found += [f"endpoint {name} cannot be called: {why}" for name, why in self._courier.unusable.items()]
        now = self._wall()
        for name, since in self._courier.failing().items():
            if now - since > FAILING_LONG:
                found.append(f"endpoint {name} has taken nothing since {iso(since)}")
        return found

    def _open(self) -> None:
        database = Database(self._reactor, self._path)
        database.open()
        self._database = database
        self._outbox = Outbox(database, self._wall)
        self._courier = Courier(self._reactor, self._wall, self._outbox, self._metrics, self._sender)
        self._recorder = Recorder(
            self._reactor,
            self._wall,
            database,
            self._voice,
            lambda: self._settings.outbox.max_bytes,
            self._courier.wake,
            self._metrics.recording,
        )
        self._desk = Desk(self._reactor, self._path, database, self._wall, self._courier.wake_all)
        self._desk.start()
        for sdk_id, snapshot in self._latest.items():
            self._recorder.record(sdk_id, snapshot, None, "")
        recorder = self._recorder
        self._upkeep = Upkeep(
            self._reactor, self._wall, self._rng, self._outbox, self._courier, self._voice, self._metrics,
            lambda: not recorder.trouble,
        )  # fmt: skip
        self._upkeep.start()
        _log.info("outbox open: {path}", path=str(self._path))

    def _configured(self) -> Deferred[None]:
        return supervise(Deferred.fromCoroutine(self._configure()), _log, "webhooks could not be set up")

    async def _configure(self) -> None:
        assert self._outbox is not None
        assert self._courier is not None
        settings = self._settings
        names = [endpoint.name for endpoint in settings.webhooks]
        rules: list[tuple[Endpoint, Rules]] = [
            (endpoint, EndpointRules(endpoint, self._voice, self._rng)) for endpoint in settings.webhooks
        ]
        assert self._desk is not None
        assert self._upkeep is not None
        self._desk.names = names
        self._courier.configure(rules, settings.delivery)
        self._metrics.endpoints(names)
        try:
            self._courier.remember(await self._outbox.failing())
            skipped = await self._outbox.skip_orphans(names)
            woken = await self._tell_sdks()
            await self._upkeep.measure()
        except sqlite3.Error as error:
            _log.warn("the outbox cannot be written: {reason}", reason=str(error))
            return
        if skipped:
            _log.warn("{count} messages for endpoints that were removed are skipped", count=skipped)
        self._courier.wake(woken)

    def _tell_sdks(self) -> Deferred[Collection[str]]:
        """Tell of the SDKs that came into the settings, or left them, since they were last looked at."""
        assert self._database is not None
        voice, now, configured = self._voice, self._wall(), tuple(self._settings.sdks)

        def work(connection: sqlite3.Connection) -> Collection[str]:
            ids = voice.numbers(connection, now)
            acts = history.sdk_acts(connection, configured)
            messages = [each for sdk_id, act, count in acts for each in voice.tell_sdk(sdk_id, act, count, now, ids)]
            return add_messages(connection, messages, None, room=True)

        return self._database.run(work)

    async def _close(self) -> None:
        # The database goes last, since all others write to it; what is exported ends beside the rest, not before it.
        if self._upkeep is not None:
            self._upkeep.stop()
        exported: Deferred[None] = Deferred.fromCoroutine(self._exports.stop())
        if self._recorder is None or self._courier is None or self._database is None:
            await exported
            return
        await self._recorder.idle()
        self._recorder.stop()
        self._recorder = None
        if self._desk is not None:
            self._desk.stop()
            self._desk = None
        await self._courier.stop()
        await exported
        await self._database.close()


def _wanted(settings: Settings) -> bool:
    """Whether a database is needed."""
    return bool(settings.webhooks) or settings.exporter.spools
