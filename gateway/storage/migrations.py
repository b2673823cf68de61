"""Create a database file with the newest schema, or upgrade it; each step is one transaction.

empty ──► outbox-v3.sql
outbox-v1.sql ──► upgrade-outbox-to-v2.sql ──► upgrade-outbox-to-v3.sql
empty ──► history-v1.sql
"""

import sqlite3
from importlib import resources
from typing import Final

from attrs import frozen

SCHEMA_VERSION: Final = 3  # of the newest schema of the outbox; a file has its own in ``PRAGMA user_version``
APPLICATION_ID: Final = 0x666C6777  # "flgw"; in ``PRAGMA application_id`` of outboxes


@frozen
class Schema:
    """The tables of one kind of file."""

    name: str  # of the SQL files, and in texts
    option: str  # that names the file
    application_id: int
    version: int  # the newest one


OUTBOX: Final = Schema("outbox", "outbox.path", APPLICATION_ID, SCHEMA_VERSION)
HISTORY: Final = Schema("history", "history.path", 0x666C6768, 1)  # "flgh"


class IncompatibleDatabase(Exception):
    """The file is the database of another program or of a newer gateway, which the text names."""


def migrate(connection: sqlite3.Connection, schema: Schema = OUTBOX) -> None:
    """Create or upgrade the schema.

    :raises IncompatibleDatabase: with the file unchanged
    :raises sqlite3.Error: with the file at the last version that was reached; the next start continues from there
    """
    application_id = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application_id not in (0, schema.application_id) or (tables and application_id == 0):
        raise IncompatibleDatabase(f"the file is the database of another program; set {schema.option} to another file")
    if version > schema.version:
        raise IncompatibleDatabase(
            f"the {schema.name} was written by a newer gateway (its schema is {version}, this one supports"
            f" {schema.version}); start that version, or set {schema.option} to another file"
        )
    if version == 0:
        _apply(connection, schema, f"{schema.name}-v{schema.version}.sql", schema.version)
        return
    for step in range(version + 1, schema.version + 1):
        _apply(connection, schema, f"upgrade-{schema.name}-to-v{step}.sql", step)


def _apply(connection: sqlite3.Connection, schema: Schema, name: str, version: int) -> None:
    script = resources.files("gateway.storage").joinpath("schema", name).read_text("utf-8")
    # executescript commits an open transaction, so the script has its own.
    marks = f"PRAGMA application_id = {schema.application_id}; PRAGMA user_version = {version};"
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {script} {marks} COMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
