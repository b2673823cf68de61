"""The exporter's disk: events that wait for a batch, batches that wait for a receiver, in the outbox's database.

    write ──► spool ──► next_batch ──► batches ──► sent ──► gone
      └──► minutes ──► (once over) ──┘

A batch has its id, its sequence and its body for good, on disk before the first attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gateway.exporter import SPOOL_FULL, Parcel, counted, merged
from gateway.outbound.ledger import count_drop

if TYPE_CHECKING:
    import sqlite3

    from twisted.internet.defer import Deferred

    from gateway.outbound.database import Store

Encode = Callable[[Sequence[bytes]], bytes]
Line = tuple[bytes, int]  # events with line feeds between them, and how many they are

ROW_BYTES: Final = 256 * 1024  # of counted events in one row: what the cap and a batch take or leave together
BATCH_BYTES: Final = 8 * 1024 * 1024  # of one body, whatever it counts: what receivers take, and memory holds
EXPORTER: Final = "exporter"  # its name among the endpoints


@frozen
class Batch:
    """A batch on disk."""

    sequence: int
    id: str
    body: bytes
    count: int


@frozen
class Held:
    """How much is on disk, and how many events had to go for it just now."""

    count: int
    bytes: int
    dropped: int = 0


class EventSpool:
    """Every method is one transaction; a Deferred errs with ``sqlite3.Error`` when nothing was written.

    At ``max_bytes`` the oldest batches and events go, and are counted.
    """

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes

    def write(self, parcels: Sequence[Parcel]) -> Deferred[Held]:
        """Put events on disk."""
        rows = [(parcel.lines, parcel.count) for parcel in parcels if parcel.count]
        counts = [(minute, told, count) for (minute, told), count in merged(parcels).items()]

        def work(connection: sqlite3.Connection) -> Held:
            _add(connection, rows)
            connection.executemany(
                "INSERT INTO minutes (minute, told, count) VALUES (?, ?, ?)"
                " ON CONFLICT (minute, told) DO UPDATE SET count = count + excluded.count",
                counts,
            )
            dropped = _trim(connection, self._max_bytes)
            if dropped:
                count_drop(connection, EXPORTER, f"dropped: {SPOOL_FULL}", dropped)
            return _held(connection, dropped)

        return self._store.run(work)

    def held(self) -> Deferred[Held]:
        """Return how much is on disk."""
        return self._store.run(_held)

    def newest(self, minute: int | None) -> Deferred[int]:
        """Make events of the counts before ``minute`` (None: of all); return a mark behind all that is there."""

        def work(connection: sqlite3.Connection) -> int:
            _close_minutes(connection, minute)
            return int(connection.execute("SELECT coalesce(max(id), 0) FROM spool").fetchone()[0])

        return self._store.run(work)

    def next_batch(self, mark: int, limit: int, encode: Encode, made: Callable[[], str]) -> Deferred[Batch | None]:
        """Return the oldest batch; with none waiting, make one of up to ``limit`` events that came before ``mark``.

        What was written together stays together, so there may be somewhat more, and of few large events fewer.
        ``encode`` makes a body of lines, ``made`` gives a new id.  None when nothing waits.
        """
        return self._store.run(lambda c: _oldest(c) or _seal(c, mark, limit, encode, made))

    def sent(self, batch: Batch) -> Deferred[Held]:
        """Forget a batch that arrived."""

        def work(connection: sqlite3.Connection) -> Held:
            connection.execute("DELETE FROM batches WHERE sequence = ?", (batch.sequence,))
            return _held(connection)

        return self._store.run(work)


def gathered(events: Iterable[bytes]) -> Iterator[Line]:
    """Put lines together, a bounded number of bytes at a time."""
    lines: list[bytes] = []
    size = 0
    for event in events:
        lines.append(event)
        size += len(event)
        if size >= ROW_BYTES:
            yield b"\n".join(lines), len(lines)
            lines, size = [], 0
    if lines:
        yield b"\n".join(lines), len(lines)


def _add(connection: sqlite3.Connection, rows: Iterable[Line]) -> None:
    connection.executemany("INSERT INTO spool (lines, count) VALUES (?, ?)", rows)


def _held(connection: sqlite3.Connection, dropped: int = 0) -> Held:
    count, size = connection.execute("SELECT count, bytes FROM spooled").fetchone()
    return Held(count, size, dropped)


def _close_minutes(connection: sqlite3.Connection, minute: int | None) -> None:
    query = "SELECT minute, told, count FROM minutes WHERE ?1 IS NULL OR minute < ?1 ORDER BY minute"
    over = connection.execute(query, (minute,)).fetchall()
    if over:
        _add(connection, gathered(counted(*row) for row in over))
        connection.execute("DELETE FROM minutes WHERE ?1 IS NULL OR minute < ?1", (minute,))


def _oldest(connection: sqlite3.Connection) -> Batch | None:
    row = connection.execute("SELECT sequence, id, body, count FROM batches ORDER BY sequence LIMIT 1").fetchone()
    return None if row is None else Batch(*row)


def _seal(
    connection: sqlite3.Connection, mark: int, limit: int, encode: Encode, made: Callable[[], str]
) -> Batch | None:
    taken: list[bytes] = []
    last = total = size = 0
    rows = connection.execute("SELECT id, lines, count FROM spool WHERE id <= ? ORDER BY id", (mark,))
    for number, lines, count in rows:
        if taken and (total + count > limit or size + len(lines) > BATCH_BYTES):
            break
        taken.append(lines)
        last, total, size = number, total + count, size + len(lines)
    rows.close()
    if not taken:
        return None
    name, body = made(), encode(taken)
    connection.execute("DELETE FROM spool WHERE id <= ?", (last,))
    made_row = connection.execute("INSERT INTO batches (id, body, count) VALUES (?, ?, ?)", (name, body, total))
    return Batch(int(made_row.lastrowid or 0), name, body, total)


def _trim(connection: sqlite3.Connection, max_bytes: int) -> int:
    """Delete the oldest until all fits; returns how many events went."""
    dropped = 0
    for table, key in (("batches", "sequence"), ("spool", "id")):
        while _held(connection).bytes > max_bytes:
            query = f"DELETE FROM {table} WHERE {key} = (SELECT min({key}) FROM {table}) RETURNING count"  # noqa: S608
            gone = connection.execute(query).fetchall()
            if not gone:
                break
            dropped += gone[0][0]
    return dropped
