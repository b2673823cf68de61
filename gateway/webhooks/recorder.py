"""Writes changes before they are acted on, in the order they happened; and catches up when the disk was full.

record ──► waiting ──► one transaction: change, ids, messages, last config ──► the Deferreds fire
              ▲                       │ failed
              └── newest per SDK ◄────┘ after RETRY_SECONDS: told as one change from the last recorded config
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred

from gateway.deferreds import Timer, fire_within
from gateway.flags import Snapshot, difference
from gateway.logger import component_logger
from gateway.storage import count_drop
from gateway.webhooks.formats.change import Author, Change
from gateway.webhooks.store import history
from gateway.webhooks.store import message_table as ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from twisted.python.failure import Failure

    from gateway.storage import Store
    from gateway.webhooks.formats.message import Ids, Message, Told
    from gateway.webhooks.store.stable_numbers import Numbers

_log = component_logger("gateway")

PATIENCE: Final = 0.25  # seconds that a change waits for the disk before it is published anyway
RETRY_SECONDS: Final = 1.0  # between two tries of a database that is full or locked
TOGETHER: Final = 50  # changes in one transaction: bounds how long a delivery waits to be written down
WAITING_LIMIT: Final = 2000  # changes that wait for a slow disk; beyond it the changes of one SDK become one


class Teller(Protocol):
    """Makes messages of changes; called in the database's thread, and changes nothing but through ``ids``."""

    def tell(self, change: Change, ids: Ids) -> Sequence[Told]:
        """Return what the endpoints are told about a change."""

    def tell_sdk(self, sdk_id: str, act: str, count: int, at: float, ids: Ids) -> Sequence[Message]:
        """Return what they are told about an SDK that was ``added`` or ``removed``, for the ``count``-th time."""

    def numbers(self, connection: sqlite3.Connection, now: float, snapshots: tuple[Snapshot, ...] = ()) -> Numbers:
        """Return the integers as of the current settings."""


@frozen
class _Entry:
    sdk_id: str
    new: Snapshot
    author: Author | None
    notes: str
    at: float
    dones: list[Deferred[None]] = field(eq=False)


@frozen
class _Kept:
    """What one transaction did."""

    configs: Mapping[str, Snapshot]
    endpoints: Collection[str]
    refused: int | None  # messages that the full outbox did not take; None when there were none to take
    omitted: Mapping[str, int]  # identifiers beyond the bound of a rule, per endpoint


