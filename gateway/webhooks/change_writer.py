"""Writes changes in one transaction: the last config, the change, numbers and messages.

    Entry ──► ChangeWriter.write ──► configs · changes · messages ──► Written

Where several nodes share the database, a config is written by its place in the order of all nodes, or by
compare-and-set; see ``Recorder``.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from gateway.flags import ConfigError, difference, load
from gateway.slices import young_collections_only
from gateway.storage import count_drop, shared_configs
from gateway.webhooks.formats import Change, parse_attribution
from gateway.webhooks.store import history, message_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from gateway.flags import Snapshot
    from gateway.storage import Connection
    from gateway.webhooks.composer import Composer
    from gateway.webhooks.formats import Author, EndpointMessages


@frozen
class Entry:
    """A change that waits to be recorded; ``place`` is key and version in the order of all nodes, if it is in that."""

    sdk_id: str
    new: Snapshot
    author: Author | None
    notes: str
    at: float
    recorded: list[Deferred[None]] = field(eq=False)
    rounds: int = 0  # how often another node was faster
    place: tuple[str, int] | None = None


@frozen
class Written:
    """The result of one transaction."""

    configs: Mapping[str, Snapshot]
    endpoints: Collection[str]  # that got new messages
    refused: int | None  # messages for which the outbox has no room; None without any message
    omitted: Mapping[str, int]  # identifiers beyond the limit of a rule, per endpoint
    changes: Sequence[tuple[str, Snapshot, int]] = ()  # SDK, new config, number
    versions: Mapping[str, int] = field(factory=dict)  # of the configs that are recorded now
    behind: Sequence[Entry] = ()  # not recorded, since another node has recorded something else
    overtaken: Collection[str] = ()  # SDKs of which another node has recorded something


class ChangeWriter:
    """Use it for one transaction, in the database's thread.

    ``known`` are the configs that were recorded last, as this node knows it, and ``versions`` their versions where
    several nodes record, otherwise None.
    """

    def __init__(
        self,
        connection: Connection,
        composer: Composer,
        known: Mapping[str, Snapshot],
        versions: Mapping[str, int] | None,
        *,
        messages: bool,
    ) -> None:
        self._connection = connection
        self._composer = composer
        self._known = known
        self._known_versions = versions
        self._messages = messages
        self._configs: dict[str, Snapshot] = {}
        self._endpoints: dict[str, None] = {}
        self._refused: int | None = None
        self._omitted: dict[str, int] = {}
        self._changes: list[tuple[str, Snapshot, int]] = []
        self._versions: dict[str, int] = {}
        self._behind: dict[str, list[Entry]] = {}
        self._overtaken: set[str] = set()

    def written(self) -> Written:
        """Return what was done."""
        behind = [entry for entries in self._behind.values() for entry in entries]
        return Written(
            self._configs, self._endpoints, self._refused, self._omitted, self._changes, self._versions, behind,
            self._overtaken,
        )  # fmt: skip

    def write(self, entry: Entry) -> None:
        """Record a config, unless it is recorded already, or another node's record is in the way."""
        if self._known_versions is None:
            self._save(entry)
        elif entry.place is None:
            self._write_over(entry)
        else:
            self._write_in_order(entry, *entry.place)

    def _write_over(self, entry: Entry) -> None:
        """Record a config that is in no order by compare-and-set."""
        sdk_id = entry.sdk_id
        found = self._recorded(sdk_id)
        if found.version and found.etag == entry.new.etag:
            self._configs[sdk_id] = entry.new  # another node has recorded it
        elif sdk_id in self._overtaken:
            self._fall_behind(entry)
        else:
            self._save(entry)

    def _fall_behind(self, entry: Entry) -> None:
        """Leave a config to another fetch: what another node has recorded may be later."""
        self._configs.pop(entry.sdk_id, None)
        self._behind.setdefault(entry.sdk_id, []).append(entry)

    def _write_in_order(self, entry: Entry, key: str, version: int) -> None:
        """Record what is stored up to ``version`` and not recorded yet, whichever node has stored it."""
        sdk_id, connection = entry.sdk_id, self._connection
        found = self._recorded(sdk_id)
        same = found.key == key
        if same and version <= found.place:
            if found.etag == entry.new.etag:
                self._configs[sdk_id] = entry.new
            return
        if not same and sdk_id in self._overtaken and found.version and found.etag != entry.new.etag:
            self._fall_behind(entry)  # that was recorded in no order, as by a gateway of an earlier version
            return
        for each in shared_configs.unrecorded(connection, key, found.place, version) if same else ():
            try:
                snapshot = load(each.body, each.etag)
            except ConfigError:  # of a later gateway; its change is part of the next one
                continue
            author, notes = parse_attribution(each.credit.encode())
            place = (key, each.version)
            self._save(evolve(entry, new=snapshot, author=author, notes=notes, at=each.stored, place=place))
        if entry.author is None and not entry.notes:  # perhaps another node has had the caller
            author, notes = parse_attribution(shared_configs.credit_of(connection, key, version).encode())
            entry = evolve(entry, author=author, notes=notes)
        self._save(entry)

    def _recorded(self, sdk_id: str) -> history.Recorded:
        """Return what is recorded, and note whether another node has done that since this one knew it."""
        assert self._known_versions is not None
        found = history.recorded(self._connection, sdk_id)
        if found.version != self._versions.get(sdk_id, self._known_versions.get(sdk_id, 0)):
            self._overtaken.add(sdk_id)
        self._versions[sdk_id] = found.version
        return found

    def _save(self, entry: Entry) -> None:
        sdk_id, connection = entry.sdk_id, self._connection
        known = None if sdk_id in self._overtaken else self._known.get(sdk_id)
        old = self._configs.get(sdk_id) or known or history.last_config(connection, sdk_id)
        self._configs[sdk_id] = entry.new
        if old is not None and old.body == entry.new.body and old.etag == entry.new.etag:
            if entry.place is not None and self._known_versions is not None:
                history.save_place(connection, sdk_id, *entry.place)
            return  # unchanged, as after a restart
        history.save_config(connection, sdk_id, entry.new, entry.at)
        if self._known_versions is not None:
            self._versions[sdk_id] = history.count_version(connection, sdk_id, entry.place)
        large = entry.new.large or (old is not None and old.large)
        with young_collections_only() if large else nullcontext():
            number, composed = self._write_change(entry, old)
        if number:
            self._changes.append((sdk_id, entry.new, number))
        for each in composed:
            if each.omitted:
                name = each.messages[0].endpoint
                self._omitted[name] = self._omitted.get(name, 0) + each.omitted
        found = [message for each in composed for message in each.messages]
        if found:
            room = message_table.make_room(connection, self._composer.settings.outbox.max_bytes)
            self._refused = (self._refused or 0) + (0 if room else len(found))
            self._endpoints.update(dict.fromkeys(message_table.add_messages(connection, found, number, room=room)))

    def _write_change(self, entry: Entry, old: Snapshot | None) -> tuple[int, Sequence[EndpointMessages]]:
        """Record what changed; return its number and the messages about it."""
        connection, composer = self._connection, self._composer
        numbers = composer.numbers(connection, entry.at, *((entry.new,) if old is None else (entry.new, old)))
        numbers.add_flags(entry.sdk_id, entry.new)  # for a first config too: its flags are first seen now
        changes = None if old is None else difference(old, entry.new)
        if old is None or not changes:
            return 0, ()
        count = history.count_transition(connection, entry.sdk_id, old.etag, entry.new.etag)
        change = Change(entry.sdk_id, old, entry.new, changes, entry.author, entry.notes, entry.at, count)
        number = history.add_change(connection, change)
        if not self._messages:
            count_drop(connection, "", "a change could not be put into words", 1)
            return number, ()
        composed = composer.change(change, numbers)
        for each in composed:
            message_table.add_skipped(connection, each.skipped, number)
        return number, composed
