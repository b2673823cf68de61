"""The exporter's disk: events that wait for a batch, batches that wait for a receiver, in the outbox's database.

    write ──► spool ──► next_batch (these rows are a batch) ──► sent ──► gone
      └──► minutes ──► (once over) ──┘

A batch has its id, its sequence and its body for good, on disk before the first attempt: rows that never change, and
what stands in front of them.  To copy them into one would cost more than everything else that becomes of an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from attrs import frozen

from gateway.export import SPOOL_FULL, Parcel, counted, encode_batch, merged
from gateway.storage import count_drop

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from twisted.internet.defer import Deferred

    from gateway.storage import Store

T = TypeVar("T")
Row = tuple[int, int, bytes]  # how many events, in how many bytes, with commas between them

ROW_BYTES: Final = 256 * 1024  # of counted events in one row: what the cap and a batch take or leave together
BATCH_BYTES: Final = 4 * 1024 * 1024  # of one body, whatever it counts: each step that makes it takes some 2 ms
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
        counts = [(minute, told, count) for (minute, told), count in merged(parcels).items()]

        def work(connection: sqlite3.Connection) -> Held:
            _add(connection, (_row(each.count, each.lines.replace(b"\n", b",")) for each in parcels if each.count))
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

    def next_batch(
        self, mark: int, limit: int, head: bytes, made: Callable[[], str], dress: Callable[[Batch], T]
    ) -> Deferred[tuple[Batch, T] | None]:
        """Return the oldest batch; with none waiting, make one of up to ``limit`` events that came before ``mark``.

        What was written together stays together, so there may be somewhat more, and of few large events fewer.
        ``head`` is the beginning of its body, ``made`` gives a new id, and ``dress`` what else the batch needs to be
        sent, in the database's thread: to sign megabytes would hold the reactor up.  None when nothing waits.
        """

        def work(connection: sqlite3.Connection) -> tuple[Batch, T] | None:
            oldest = connection.execute("SELECT sequence, id, head, last FROM batches ORDER BY sequence LIMIT 1")
            found = oldest.fetchone()
            if found is None and (last := _last_of(connection, mark, limit)) is not None:
                query = "INSERT INTO batches (id, head, last) VALUES (?, ?, ?) RETURNING sequence, id, head, last"
                (found,) = connection.execute(query, (made(), head, last)).fetchall()
            if found is None:
                return None
            batch = _whole(connection, *found)
            return batch, dress(batch)

        return self._store.run(work)

    def sent(self, batch: Batch) -> Deferred[Held]:
        """Forget a batch that arrived."""

        def work(connection: sqlite3.Connection) -> Held:
            # Nothing is left of it if it was dropped meanwhile, and the rows behind it are not its own.
            gone = connection.execute("DELETE FROM batches WHERE sequence = ? RETURNING last", (batch.sequence,))
            for (last,) in gone.fetchall():
                connection.execute("DELETE FROM spool WHERE id <= ?", (last,))
            return _held(connection)

        return self._store.run(work)


def _row(count: int, events: bytes) -> Row:
    return count, len(events), events


def gathered(events: Iterable[bytes]) -> Iterator[Row]:
    """Put events together, a bounded number of bytes at a time."""
    together: list[bytes] = []
    size = 0
    for event in events:
        together.append(event)
        size += len(event)
        if size >= ROW_BYTES:
            yield _row(len(together), b",".join(together))
            together, size = [], 0
    if together:
        yield _row(len(together), b",".join(together))


def _add(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    connection.executemany("INSERT INTO spool (count, bytes, events) VALUES (?, ?, ?)", rows)


def _held(connection: sqlite3.Connection, dropped: int = 0) -> Held:
    count, size = connection.execute("SELECT count, bytes FROM spooled").fetchone()
    return Held(count, size, dropped)


def _close_minutes(connection: sqlite3.Connection, minute: int | None) -> None:
    query = "SELECT minute, told, count FROM minutes WHERE ?1 IS NULL OR minute < ?1 ORDER BY minute"
    over = connection.execute(query, (minute,)).fetchall()
    if over:
        _add(connection, gathered(counted(*row) for row in over))
        connection.execute("DELETE FROM minutes WHERE ?1 IS NULL OR minute < ?1", (minute,))


def _last_of(connection: sqlite3.Connection, mark: int, limit: int) -> int | None:
    """Return the last row of a batch that begins with the oldest."""
    last = None
    total = size = 0
    rows = connection.execute("SELECT id, bytes, count FROM spool WHERE id <= ? ORDER BY id", (mark,))
    for number, length, count in rows:
        if last is not None and (total + count > limit or size + length > BATCH_BYTES):
            break
        last, total, size = number, total + count, size + length
    rows.close()
    return last


def _whole(connection: sqlite3.Connection, sequence: int, name: str, head: bytes, last: int) -> Batch:
    rows = connection.execute("SELECT events, count FROM spool WHERE id <= ? ORDER BY id", (last,)).fetchall()
    return Batch(sequence, name, encode_batch(head, [events for events, _ in rows]), sum(count for _, count in rows))


def _trim(connection: sqlite3.Connection, max_bytes: int) -> int:
    """Delete the oldest until all fits: a batch as a whole, for its body must not change; returns how many events."""
    dropped = 0
    while (held := _held(connection)).bytes > max_bytes and held.count:
        gone = connection.execute(
            "DELETE FROM batches WHERE sequence = (SELECT min(sequence) FROM batches) RETURNING last"
        ).fetchall()
        last = gone[0][0] if gone else connection.execute("SELECT min(id) FROM spool").fetchone()[0]
        for (count,) in connection.execute("DELETE FROM spool WHERE id <= ? RETURNING count", (last,)).fetchall():
            dropped += count
    return dropped