class Recorder:
    """The only writer of changes; ``news`` is called with the names of endpoints that have something to do.

    ``recording`` is told whenever the outbox begins to be in trouble, or is so no longer.
    """

    def __init__(
        self, clock: Any, wall: Callable[[], float], store: Store, teller: Teller, max_bytes: Callable[[], int],
        news: Callable[[Collection[str]], None], recording: Callable[[bool], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._wall = wall
        self._store = store
        self._teller = teller
        self._max_bytes = max_bytes
        self._news = news
        self._waiting: list[_Entry] = []
        self._recorded: dict[str, Snapshot] = {}
        self._busy = False
        self._alone = 0  # so many of those that wait are written one by one
        self._retry = Timer(clock)  # pending while the database is in trouble
        self._idle: list[Deferred[None]] = []
        self._recording = recording
        self.trouble = ""  # why nothing can be recorded now; empty while it can
        self.full = False  # whether the latest messages were refused, because the outbox has reached its largest size

    def record(self, sdk_id: str, new: Snapshot, author: Author | None, notes: str) -> Deferred[None]:
        """Record that ``new`` is now the config of an SDK; fires when it is on disk, or after 250 ms; never errs.

        Changes are written in the order of the calls, until trouble or a long queue makes those of one SDK one.
        """
        recorded: Deferred[None] = Deferred()
        self._waiting.append(_Entry(sdk_id, new, author, notes, self._wall(), [recorded]))
        if len(self._waiting) > WAITING_LIMIT:
            self._waiting = _merged(self._waiting)
        self._work()
        return fire_within(self._clock, recorded, PATIENCE)

    def record_sdks(self, configured: Collection[str]) -> Deferred[Collection[str]]:
        """Record which SDKs the settings gained and lost since the last call, also one of an earlier run.

        Fires with the names of the endpoints that have something to do; fails with ``sqlite3.Error``.
        """
        teller, now = self._teller, self._wall()

        def work(connection: sqlite3.Connection) -> Collection[str]:
            ids = teller.numbers(connection, now)
            acts = history.sdk_acts(connection, configured)
            messages = [each for sdk_id, act, count in acts for each in teller.tell_sdk(sdk_id, act, count, now, ids)]
            return ledger.add_messages(connection, messages, None, room=True)

        return self._store.run(work)

    def idle(self) -> Deferred[None]:
        """Fire when nothing waits any more, or the database is in trouble; never errs."""
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        self._rest()
        return done

    def stop(self) -> None:
        """Try no more.  What still waits is found at the next start, as a difference from the last recorded config."""
        self._retry.cancel()
        self._busy = True

    def _work(self) -> None:
        if self._busy or self._retry.active or not self._waiting:
            return
        self._busy = True
        together = 1 if self._alone else TOGETHER
        self._alone = max(self._alone - 1, 0)
        entries, self._waiting = self._waiting[:together], self._waiting[together:]
        work = self._store.run(lambda connection: self._write(connection, entries, quiet=False))
        work.addErrback(self._wordless, entries)
        work.addCallbacks(self._kept, self._failed, callbackArgs=(entries,), errbackArgs=(entries,))

    def _wordless(self, failure: Failure, entries: list[_Entry]) -> Any:
        """Record at least the configs, when messages cannot be made of them: else the next start fails the same way."""
        if failure.check(sqlite3.Error):
            return failure
        if len(entries) > 1:  # one of them is at fault: each is written by itself, so that the others are told
            self._alone = len(entries)
            self._waiting = [*entries, *self._waiting]
            entries.clear()
            return _Kept({}, (), None, {})
        _log.failure("a change could not be put into words, nobody is told about it", failure=failure)
        return self._store.run(lambda connection: self._write(connection, entries, quiet=True))

    def _kept(self, kept: _Kept, entries: list[_Entry]) -> None:
        self._busy = False
        if self.trouble:
            _log.warn("the outbox records again")
            self.trouble = ""
            self._recording(True)
        self._recorded.update(kept.configs)
        self._note_room(kept.refused)
        for name, count in kept.omitted.items():
            _log.warn("endpoint {endpoint}: {count} identifiers of long rules are not told", endpoint=name, count=count)
        if kept.endpoints:
            self._news(kept.endpoints)
        for entry in entries:
            for done in entry.dones:
                done.callback(None)
        self._work()
        self._rest()

    def _note_room(self, refused: int | None) -> None:
        if refused is None:
            return
        if refused and not self.full:
            _log.error("the outbox is full: {count} messages are refused, nobody is told", count=refused)
        elif self.full and not refused:
            _log.warn("the outbox has room again")
        self.full = bool(refused)

    def _failed(self, failure: Failure, entries: list[_Entry]) -> None:
        self._busy = False
        reason = failure.getErrorMessage()
        if not self.trouble:
            _log.error("the outbox cannot record, flags go on without it: {reason}", reason=reason)
            self._recording(False)
        self.trouble = reason or "unknown"
        self._waiting = [*entries, *self._waiting]
        self._retry.start(RETRY_SECONDS, self._again)
        self._rest()

    def _again(self) -> None:
        self._waiting = _merged(self._waiting)
        self._work()

    def _rest(self) -> None:
        if self._retry.active or not (self._busy or self._waiting):
            idle, self._idle = self._idle, []
            for done in idle:
                done.callback(None)

    def _write(self, connection: sqlite3.Connection, entries: list[_Entry], *, quiet: bool) -> _Kept:
        """In the database's thread; reads ``_recorded``, which only changes between two calls."""
        configs: dict[str, Snapshot] = {}
        endpoints: dict[str, None] = {}
        refused: int | None = None
        omitted: dict[str, int] = {}
        for entry in entries:
            sdk_id = entry.sdk_id
            old = configs.get(sdk_id) or self._recorded.get(sdk_id) or history.last_config(connection, sdk_id)
            configs[sdk_id] = entry.new
            # The same once more, as after every restart: nothing to record.
            if old is not None and old.body == entry.new.body and old.etag == entry.new.etag:
                continue
            history.keep_config(connection, sdk_id, entry.new, entry.at)
            number, told = self._change(connection, entry, old, quiet=quiet)
            for each in told:
                if each.omitted:
                    name = each.messages[0].endpoint
                    omitted[name] = omitted.get(name, 0) + each.omitted
            messages = [message for each in told for message in each.messages]
            if messages:
                room = ledger.make_room(connection, self._max_bytes())
                refused = (refused or 0) + (0 if room else len(messages))
                endpoints.update(dict.fromkeys(ledger.add_messages(connection, messages, number, room=room)))
        return _Kept(configs, endpoints, refused, omitted)

    def _change(
        self, connection: sqlite3.Connection, entry: _Entry, old: Snapshot | None, *, quiet: bool
    ) -> tuple[int, Sequence[Told]]:
        """Record what changed; return its number, and what is to be told about it."""
        numbers = self._teller.numbers(connection, entry.at, (entry.new,) if old is None else (entry.new, old))
        numbers.see(entry.sdk_id, entry.new)  # also for a first config: what it has was first seen now
        changes = None if old is None else difference(old, entry.new)
        if old is None or not changes:
            return 0, ()
        count = history.next_round(connection, entry.sdk_id, old.etag, entry.new.etag)
        change = Change(entry.sdk_id, old, entry.new, changes, entry.author, entry.notes, entry.at, count)
        number = history.add_change(connection, change)
        if quiet:
            count_drop(connection, "", "a change could not be put into words", 1)
            return number, ()
        told = self._teller.tell(change, numbers)
        for each in told:
            ledger.add_skipped(connection, each.skipped, number)
        return number, told


def _merged(entries: list[_Entry]) -> list[_Entry]:
    """Make one entry of all those of one SDK: the newest config; nobody in particular, when several changed it."""
    merged: dict[str, _Entry] = {}
    for entry in entries:
        earlier = merged.get(entry.sdk_id)
        if earlier is None:
            merged[entry.sdk_id] = entry
        else:
            dones = [*earlier.dones, *entry.dones]
            merged[entry.sdk_id] = evolve(entry, author=None, notes="", dones=dones)
    return list(merged.values())
