"""Several pieces of work in one transaction."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.storage import count_drop
from gateway.storage.database import transact
from outbox_memory import DirectStore


def test_a_lock_is_waited_for_once_however_much_work_there_is(tmp_path: Path) -> None:
    """All of it fails together."""
    store, other = DirectStore(str(tmp_path / "outbox")), sqlite3.connect(tmp_path / "outbox", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun: list[str] = []
    store.connection.set_trace_callback(begun.append)
    results = transact(store.connection, [lambda connection: connection.execute("SELECT 1")] * 50)
    other.close()
    assert ["database is locked"] * 50 == [failure.getErrorMessage() for failure in results]
    assert 1 == len(begun)


def test_work_that_fails_affects_no_other() -> None:
    """The rest is written, and only its own caller gets the failure."""
    store = DirectStore()

    def add(reason: str):
        return lambda c: count_drop(c, "ops", reason, 1)

    done, failed, also = transact(store.connection, [add("one"), lambda _: 1 / 0, add("two")])
    assert (done, also) == (None, None)
    assert failed.check(ZeroDivisionError)
    assert store.rows("SELECT reason FROM drops ORDER BY reason") == [("one",), ("two",)]
