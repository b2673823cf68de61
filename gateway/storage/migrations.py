"""Create a database file with the newest schema, or upgrade it; each step is one transaction.

empty ──► outbox-v3.sql
outbox-v1.sql ──► upgrade-outbox-to-v2.sql ──► upgrade-outbox-to-v3.sql
"""

import sqlite3
from importlib import resources
from typing import Final

SCHEMA_VERSION: Final = 3  # of the newest schema; a file has its own in ``PRAGMA user_version``
APPLICATION_ID: Final = 0x666C6777  # "flgw"; in ``PRAGMA application_id`` of our files


class IncompatibleDatabase(Exception):
    """The file is the database of another program or of a newer gateway, which the text names."""


def migrate(connection: sqlite3.Connection) -> None:
    """Create or upgrade the schema.

    :raises IncompatibleDatabase: with the file unchanged
    :raises sqlite3.Error: with the file at the last version that was reached; the next start continues from there
    """
    application_id = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application_id not in (0, APPLICATION_ID) or (tables and application_id == 0):
        raise IncompatibleDatabase("the file is the database of another program; set outbox.path to another file")
    if version > SCHEMA_VERSION:
        raise IncompatibleDatabase(
            f"the outbox was written by a newer gateway (its schema is {version}, this one supports {SCHEMA_VERSION});"
            " start that version, or set outbox.path to another file"
        )
    if version == 0:
        _apply(connection, f"outbox-v{SCHEMA_VERSION}.sql", SCHEMA_VERSION)
        return
    for step in range(version + 1, SCHEMA_VERSION + 1):
        _apply(connection, f"upgrade-outbox-to-v{step}.sql", step)


def _apply(connection: sqlite3.Connection, name: str, version: int) -> None:
    script = resources.files("gateway.storage").joinpath("schema", name).read_text("utf-8")
    # executescript commits an open transaction, so the script has its own.
    marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};"
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {script} {marks} COMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
