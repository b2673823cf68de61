"""The spool: writing events, forming batches, and dropping the oldest at the limit."""

from __future__ import annotations

import json
import random
from itertools import count
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gateway.export import Parcel
from gateway.export.batch_limit import BatchLimit
from gateway.export.event import batch_head
from gateway.export.spool import REFUSED_BYTES, REFUSED_EVENTS, Batch, EventSpool
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

    def batch(self, limit: int = 1000, mark: int = MARK, size: int = 10**9) -> Batch | None:
        """The next batch."""
        most = BatchLimit(limit, size)
        found = now(self.spool.next_batch(mark, most, HEAD, lambda: f"id{next(self._names)}", lambda batch: batch.id))
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
    """Only the first row of the spool is split."""
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
    event = b'{"key":"%b"}' % (b"x" * 300)
    now(disk.spool.write([Parcel(event, 1)] * 4))
    first = disk.batch(size=900)
    assert (2, True) == (first.count, len(first.body) <= 900)
    now(disk.spool.delete(first))
    assert 2 == disk.batch(size=900).count


def test_a_row_that_is_larger_than_a_batch_is_split() -> None:
    """Each piece is as large as allowed, the order stays, and an event that is too large is alone."""
    disk = Disk()
    events = [b'{"n":%d,"v":"%b"}' % (number, b"x" * (500 if number == 7 else 20)) for number in range(20)]
    now(disk.spool.write([Parcel(b"\n".join(events[:15]), 15), Parcel(b"\n".join(events[15:]), 5)]))
    before = disk.truth()
    found, counts = [], []
    while (batch := disk.batch(size=200)) is not None:
        assert len(batch.body) <= 200 or batch.count == 1
        found += [event["n"] for event in json.loads(batch.body)["events"]]
        counts.append(batch.count)
        now(disk.spool.delete(batch))
    assert list(range(20)) == found
    assert [4, 3, 1, 4, 3, 4, 1] == counts
    assert (20, (0, 0)) == (before[0], disk.truth())


def test_a_batch_that_is_dissolved_becomes_smaller_ones() -> None:
    """Down to single events, with new ids and in order; later events stay behind them."""
    disk = Disk()
    now(disk.spool.write([Parcel(b'{"n":0}\n{"n":1}\n{"n":2}', 3)]))
    first = disk.batch()
    now(disk.spool.write([Parcel(b'{"n":3}', 1)]))
    now(disk.spool.dissolve(first))
    found = []
    while (batch := disk.batch(limit=1)) is not None:
        assert batch.id != first.id
        found += json.loads(batch.body)["events"]
        now(disk.spool.delete(batch))
    assert [{"n": number} for number in range(4)] == found


def test_refused_events_are_kept_and_released() -> None:
    """They take no part in batches until they are released, behind all others."""
    disk = Disk()
    now(disk.spool.write([Parcel(b'{"n":0}', 1), Parcel(b'{"n":1}', 1)]))
    size = now(disk.spool.set_aside(disk.batch(limit=1), 5.0, 422))
    assert (1, 7, 0) == (size.count, size.bytes, size.dropped)
    assert [(5.0, 422, 7, b'{"n":0}')] == disk.store.rows("SELECT at, status, bytes, event FROM refused")
    assert 2 == now(disk.spool.release()).count
    assert [{"n": 1}, {"n": 0}] == json.loads(disk.batch().body)["events"]
    assert [] == disk.store.rows("SELECT * FROM refused")


def test_refused_events_are_bounded() -> None:
    """The oldest are deleted and counted, by number and by size."""
    disk = Disk()
    fields = "INSERT INTO refused (at, status, bytes, event) VALUES (0, 413, ?, x'00')"
    disk.store.connection.executemany(fields, [(1,)] * (REFUSED_EVENTS + 4))
    disk.write(1)
    assert 5 == now(disk.spool.set_aside(disk.batch(), 1.0, 413)).dropped
    disk.store.connection.execute(fields, (REFUSED_BYTES - 10,))
    disk.write(1)
    assert REFUSED_EVENTS - 7 == now(disk.spool.set_aside(disk.batch(), 2.0, 413)).dropped
    assert [("dropped: refused", REFUSED_EVENTS - 2)] == disk.store.rows("SELECT reason, count FROM drops")


def test_setting_aside_an_event_that_was_dropped_meanwhile_changes_nothing() -> None:
    """Later events remain when the limit of the spool was reached during the attempt."""
    disk = Disk(max_bytes=100)
    disk.write(1)
    batch = disk.batch()
    disk.write(30)
    disk.write(5)
    left = disk.truth()
    now(disk.spool.set_aside(batch, 1.0, 413))
    assert (left, []) == (disk.truth(), disk.store.rows("SELECT * FROM refused"))


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
        act = chance.randrange(5)
        if act == 0:
            disk.write(*(chance.randrange(1, 60) for _ in range(chance.randrange(3))))
        elif (batch := disk.batch(limit=chance.randrange(1, 100))) is not None and act > 1:
            done = disk.spool.delete, disk.spool.dissolve, lambda single: disk.spool.set_aside(single, 1.0, 400)
            now(done[act - 2 if batch.count == 1 else min(act - 2, 1)](batch))
        size = now(disk.spool.size())
        assert disk.truth() == (size.count, size.bytes)


def test_events_take_no_room_from_messages() -> None:
    """An unreachable receiver of evaluations does not prevent the delivery of changes."""
    disk = Disk()
    before = disk.store.connection.used_bytes()
    now(disk.spool.write([Parcel(b"x" * 100_000, 1)] * 20))
    assert disk.store.connection.used_bytes() - before < 100_000


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
