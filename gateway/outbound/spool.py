"""The exporter's disk: events that wait for a batch, batches that wait for a receiver, in the outbox's database.

    keep ──► spool ──► seal ──► batches ──► sent ──► gone

A batch has its id and its body for good, on disk before the first attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gateway.outbound.ledger import count_drop

if TYPE_CHECKING:
    import sqlite3

    from twisted.internet.defer import Deferred

    from gateway.outbound.database import Store

Encode = Callable[[Sequence[bytes]], bytes]

CHUNK: Final = 1000  # events in one row: what the cap and a batch take or leave together
DROPPED: Final = "dropped: the spool is full"


@frozen
class Batch:
    """A batch on disk."""

    id: str
    body: bytes
    count: int


class EventSpool:
    """The ``Spool`` of an outbox; at ``max_bytes`` the oldest batches and events go, and are counted."""

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes

    def keep(self, events: Sequence[bytes]) -> Deferred[int]:
        """See ``Spool``."""
        chunks = [(b",".join(part), len(part)) for part in _parts(events)]

        def work(connection: sqlite3.Connection) -> int:
            connection.executemany("INSERT INTO spool (events, count) VALUES (?, ?)", chunks)
            dropped = _trim(connection, self._max_bytes)
            if dropped:
                count_drop(connection, "exporter", DROPPED, dropped)
            return dropped

        return self._store.run(work)

    def waiting(self) -> Deferred[int]:
        """Return how many events are on disk and in no batch yet."""
        return self._store.run(lambda c: int(c.execute("SELECT coalesce(sum(count), 0) FROM spool").fetchone()[0]))

    def next_batch(self, limit: int, encode: Encode, made: Callable[[], tuple[str, float]]) -> Deferred[Batch | None]:
        """Return the oldest batch; with none waiting, make one of up to ``limit`` events, or of one row if it has more.

        ``encode`` makes a body of encoded events, ``made`` gives a new id and the time.  None when nothing waits.
        """
        return self._store.run(lambda c: _oldest(c) or _seal(c, limit, encode, made))

    def sent(self, batch: Batch) -> Deferred[None]:
        """Forget a batch that arrived."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM batches WHERE id = ?", (batch.id,))

        return self._store.run(work)


def _parts(events: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [events[start : start + CHUNK] for start in range(0, len(events), CHUNK)]


def _oldest(connection: sqlite3.Connection) -> Batch | None:
    row = connection.execute("SELECT id, body, count FROM batches ORDER BY at, id LIMIT 1").fetchone()
    return None if row is None else Batch(row[0], row[1], row[2])


def _seal(
    connection: sqlite3.Connection, limit: int, encode: Encode, made: Callable[[], tuple[str, float]]
) -> Batch | None:
    taken: list[tuple[int, bytes, int]] = []
    total = 0
    for number, events, count in connection.execute("SELECT id, events, count FROM spool ORDER BY id"):
        if taken and total + count > limit:
            break
        taken.append((number, events, count))
        total += count
    if not taken:
        return None
    batch_id, at = made()
    batch = Batch(batch_id, encode([events for _, events, _ in taken]), total)
    connection.execute(
        "INSERT INTO batches (id, body, count, at) VALUES (?, ?, ?, ?)", (batch.id, batch.body, batch.count, at)
    )
    connection.execute("DELETE FROM spool WHERE id <= ?", (taken[-1][0],))
    return batch


def _trim(connection: sqlite3.Connection, max_bytes: int) -> int:
    """Delete the oldest until all fits; returns how many events went."""
    size = sum(
        connection.execute(query).fetchone()[0]
        for query in (
            "SELECT coalesce(sum(length(events)), 0) FROM spool",
            "SELECT coalesce(sum(length(body)), 0) FROM batches",
        )
    )
    dropped = 0
    for table, column, order in (("batches", "body", "at, id"), ("spool", "events", "id")):
        while size > max_bytes:
            oldest = f"SELECT rowid FROM {table} ORDER BY {order} LIMIT 1"  # noqa: S608 - our own names
            query = f"DELETE FROM {table} WHERE rowid = ({oldest}) RETURNING length({column}), count"  # noqa: S608
            row = connection.execute(query).fetchone()
            if row is None:
                break
            size -= row[0]
            dropped += row[1]
    return dropped
