"""Brings a database file to the newest version of its schema; each step is one transaction.

empty ──► outbox-v2.sql
outbox-v1.sql ──► upgrade-outbox-to-v2.sql ──► …
"""

from __future__ import annotations

import sqlite3
from importlib import resources
from typing import Final

VERSION: Final = 2  # of the newest schema; ``PRAGMA user_version`` holds that of a file
APPLICATION: Final = 0x666C6777  # "flgw"; ``PRAGMA application_id`` tells our files from anybody's


class NotOurs(Exception):
    """The file is a database of something else, or of a newer gateway; the text says which."""


def migrate(connection: sqlite3.Connection) -> None:
    """Create or upgrade; raises ``NotOurs`` without changing anything, or ``sqlite3.Error``.

    After an error the file is of the last version that was reached in full, and the next start goes on from there.
    """
    application = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application not in (0, APPLICATION) or (tables and application == 0):
        raise NotOurs("the outbox's file holds somebody else's database; set outbox.path to another file")
    if version > VERSION:
        raise NotOurs(f"the outbox was written by a newer gateway (schema {version}, this one knows {VERSION})")
    if version == 0:
        _apply(connection, f"outbox-v{VERSION}.sql", VERSION)
        return
    for step in range(version + 1, VERSION + 1):
        _apply(connection, f"upgrade-outbox-to-v{step}.sql", step)


def _apply(connection: sqlite3.Connection, name: str, version: int) -> None:
    script = resources.files("gateway.storage").joinpath("schema", name).read_text("utf-8")
    # executescript ends an open transaction, so the script brings its own.
    marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {version};"
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {script} {marks} COMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
