"""The webhooks of the settings, as the rest of the gateway uses them.

record ──► Recorder ──► database ──► Courier ──► receivers
              └── fires after the commit, or after 250 ms
"""

from __future__ import annotations

import shlex
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from gateway import __version__
from gateway.deferreds import supervise
from gateway.http_client import MakeSender, make_sender
from gateway.logger import component_logger
from gateway.storage import STORE_ERRORS
from gateway.text import ProblemText, iso
from gateway.webhooks.admin import WebhookAdmin
from gateway.webhooks.attribution import Attribution
from gateway.webhooks.cluster import Cluster
from gateway.webhooks.composer import Composer
from gateway.webhooks.delivery.courier import Courier
from gateway.webhooks.delivery.endpoint_health import FAILING_LONG
from gateway.webhooks.delivery.endpoint_policy import EndpointPolicy
from gateway.webhooks.formats import attribution_body, parse_attribution
from gateway.webhooks.maintenance import Maintenance
from gateway.webhooks.recorder import ConfigOrder, Recorder
from gateway.webhooks.store.outbox import Outbox

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from gateway.flags import Snapshot
    from gateway.http_client import Reactor
    from gateway.settings import Settings
    from gateway.storage import OutboxStore
    from gateway.webhooks.formats import Alert, Author
    from gateway.webhooks.metrics import WebhookMetrics

_log = component_logger("gateway")


