"""Events that wait on disk for the receiver, in the tables ``spool``, ``minutes`` and ``batches`` of the database.

    write ──► spool ──► next_batch (marks rows as a batch) ──► delete
      └──► minutes ──► (once over) ──┘   └──► dissolve, or set_aside ──► refused ──► release ──► spool

Id, sequence and body of a batch are on disk before the first attempt and never change: the body is the batch's head
and its rows of the spool, which are the oldest ones.  A batch that the receiver refuses for good is dissolved, and its
events are sent in smaller batches with new ids.  Copying the rows of a batch into one would cost more than all else
that is done with an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from attrs import frozen

from gateway.export.event import encode_batch, encode_count
from gateway.export.parcel import DropReason, Parcel, merge_counts
from gateway.storage import count_drop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from twisted.internet.defer import Deferred

    from gateway.export.batch_limit import BatchLimit
    from gateway.storage import Connection, Store

T = TypeVar("T")
Row = tuple[int, int, bytes]  # number of events; number of bytes; the events separated by commas

ROW_BYTES: Final = 256 * 1024  # of counts in one row, which a batch contains, or the cap drops, as a whole
REFUSED_EVENTS: Final = 1000  # that are kept; the oldest are dropped first
REFUSED_BYTES: Final = 16 * 1024 * 1024  # likewise; an event has at most 1 MiB
EXPORTER: Final = "exporter"  # in place of an endpoint's name and format


@frozen
class Batch:
    """A batch on disk."""

    sequence: int
    id: str
    body: bytes
    count: int


@frozen
class SpoolSize:
    """What is in the spool, and how many events the last write had to drop."""

    count: int
    bytes: int
    dropped: int = 0


class EventSpool:
    """Each method is one transaction; when it fails, nothing of it is written.

    At ``max_bytes`` the oldest batches and events are dropped and counted.

    :raises sqlite3.Error: through the Deferreds
    """

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes

    def write(self, parcels: Sequence[Parcel]) -> Deferred[SpoolSize]:
        """Write events to the spool."""
        counts = [(*minute_outcome, count) for minute_outcome, count in merge_counts(parcels).items()]

        def work(connection: Connection) -> SpoolSize:
            _add(connection, (_row(each.count, each.lines.replace(b"\n", b",")) for each in parcels if each.count))
            connection.executemany(
                "INSERT INTO minutes (minute, told, count) VALUES (?, ?, ?)"
                " ON CONFLICT (minute, told) DO UPDATE SET count = minutes.count + excluded.count",
                counts,
            )
            dropped = _drop_oldest(connection, self._max_bytes)
            if dropped:
                count_drop(connection, EXPORTER, f"dropped: {DropReason.SPOOL_FULL}", dropped)
            return _size(connection, dropped)

        return self._store.run(work)

    def size(self) -> Deferred[SpoolSize]:
        """Return what is in the spool."""
        return self._store.run(_size)

    def close_minutes(self, minute: int | None) -> Deferred[int]:
        """Turn the counts before ``minute`` (None: all counts) into events; return the newest row of the spool.

        So are counts of a later minute than the next: the clock was set back.
        """

        def work(connection: Connection) -> int:
            _close_minutes(connection, minute)
            return int(connection.execute("SELECT coalesce(max(id), 0) FROM spool").fetchone()[0])

        return self._store.run(work)

    def next_batch(
        self, newest: int, limit: BatchLimit, head: bytes, new_id: Callable[[], str], prepare: Callable[[Batch], T]
    ) -> Deferred[tuple[Batch, T] | None]:
        """Return the oldest batch, or a new one within ``limit`` up to row ``newest``; None without events.

        An event that is too large by itself makes a batch of its own.
        Also returns the result of ``prepare``, which runs in the database's thread: signing megabytes would block the
        reactor.
        """

        def work(connection: Connection) -> tuple[Batch, T] | None:
            oldest = connection.execute("SELECT sequence, id, head, last FROM batches ORDER BY sequence LIMIT 1")
            found = oldest.fetchone()
            if found is None and (last := _last_row(connection, newest, limit, len(head))) is not None:
                query = "INSERT INTO batches (id, head, last) VALUES (?, ?, ?) RETURNING sequence, id, head, last"
                (found,) = connection.execute(query, (new_id(), head, last)).fetchall()
            if found is None:
                return None
            batch = _read_batch(connection, *found)
            return batch, prepare(batch)

        return self._store.run(work)

    def delete(self, batch: Batch) -> Deferred[SpoolSize]:
        """Delete a batch that the receiver accepted."""

        def work(connection: Connection) -> SpoolSize:
            # If the batch was dropped meanwhile, the rows after it belong to others.
            deleted = connection.execute("DELETE FROM batches WHERE sequence = ? RETURNING last", (batch.sequence,))
            for (last,) in deleted.fetchall():
                connection.execute("DELETE FROM spool WHERE id <= ?", (last,))
            return _size(connection)

        return self._store.run(work)

    def dissolve(self, batch: Batch) -> Deferred[None]:
        """Delete a batch, so that its events, which stay the oldest, become parts of new ones."""

        def work(connection: Connection) -> None:
            connection.execute("DELETE FROM batches WHERE sequence = ?", (batch.sequence,))

        return self._store.run(work)

    def set_aside(self, batch: Batch, at: float, status: int) -> Deferred[SpoolSize]:
        """Move the event of a batch of one, which the receiver answered with ``status``, to the refused ones.

        ``dropped`` of the result counts refused events that were deleted for it.
        """

        def work(connection: Connection) -> SpoolSize:
            deleted = connection.execute("DELETE FROM batches WHERE sequence = ? RETURNING last", (batch.sequence,))
            for (last,) in deleted.fetchall():
                rows = "DELETE FROM spool WHERE id <= ? RETURNING bytes, events"
                for size, event in connection.execute(rows, (last,)).fetchall():
                    fields = "INSERT INTO refused (at, status, bytes, event) VALUES (?, ?, ?, ?)"
                    connection.execute(fields, (at, status, size, event))
            dropped = _drop_refused(connection)
            if dropped:
                count_drop(connection, EXPORTER, f"dropped: {DropReason.REFUSED}", dropped)
            return _size(connection, dropped)

        return self._store.run(work)

    def release(self) -> Deferred[SpoolSize]:
        """Move all refused events to the end of the spool; return what is in it."""

        def work(connection: Connection) -> SpoolSize:
            _add(connection, connection.execute("SELECT 1, bytes, event FROM refused ORDER BY id").fetchall())
            connection.execute("DELETE FROM refused")
            return _size(connection)

        return self._store.run(work)


def _row(count: int, events: bytes) -> Row:
    return count, len(events), events


def _group_events(events: Iterable[bytes]) -> Iterator[Row]:
    """Join events into rows of a bounded size."""
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


def _add(connection: Connection, rows: Iterable[Row]) -> None:
    connection.executemany("INSERT INTO spool (count, bytes, events) VALUES (?, ?, ?)", rows)


def _size(connection: Connection, dropped: int = 0) -> SpoolSize:
    count, size = connection.execute("SELECT count, bytes FROM spooled").fetchone()
    return SpoolSize(count, size, dropped)


def _close_minutes(connection: Connection, minute: int | None) -> None:
    is_over = "?1 IS NULL OR minute < ?1 OR minute > ?1 + 60"
    query = f"SELECT minute, told, count FROM minutes WHERE {is_over} ORDER BY minute"  # noqa: S608 - our own text
    over = connection.execute(query, (minute,)).fetchall()
    if over:
        _add(connection, _group_events(encode_count(*row) for row in over))
        connection.execute(f"DELETE FROM minutes WHERE {is_over}", (minute,))  # noqa: S608 - our own text


def _last_row(connection: Connection, newest: int, limit: BatchLimit, head: int) -> int | None:
    """Return the last row of a batch that begins with the oldest row, after splitting that one if it is too large."""
    most = limit.size - head - len(encode_batch(b"", ()))
    last = None
    total = size = 0
    rows = connection.execute("SELECT id, bytes, count FROM spool WHERE id <= ? ORDER BY id", (newest,))
    for number, length, count in rows:
        if last is None and count > 1 and (count > limit.events or length > most):
            rows.close()
            return _split(connection, number, limit.events, most)
        if last is not None and (total + count > limit.events or size + 1 + length > most):
            break
        last, total, size = number, total + count, size + 1 + length
    rows.close()
    return last


def _split(connection: Connection, number: int, events: int, size: int) -> int:
    """Split the oldest row of the spool into rows of at most so many events and bytes; return the first one's id.

    Its ids are those below ``number``, which are free because no row is older; they may be negative.
    """
    (row,) = connection.execute("DELETE FROM spool WHERE id = ? RETURNING events", (number,)).fetchone()
    pieces: list[list[bytes]] = []
    length = size  # of the last piece
    for event in map(bytes, msgspec.json.decode(b"[%b]" % row, type=list[msgspec.Raw])):
        if not pieces or len(pieces[-1]) >= events or length + 1 + len(event) > size:
            pieces.append([])
            length = -1
        pieces[-1].append(event)
        length += 1 + len(event)
    first = number - len(pieces) + 1
    for place, piece in enumerate(pieces, first):
        fields = "INSERT INTO spool (id, count, bytes, events) VALUES (?, ?, ?, ?)"
        connection.execute(fields, (place, *_row(len(piece), b",".join(piece))))
    return first


def _read_batch(connection: Connection, sequence: int, name: str, head: bytes, last: int) -> Batch:
    rows = connection.execute("SELECT events, count FROM spool WHERE id <= ? ORDER BY id", (last,)).fetchall()
    return Batch(sequence, name, encode_batch(head, [events for events, _ in rows]), sum(count for _, count in rows))


def _drop_oldest(connection: Connection, max_bytes: int) -> int:
    """Delete the oldest events until the rest fits, a batch only as a whole; return how many were deleted."""
    dropped = 0
    while (size := _size(connection)).bytes > max_bytes and size.count:
        deleted = connection.execute(
            "DELETE FROM batches WHERE sequence = (SELECT min(sequence) FROM batches) RETURNING last"
        ).fetchall()
        last = deleted[0][0] if deleted else connection.execute("SELECT min(id) FROM spool").fetchone()[0]
        for (count,) in connection.execute("DELETE FROM spool WHERE id <= ? RETURNING count", (last,)).fetchall():
            dropped += count
    return dropped


def _drop_refused(connection: Connection) -> int:
    """Delete the oldest refused events until the rest fits; return how many were deleted."""
    rows = connection.execute("SELECT id, bytes FROM refused ORDER BY id DESC").fetchall()
    size = 0
    for kept, (number, length) in enumerate(rows):
        size += length
        if kept >= REFUSED_EVENTS or size > REFUSED_BYTES:
            return connection.execute("DELETE FROM refused WHERE id <= ?", (number,)).rowcount
    return 0
