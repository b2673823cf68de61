"""The spool: writing events, forming batches, and dropping the oldest at the limit."""

from __future__ import annotations

import random
from itertools import count
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gateway.export import Parcel
from gateway.export.event import batch_head
from gateway.export.spool import BATCH_BYTES, Batch, EventSpool
from gateway.webhooks.store.message_table import used_bytes
from outbox_memory import DirectStore, now

if TYPE_CHECKING:
    from pathlib import Path

MARK = 10**9
HEAD = batch_head({"hostname": "h"})


class Disk:
    """A spool over an outbox in memory."""

    def __init__(self, max_bytes: int = 10**9, path: str = ":memory:") -> None:
        self.store = DirectStore(path)
        self.spool = EventSpool(self.store, max_bytes)
        self._names = count()

    def write(self, *sizes: int) -> int:
        """Write parcels of so many events; returns how many had to go."""
        parcels = [Parcel(b"\n".join([b"{}"] * size), size) for size in sizes]
        return now(self.spool.write(parcels)).dropped

    def batch(self, limit: int = 1000, mark: int = MARK) -> Batch | None:
        """The next batch."""
        found = now(self.spool.next_batch(mark, limit, HEAD, lambda: f"id{next(self._names)}", lambda batch: batch.id))
        if found is None:
            return None
        batch, dressed = found
        assert batch.id == dressed
        return batch

    def truth(self) -> tuple[int, int]:
        """What is there, counted the slow way."""
        return self.store.rows("SELECT coalesce(sum(count), 0), coalesce(sum(length(events)), 0) FROM spool")[0]


def test_a_batch_is_the_same_until_it_is_deleted() -> None:
    """Id, sequence and body are on disk; later events are in a later batch."""
    disk = Disk()
    disk.write(2, 1)
    first = disk.batch()
    disk.write(4)
    assert first == disk.batch()
    assert (1, "id0", 3) == (first.sequence, first.id, first.count)
    assert b'{"meta":{"hostname":"h"},"events":[{},{},{}]}' == first.body
    now(disk.spool.delete(first))
    second = disk.batch()
    assert (2, 4) == (second.sequence, second.count)


def test_a_sequence_is_never_assigned_twice() -> None:
    """Also when all batches are deleted."""
    disk = Disk()
    for expected in (1, 2, 3):
        disk.write(1)
        batch = disk.batch()
        assert expected == batch.sequence
        now(disk.spool.delete(batch))


def test_a_batch_has_about_as_many_events_as_asked_for() -> None:
    """A row of the spool is never split."""
    disk = Disk()
    disk.write(3, 3, 3)
    sizes = []
    while (batch := disk.batch(limit=7)) is not None:
        sizes.append(batch.count)
        now(disk.spool.delete(batch))
    assert [6, 3] == sizes


def test_a_batch_is_bounded_in_bytes() -> None:
    """Receivers limit the size of a body."""
    disk = Disk()
    line = b"x" * (BATCH_BYTES // 3)
    now(disk.spool.write([Parcel(line, 1)] * 4))
    first = disk.batch()
    assert 3 == first.count
    now(disk.spool.delete(first))
    assert 1 == disk.batch().count


def test_a_flush_leaves_events_that_are_written_meanwhile() -> None:
    """Otherwise it might never end, with small batches."""
    disk = Disk()
    disk.write(1)
    mark = now(disk.spool.close_minutes(None))
    disk.write(1)
    now(disk.spool.delete(disk.batch(mark=mark)))
    assert disk.batch(mark=mark) is None


def test_counts_of_a_minute_are_added_up_and_become_an_event_once_it_is_over() -> None:
    """They come from several workers and writes; a flush closes past minutes, a stop all of them."""
    disk = Disk()
    outcome = b'"key":"on","source":"SERVER"}'
    for parcel in (Parcel(counts=[(60, outcome, 2), (120, outcome, 1)]), Parcel(counts=[(60, outcome, 3)])):
        now(disk.spool.write([parcel, parcel]))
    assert 0 == now(disk.spool.close_minutes(60))
    assert disk.batch() is None
    now(disk.spool.close_minutes(120))
    batch = disk.batch()
    assert b'"creationDate":60,"key":"on","source":"SERVER","count":10}' in batch.body
    assert 1 == batch.count
    now(disk.spool.delete(batch))
    now(disk.spool.close_minutes(None))
    assert b'"creationDate":120,"key":"on","source":"SERVER","count":2}' in disk.batch().body


def test_at_the_limit_the_oldest_are_dropped_first() -> None:
    """Batches are dropped before events, and counted in the database."""
    disk = Disk(max_bytes=500)
    disk.write(20)
    old = disk.batch()
    dropped = sum(disk.write(30) for _ in range(6))
    left, size = disk.truth()
    assert size <= 500
    assert (20 + 6 * 30, True) == (dropped + left, dropped >= 20)
    assert old.id not in [row[0] for row in disk.store.rows("SELECT id FROM batches")]
    assert [(dropped,)] == disk.store.rows("SELECT count FROM drops WHERE endpoint = 'exporter'")


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_totals_are_always_those_of_the_tables(seed: int, steps: int) -> None:
    """After any sequence of writes, batches, deletions and drops."""
    disk, chance = Disk(max_bytes=600), random.Random(seed)
    for _ in range(steps):
        act = chance.randrange(3)
        if act == 0:
            disk.write(*(chance.randrange(1, 60) for _ in range(chance.randrange(3))))
        elif (batch := disk.batch(limit=chance.randrange(1, 100))) is not None and act == 2:
            now(disk.spool.delete(batch))
        size = now(disk.spool.size())
        assert disk.truth() == (size.count, size.bytes)


def test_events_take_no_room_from_messages() -> None:
    """An unreachable receiver of evaluations does not prevent the delivery of changes."""
    disk = Disk()
    before = used_bytes(disk.store.connection)
    now(disk.spool.write([Parcel(b"x" * 100_000, 1)] * 20))
    assert used_bytes(disk.store.connection) - before < 100_000


def test_deleting_a_batch_that_was_dropped_meanwhile_deletes_nothing_else() -> None:
    """Later events remain when a dropped batch was accepted after all."""
    disk = Disk(max_bytes=100)
    disk.write(20)
    batch = disk.batch()
    disk.write(30)
    assert 30 == now(disk.spool.delete(batch)).count


def test_deleting_events_does_not_overwrite_them(tmp_path: Path) -> None:
    """Some builds of SQLite overwrite what is deleted unless ``secure_delete`` is set."""
    disk = Disk(path=str(tmp_path / "outbox.sqlite3"))
    disk.write(100_000)
    batch = disk.batch(limit=100_000)
    disk.store.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    now(disk.spool.delete(batch))
    assert (0, 0) == disk.truth()
    assert (tmp_path / "outbox.sqlite3-wal").stat().st_size < len(batch.body) // 4