class Webhooks:
    """Records changes and delivers messages about them, from the first ``configure`` with a database on.

    ``wall`` returns Unix seconds; ``on_change`` is called with the SDK id, the new config and the number of a change
    once it is recorded, usually before the config is published.
    """

    def __init__(
        self,
        reactor: Reactor,
        settings: Settings,
        *,
        wall: Callable[[], float],
        rng: random.Random,
        hostname: str,
        metrics: WebhookMetrics,
        sender: MakeSender = make_sender,
        on_change: Callable[[str, Snapshot, int], None] = lambda _sdk_id, _new, _number: None,
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self._rng = rng
        self._metrics = metrics
        self._sender = sender
        self._on_change = on_change
        self.order: ConfigOrder | None = None
        """Set it before the first ``configure`` where several nodes may record the same changes."""
        self._composer = Composer(settings, hostname)
        self._latest: dict[str, Snapshot] = {}  # by SDK; recorded when a reload opens the database
        self._attribution = Attribution()
        self._running: _Running | None = None

    @property
    def admin(self) -> WebhookAdmin | None:
        """Lists and retries deliveries for the diagnostics port; None without a database."""
        return None if self._running is None else self._running.admin

    def configure(self, settings: Settings, database: OutboxStore | None) -> Deferred[None]:
        """Apply settings, at start and at each reload; ``database`` is open, and the same one in all later calls.

        The Deferred fires when messages are sent as the settings demand, and never fails: what a busy database refuses
        is logged, and repeated by the next call.
        """
        self._composer.settings = settings
        for sdk_id in [sdk_id for sdk_id in self._latest if sdk_id not in settings.sdks]:
            del self._latest[sdk_id]
        if database is None:
            return succeed(None)
        if self._running is None:
            self._running = self._start(database)
        applied = Deferred.fromCoroutine(self._apply(self._running, settings))
        return supervise(applied, _log, "applying the webhook settings failed")

    def attribute(self, sdk_id: str, body: bytes) -> Callable[[], None]:
        """Take the author of changes from an authenticated hook's body; see ``Attribution.add``."""
        return self._attribution.add(sdk_id, body)

    def credit(self, sdk_id: str, etag: str) -> tuple[str, str]:
        """Return author and notes of the config that is published now; each is empty when unknown."""
        author, notes = self._author_and_notes(sdk_id, etag)
        return "" if author is None else author.display_name, notes

    def credit_to_share(self, sdk_id: str) -> str:
        """Return author and notes of a change that is fetched now, for other nodes; empty when unknown."""
        return attribution_body(*self._attribution.of(sdk_id))

    def record(self, sdk_id: str, new: Snapshot) -> Deferred[None]:
        """Record that ``new`` is now the config of an SDK; publish it when the Deferred fires.

        It fires when the change is on disk, after 250 ms at the latest, and never fails.  A change that could not be
        recorded is part of the next one: that one begins at the last config that was recorded.
        """
        self._latest[sdk_id] = new
        if self._running is None:
            return succeed(None)
        return self._running.recorder.record(sdk_id, new, *self._author_and_notes(sdk_id, new.etag))

    def alert(self, alert: Alert) -> None:
        """Send an alert to the endpoints that subscribe; without a database nothing is sent."""
        if self._running is not None:
            self._running.recorder.alert(alert)

    def leases(self) -> dict[str, Any] | None:
        """Return which node delivers to which endpoint as a new dict for JSON; None without a shared outbox."""
        cluster = None if self._running is None else self._running.cluster
        return None if cluster is None else cluster.document()

    def problems(self) -> list[str]:
        """Return a sentence for each problem that an operator should know; its text is stable while it lasts."""
        if self._running is None:
            return []
        found: list[str] = []
        recorder, courier = self._running.recorder, self._running.courier
        cluster = self._running.cluster
        error = recorder.database_error or courier.database_error or ("" if cluster is None else cluster.error)
        if error:
            found.append(ProblemText(f"the outbox cannot be written: {error}", "flaggateway check"))
        if recorder.full:
            text = "the outbox has reached outbox.max_bytes, new messages are refused"
            found.append(ProblemText(text, "flaggateway deliveries list --state pending"))
        for name, why in courier.unusable.items():
            found.append(ProblemText(f"endpoint {name} cannot be called: {why}", "flaggateway check"))
        found += [] if cluster is None else cluster.problems()
        now = self._wall()
        for name, since in courier.failing().items():
            if not 0 <= now - since <= FAILING_LONG:  # a clock that was set back must not hide it
                text = f"endpoint {name} has accepted no message since {iso(since)}"
                found.append(ProblemText(text, f"flaggateway deliveries list --endpoint {shlex.quote(name)}"))
        return found

    async def stop(self) -> None:
        """Finish changes that wait and attempts in flight within some seconds; ``record`` then does nothing.

        The database may be closed afterwards.
        """
        running = self._running
        if running is None:
            return
        running.maintenance.stop()
        if running.cluster is not None:
            running.cluster.drain()
        await running.recorder.stop()
        self._running = None
        running.admin.stop()
        await running.courier.stop()
        if running.cluster is not None:
            await running.cluster.leave()

    def _author_and_notes(self, sdk_id: str, etag: str) -> tuple[Author | None, str]:
        """Return what another node has stored with the config, and else what the hooks of this node name."""
        shared = "" if self.order is None else self.order.shared_credit(sdk_id, etag)
        return parse_attribution(shared.encode()) if shared else self._attribution.of(sdk_id)

    async def _apply(self, running: _Running, settings: Settings) -> None:
        names = [endpoint.name for endpoint in settings.webhooks]
        running.admin.names = names
        running.courier.configure([EndpointPolicy(each, self._composer, self._rng) for each in settings.webhooks])
        self._metrics.endpoints(names)
        if running.cluster is not None:
            # Nodes with other settings may run, whose messages this one must not judge yet: see ``_agreed``.
            running.cluster.configure(names, _digest(settings))
            return
        try:
            await running.outbox.follow_clock_of_last_run()
            running.courier.restore_failing(await running.outbox.failing())
            skipped = await running.outbox.skip_orphans(names)
            changed = await running.recorder.record_sdks(tuple(settings.sdks))
            await running.maintenance.measure()
        except STORE_ERRORS as error:
            _log.warn("the outbox cannot be written: {reason}", reason=str(error))
            return
        if skipped:
            _log.warn("{count} messages for endpoints that were removed are skipped", count=skipped)
        running.courier.wake(changed)

    async def _agreed(self) -> None:
        """Do what depends on the settings of all nodes."""
        running, settings = self._running, self._composer.settings
        if running is None:
            return
        skipped = await running.outbox.skip_orphans([endpoint.name for endpoint in settings.webhooks])
        await running.recorder.record_sdks(tuple(settings.sdks))
        if skipped:
            _log.warn("{count} messages for endpoints that were removed are skipped", count=skipped)

    def _start(self, database: OutboxStore) -> _Running:
        shared, cluster = database.shared, None
        if shared is None:
            wall = self._wall
            outbox = Outbox(database, wall)
            courier = Courier(self._reactor, wall, outbox, self._metrics, self._sender)
        else:
            wall = shared.wall
            cluster = Cluster(
                self._reactor,
                database,
                shared,
                lambda: Deferred.fromCoroutine(self._agreed()),
                self._composer.hostname,
                __version__,
                self._metrics,
            )
            outbox = Outbox(database, wall, recording=database.recording, fence=cluster.fence)
            courier = Courier(self._reactor, wall, outbox, self._metrics, self._sender, cluster.may_send)
            courier.assign(())
            cluster.courier, cluster.outbox = courier, outbox
        recorder = Recorder(
            self._reactor,
            wall,
            database.recording,
            self._composer,
            self._metrics,
            courier.wake,
            self._on_change,
            None if shared is None else self.order,
        )
        for sdk_id, snapshot in self._latest.items():
            recorder.record(sdk_id, snapshot, None, "")
        admin = WebhookAdmin(self._reactor, database, wall, courier.wake_all)
        admin.start()
        maintenance = Maintenance(
            self._reactor, wall, self._rng, outbox, courier, self._composer, self._metrics, cluster
        )
        maintenance.start()
        if cluster is not None:
            cluster.start()
        return _Running(outbox, courier, recorder, admin, maintenance, cluster)


def _digest(settings: Settings) -> str:
    """Return a digest of what decides which messages are skipped, and which SDKs are new."""
    names = [sorted(endpoint.name for endpoint in settings.webhooks), sorted(settings.sdks)]
    return sha256(msgspec.json.encode(names)).hexdigest()[:16]


@frozen
class _Running:
    """Everything that works on the open database."""

    outbox: Outbox
    courier: Courier
    recorder: Recorder
    admin: WebhookAdmin
    maintenance: Maintenance
    cluster: Cluster | None
