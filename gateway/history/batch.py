"""One write of the history: what came into use, pins, and the deletion of what is old; in the thread of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from gateway.history import tables

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from gateway.flags import Snapshot
    from gateway.history.history_file import HistoryFile
    from gateway.history.tables import Entry, Pin


@frozen
class Batch:
    """What one write stores."""

    entries: list[tuple[str, Entry]]
    live: Mapping[str, Entry]
    late: list[tuple[str, str, int]]
    pins: Mapping[str, tuple[Pin, Snapshot] | None]
    jump: float
    before: float | None  # Unix seconds; what was out of use then is deleted
    max_bytes: int


@frozen
class Written:
    """What is in the file after a write; ``added`` has SDK, tag and number of each new application."""

    configs: int
    used_bytes: int
    added: list[tuple[str, str, int]]


def write(file: HistoryFile, batch: Batch) -> Written:
    """Write a batch, in the thread of the file."""
    added = file.run(lambda connection: _add(connection, batch, file.first_id))
    live, before = list(batch.live), batch.before
    if before is not None:
        while file.run(lambda connection: tables.purge_old(connection, before, live)) == tables.PURGE_STEP:
            pass
    while file.run(lambda connection: _make_room(connection, batch.max_bytes, live)) == tables.PURGE_STEP:
        pass
    configs, used = file.run(lambda connection: (tables.count_configs(connection), tables.used_bytes(connection)))
    return Written(configs, used, added)


def _add(connection: sqlite3.Connection, batch: Batch, first_id: int) -> list[tuple[str, str, int]]:
    if batch.jump:
        tables.shift(connection, first_id, batch.jump)
    # Also what is in use and not in the file at all, since the file may be a new one.
    unknown = [(sdk_id, entry) for sdk_id, entry in batch.live.items() if not tables.is_known(connection, sdk_id)]
    added = []
    for sdk_id, entry in [*batch.entries, *unknown]:
        number = tables.add_application(connection, sdk_id, entry)
        if number is not None:
            added.append((sdk_id, entry.snapshot.tag, number))
    for sdk_id, tag, change_id in batch.late:
        tables.set_change(connection, sdk_id, tag, change_id)
    stored = tables.read_pins(connection)
    for sdk_id, found in batch.pins.items():
        pin = None if found is None else found[0]
        if stored.get(sdk_id) != pin:
            if found is not None:
                tables.add_config(connection, found[1])
            tables.set_pin(connection, sdk_id, pin)
    return added


def _make_room(connection: sqlite3.Connection, max_bytes: int, live: Sequence[str]) -> int:
    """Delete the oldest applications, ``PURGE_STEP`` at most, and return how many."""
    for count in range(tables.PURGE_STEP):
        if not tables.make_room(connection, max_bytes, live):
            return count
    return tables.PURGE_STEP
