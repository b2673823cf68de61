"""Schema upgrades, and databases that are not ours."""

from __future__ import annotations

import sqlite3
from importlib import resources

import pytest

from gateway.storage.migrations import APPLICATION_ID, SCHEMA_VERSION, IncompatibleDatabase, migrate
from outbox_memory import DirectStore

SPOOL_OF_VERSION_1 = """
DROP TABLE spool;
DROP TABLE refused;
CREATE TABLE spool (id INTEGER PRIMARY KEY AUTOINCREMENT, lines BLOB NOT NULL, count INTEGER NOT NULL) STRICT;
CREATE TRIGGER spool_grows AFTER INSERT ON spool BEGIN
    UPDATE spooled SET bytes = bytes + length(new.lines), count = count + new.count;
END;
CREATE TRIGGER spool_shrinks AFTER DELETE ON spool BEGIN
    UPDATE spooled SET bytes = bytes - length(old.lines), count = count - old.count;
END;
"""


def outbox_of_version_1() -> sqlite3.Connection:
    """Return an empty outbox of schema version 1."""
    schema = resources.files("gateway.storage").joinpath("schema", "outbox-v3.sql").read_text("utf-8")
    old = sqlite3.connect(":memory:", isolation_level=None)
    old.executescript("\n".join(line for line in schema.splitlines() if not line.lstrip().startswith("asked ")))
    old.executescript(SPOOL_OF_VERSION_1)
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    return old


def test_the_database_of_another_program_is_left_alone() -> None:
    """A wrong ``outbox.path`` adds no tables to it."""
    theirs = sqlite3.connect(":memory:")
    theirs.execute("CREATE TABLE precious (x)")
    with pytest.raises(IncompatibleDatabase, match="another program"):
        migrate(theirs)
    assert theirs.execute("SELECT name FROM sqlite_schema").fetchall() == [("precious",)]


def test_a_newer_outbox_is_left_alone() -> None:
    """An older gateway does not change the file of a newer one."""
    connection = DirectStore().connection
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(IncompatibleDatabase, match="newer gateway"):
        migrate(connection)


def test_a_second_start_changes_nothing() -> None:
    """The schema is created once."""
    store = DirectStore()
    schema = store.rows("SELECT * FROM sqlite_schema")
    migrate(store.connection)
    assert store.rows("SELECT * FROM sqlite_schema") == schema


def test_an_outbox_of_version_1_is_upgraded_with_its_messages() -> None:
    """It gets the columns of a new one; a ``Retry-After`` that version 1 did not keep is taken to end when due."""
    new, old = DirectStore(), outbox_of_version_1()
    fields = "id, endpoint, sequence, format, type, subject, body, created, state, due, tries"
    for each, tries in (("fresh", 0), ("waits", 3)):
        row = (each, "ops", 1, "envelope", "FLAG_UPDATED", "a", b"{}", 1.0, "pending", 7.0, tries)
        old.execute(f"INSERT INTO messages ({fields}) VALUES ({','.join('?' * len(row))})", row)
    migrate(old)
    for table in ("messages", "spool", "refused"):
        columns = f"SELECT name, type, \"notnull\" FROM pragma_table_info('{table}') ORDER BY name"
        assert new.rows(columns) == old.execute(columns).fetchall()
    assert [("fresh", 0.0), ("waits", 7.0)] == old.execute("SELECT id, asked FROM messages ORDER BY id").fetchall()
    assert (SCHEMA_VERSION,) == old.execute("PRAGMA user_version").fetchone()


def test_evaluations_of_an_outbox_of_version_1_are_upgraded_too() -> None:
    """Rows stay with their batches, and the totals still count."""
    old = outbox_of_version_1()
    for lines, count in ((b'{"userKey":"\xc3\xa4"}\n{}', 2), (b"{}", 1)):
        old.execute("INSERT INTO spool (lines, count) VALUES (?, ?)", (lines, count))
    totals = old.execute("SELECT * FROM spooled").fetchall()
    migrate(old)
    expected = [(1, 2, 19, b'{"userKey":"\xc3\xa4"},{}'), (2, 1, 2, b"{}")]
    assert expected == old.execute("SELECT id, count, bytes, events FROM spool ORDER BY id").fetchall()
    assert [(21, 3)] == totals == old.execute("SELECT * FROM spooled").fetchall()
    old.execute("DELETE FROM spool WHERE id = 1")
    assert [(2, 1)] == old.execute("SELECT * FROM spooled").fetchall()
