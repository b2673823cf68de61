"""Writes changes to the outbox before they are published, in order; what a full disk refused is written later.

record ──► waiting ──► one transaction: change, numbers, messages, last config ──► the Deferreds fire
              ▲                       │ refused
              └── newest per SDK ◄────┘ after RETRY_SECONDS: one change from the last recorded config
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from gateway.deferreds import Timer, fire_within, supervise
from gateway.logger import component_logger
from gateway.storage import STORE_ERRORS
from gateway.webhooks.change_writer import ChangeWriter, Entry, Written
from gateway.webhooks.store import history, message_table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from gateway.flags import Snapshot
    from gateway.storage import Connection, Store
    from gateway.webhooks.composer import Composer
    from gateway.webhooks.formats import Alert, Author
    from gateway.webhooks.metrics import WebhookMetrics

_log = component_logger("gateway")

RECORD_SECONDS: Final = 0.25  # for which a change waits for the disk before it is published anyway
RETRY_SECONDS: Final = 1.0  # between two tries of a database that is full or locked
BATCH: Final = 50  # changes in one transaction: bounds how long the result of an attempt waits to be recorded
ROUNDS: Final = 3  # in which a config is confirmed while other nodes go on recording
CONFIRM_AGAIN: Final = 5.0  # seconds until a config is fetched again to confirm it, after a fetch that failed
WAITING_LIMIT: Final = 2000  # changes that wait for a slow disk; beyond it the changes of one SDK become one


class ConfigOrder(Protocol):
    """The order in which several nodes use the configs of an SDK."""

    def confirm(self, sdk_id: str) -> Deferred[bool]:
        """Fetch the config once more; fires with whether that succeeded."""

    def placed(self, sdk_id: str, etag: str) -> tuple[str, int] | None:
        """Return where the config of this ETag stands: key and version; None if it is in no order."""

    def shared_credit(self, sdk_id: str, etag: str) -> str:
        """Return who changed the config of this ETag, if another node has stored that: the body of a hook call."""


class Recorder:
    """The only writer of changes, or one of several that share a database.

    Then ``order`` is given.  Any node records what has a place in it, each config once and in that order.
    A config without a place is recorded by compare-and-set: only over the version that this node saw last.  If another
    node has recorded something else meanwhile, the SDK's config is fetched again; what is still the newest one after
    that is recorded over the other node's.

    ``on_messages`` is called with the endpoints that got new messages, ``on_change`` with the SDK, the new config and
    the number of each recorded change.
    """

    def __init__(  # noqa: PLR0917 - one per part
        self, clock: IReactorTime, wall: Callable[[], float], store: Store, composer: Composer, metrics: WebhookMetrics,
        on_messages: Callable[[Collection[str]], None], on_change: Callable[[str, Snapshot, int], None],
        order: ConfigOrder | None = None,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._wall = wall
        self._store = store
        self._composer = composer
        self._metrics = metrics
        self._on_messages = on_messages
        self._on_change = on_change
        self._order = order
        self._versions: dict[str, int] = {}  # the last ones that this node has recorded, or found recorded
        self._newest: dict[str, Snapshot] = {}  # the latest of ``record``, to drop what is confirmed too late
        self._waiting: list[Entry] = []
        self._configs: dict[str, Snapshot] = {}  # the last recorded ones
        self._busy = False  # a transaction runs, or the recorder has stopped
        self._singly = 0  # so many of the waiting entries get a transaction of their own
        self._retry = Timer(clock)  # active while the database refuses
        self._idle: list[Deferred[None]] = []
        self._stopped = False
        self.database_error = ""  # why nothing can be recorded; empty while it can
        self.full = False  # whether the latest messages were refused because of ``outbox.max_bytes``
        metrics.recording(True)

    def record(self, sdk_id: str, new: Snapshot, author: Author | None, notes: str) -> Deferred[None]:
        """Record that ``new`` is the config of an SDK; fires when it is on disk, or after 250 ms; never fails.

        Changes are written in the order of the calls.  After a refusal, or with a long queue, all changes of one SDK
        become one.
        """
        recorded: Deferred[None] = Deferred()
        self._newest[sdk_id] = new
        place = None if self._order is None else self._order.placed(sdk_id, new.etag)
        self._waiting.append(Entry(sdk_id, new, author, notes, self._wall(), [recorded], place=place))
        if len(self._waiting) > WAITING_LIMIT:
            self._waiting = _merged(self._waiting)
        self._write_next()
        return fire_within(self._clock, recorded, RECORD_SECONDS)

    def record_sdks(self, configured: Collection[str]) -> Deferred[list[str]]:
        """Record which SDKs the settings have gained and lost since the last call, also one of an earlier run.

        Fires with the endpoints that got new messages; fails with one of ``STORE_ERRORS``.
        """
        composer, now = self._composer, self._wall()

        def work(connection: Connection) -> list[str]:
            ids = composer.numbers(connection, now)
            acts = history.update_sdks(connection, configured)
            messages = [each for sdk_id, act, count in acts for each in composer.sdk(sdk_id, act, count, now, ids)]
            return message_table.add_messages(connection, messages, None, room=True)

        return self._store.run(work)

    def alert(self, alert: Alert) -> Deferred[None]:
        """Store the messages about an alert; fires when they are on disk, and never fails."""
        messages = self._composer.alert(alert)
        if not messages:
            return succeed(None)

        def work(connection: Connection) -> list[str]:
            room = message_table.make_room(connection, self._composer.settings.outbox.max_bytes)
            return message_table.add_messages(connection, messages, None, room=room)

        stored = self._store.run(work).addCallback(self._on_messages)
        return supervise(stored, _log, "SDK {sdk_id}: {kind} could not be stored", sdk_id=alert.sdk_id, kind=alert.type)

    async def stop(self) -> None:
        """Record what waits, unless the database refuses it; the next start finds that as a difference."""
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        self._fire_idle()
        await idle
        self._retry.cancel()
        self._busy = self._stopped = True

    def _write_next(self) -> None:
        if self._busy or self._retry.active or not self._waiting:
            return
        self._busy = True
        count = 1 if self._singly else BATCH
        self._singly = max(self._singly - 1, 0)
        entries, self._waiting = self._waiting[:count], self._waiting[count:]
        if (order := self._order) is not None:  # a server that was away has given places since
            entries = [evolve(each, place=each.place or order.placed(each.sdk_id, each.new.etag)) for each in entries]
        written = self._store.run(lambda connection: self._write(connection, entries, messages=True))
        written.addErrback(self._formatting_failed, entries)
        written.addCallbacks(self._written, self._refused, callbackArgs=(entries,), errbackArgs=(entries,))

    def _formatting_failed(self, failure: Failure, entries: list[Entry]) -> Any:
        """Record configs and changes without messages: otherwise the next start would fail in the same way."""
        if failure.check(*STORE_ERRORS):
            return failure
        if len(entries) > 1:  # write each one by itself, so that only the one at fault gets no messages
            self._singly = len(entries)
            self._waiting = [*entries, *self._waiting]
            entries.clear()
            return Written({}, (), None, {})
        _log.failure("formatting a change failed, no message about it will be delivered", failure=failure)
        return self._store.run(lambda connection: self._write(connection, entries, messages=False))

    def _written(self, written: Written, entries: list[Entry]) -> None:
        self._busy = False
        if self.database_error:
            _log.warn("the outbox can be written again")
            self.database_error = ""
            self._metrics.recording(True)
        for sdk_id in written.overtaken:
            self._configs.pop(sdk_id, None)  # read again, from the other node's record
        self._configs.update(written.configs)
        self._versions.update(written.versions)
        for entry in written.behind:
            supervise(self._record_again(entry), _log, "recording SDK {sdk_id} again failed", sdk_id=entry.sdk_id)
        self._note_room(written.refused)
        for name, count in written.omitted.items():
            _log.warn("endpoint {endpoint}: {count} identifiers of long rules are skipped", endpoint=name, count=count)
        if written.endpoints:
            self._on_messages(written.endpoints)
        for change in written.changes:  # first, since the config is published once its change is recorded
            self._on_change(*change)
        for entry in entries:
            for recorded in entry.recorded:
                recorded.callback(None)
        self._write_next()
        self._fire_idle()

    async def _confirm_newest(self, entry: Entry) -> bool:
        """Return whether the config of ``entry`` is still the newest one after another fetch."""
        assert self._order is not None
        while self._newest.get(entry.sdk_id) is entry.new and not self._stopped:
            if await self._order.confirm(entry.sdk_id):
                return self._newest.get(entry.sdk_id) is entry.new and not self._stopped
            await deferLater(self._clock, CONFIRM_AGAIN)
        return False

    def _record_again(self, entry: Entry) -> Deferred[None]:
        async def again() -> None:
            if entry.rounds >= ROUNDS:
                _log.warn("SDK {sdk_id}: other nodes record faster, this config is not recorded", sdk_id=entry.sdk_id)
            elif await self._confirm_newest(entry):
                self._waiting.append(evolve(entry, rounds=entry.rounds + 1, recorded=[]))
                self._write_next()

        return Deferred.fromCoroutine(again())

    @property
    def _shared_versions(self) -> Mapping[str, int] | None:
        return None if self._order is None else self._versions

    def _note_room(self, refused: int | None) -> None:
        if refused is None:
            return
        if refused and not self.full:
            _log.error("the outbox is full: {count} messages are refused and will not be delivered", count=refused)
        elif self.full and not refused:
            _log.warn("the outbox has room again")
        self.full = bool(refused)

    def _refused(self, failure: Failure, entries: list[Entry]) -> None:
        self._busy = False
        reason = failure.getErrorMessage()
        if not self.database_error:
            _log.error("the outbox cannot be written, changes are delivered once it can be: {reason}", reason=reason)
            self._metrics.recording(False)
        self.database_error = reason or "unknown"
        self._waiting = [*entries, *self._waiting]
        self._retry.start(RETRY_SECONDS, self._write_again)
        self._fire_idle()

    def _write_again(self) -> None:
        self._waiting = _merged(self._waiting)
        self._write_next()

    def _fire_idle(self) -> None:
        if self._retry.active or not (self._busy or self._waiting):
            idle, self._idle = self._idle, []
            for done in idle:
                done.callback(None)

    def _write(self, connection: Connection, entries: list[Entry], *, messages: bool) -> Written:
        """In the database's thread; reads what changes between two calls only."""
        writer = ChangeWriter(connection, self._composer, self._configs, self._shared_versions, messages=messages)
        for entry in entries:
            writer.write(entry)
        return writer.written()


def _merged(entries: list[Entry]) -> list[Entry]:
    """Return one entry per SDK, with its newest config, and without an author if several changes became one."""
    merged: dict[str, Entry] = {}
    for entry in entries:
        earlier = merged.get(entry.sdk_id)
        if earlier is None:
            merged[entry.sdk_id] = entry
        else:
            recorded = [*earlier.recorded, *entry.recorded]
            merged[entry.sdk_id] = evolve(entry, author=None, notes="", recorded=recorded)
    return list(merged.values())
