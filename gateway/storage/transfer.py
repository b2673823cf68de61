"""Copies the outbox of a SQLite file into an empty one on PostgreSQL; evaluations stay in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.storage.database import SqliteConnection
    from gateway.storage.store import CommandConnection

ROWS: Final = 500  # in memory at a time; a message has at most 1 MiB

# The numbers first: receivers have stored them.  Each with its columns, and the column that counts up.
_TABLES: Final = (
    ("numbers", "id, kind, sdk_id, key, target, created, initial_value", "id"),
    ("endpoints", "name, sequence", ""),
    ("transitions", "sdk_id, old_etag, new_etag, rounds", ""),
    ("sdks", "sdk_id, present, acts", ""),
    ("changes", "id, sdk_id, old_etag, new_etag, round, at, author, notes, detail", "id"),
    (
        "messages",
        (
            "row, id, endpoint, sequence, format, type, subject, body, created, change_id, sdk_id, old_etag, new_etag, "
            "state, reason, due, tries, earlier, first_try, asked, finished"
        ),
        "row",
    ),
    ("attempts", "message, number, at, status, outcome, duration, answer", ""),
    ("drops", "endpoint, reason, count", ""),
    ("configs", "sdk_id, etag, body, at", ""),
)


class NotEmpty(Exception):
    """The outbox on PostgreSQL holds something already; the text names what."""


def copy_outbox(source: SqliteConnection, target: CommandConnection, advance: Callable[[int], None]) -> dict[str, int]:
    """Copy all tables within the transaction of ``target``; return the number of rows of each.

    ``advance`` is called with the number of rows that were copied since its last call.

    :raises NotEmpty: with nothing copied
    """
    for name in ("configs", "messages", "numbers"):
        if target.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() is not None:  # noqa: S608 - our own names
            raise NotEmpty(name)
    counts: dict[str, int] = {}
    for name, columns, counted in _TABLES:
        marks = ", ".join("?" for _ in columns.split(","))
        insert = f"INSERT INTO {name} ({columns}) VALUES ({marks})"  # noqa: S608 - our own names
        counts[name] = 0
        found = source.execute(f"SELECT {columns} FROM {name}")  # noqa: S608 - our own names
        while rows := found.fetchmany(ROWS):
            target.executemany(insert, rows)
            counts[name] += len(rows)
            advance(len(rows))
        if counted:
            last = f"SELECT max({counted}) FROM {name}"  # noqa: S608 - our own names
            target.execute(f"SELECT setval(pg_get_serial_sequence(?, ?), ({last})) WHERE ({last}) > 0", (name, counted))
    # Otherwise the first change would be taken for one that another node has overtaken.
    target.execute("UPDATE configs SET version = 1")
    return counts


def rows_to_copy(source: SqliteConnection) -> int:
    """Return how many rows ``copy_outbox`` copies."""
    return sum(source.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name, _, _ in _TABLES)  # noqa: S608 - our own names
