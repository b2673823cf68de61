"""The outbox's file as a command finds and opens it: as its owner, and whether a gateway has it open or not."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.settings import Settings

BUSY_SECONDS = 10.0  # how long a command waits for a transaction of the gateway
UNIT_FILE = Path("/var/lib/flaggateway/outbox.sqlite3")  # where the systemd unit's StateDirectory has it


@frozen
class Place:
    """Where the outbox is, as the command line says: by the settings, or by its file."""

    config: str | None
    database: Path | None

    def settings(self) -> Settings:
        """Return the gateway's settings; ends the command when they cannot be used."""
        from gateway.settings import SettingsFile

        loaded = SettingsFile(self.config, os.environ).read()
        if loaded.settings is None:
            text = "the settings are not usable, see: flaggateway check; or name the outbox's file with --database"
            raise click.ClickException(text)
        return loaded.settings

    def names(self) -> list[str] | None:
        """Return the names of the web hooks; None where only the file is known."""
        if self.database is not None and self.config is None:
            return None
        return [endpoint.name for endpoint in self.settings().webhooks]

    def path(self) -> Path:
        """Return the file; ends the command when there is none."""
        if self.database is not None:
            path = self.database
        else:
            from gateway.storage import outbox_path

            configured = self.settings().outbox.path
            path = outbox_path(configured, os.environ, Path.home())
            if not configured and not _exists(path) and _exists(UNIT_FILE):
                return UNIT_FILE
        if not _exists(path):
            raise click.ClickException(f"no outbox at {path}; a gateway with web hooks makes one when it starts")
        return path


def _exists(path: Path) -> bool:
    """Whether there is such a file; ends the command where this user may not even look."""
    try:
        return path.exists()
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}; call it as root or as the gateway's user") from None


@contextmanager
def opened(place: Place) -> Iterator[sqlite3.Connection]:
    """Open the outbox, as its owner; ends the command with one line when that cannot be done.

    The process stays that owner's until it ends.  Transactions are the caller's to begin: see ``in_transaction``.
    """
    path = place.path()
    _become_owner(path)
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            _check(connection, path)
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection
    except sqlite3.Error as error:
        hint = "" if os.access(path, os.R_OK | os.W_OK, effective_ids=True) else "; call it as root or as its owner"
        raise click.ClickException(f"{path}: {error}{hint}") from None


def _check(connection: sqlite3.Connection, path: Path) -> None:
    from gateway.storage import APPLICATION_ID, SCHEMA_VERSION

    ours, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if ours != APPLICATION_ID:
        raise click.ClickException(f"{path} is not an outbox of flaggateway")
    if version != SCHEMA_VERSION:
        raise click.ClickException(
            f"{path} has schema {version}, this command supports {SCHEMA_VERSION}: use the flaggateway of the gateway"
        )


def _become_owner(path: Path) -> None:
    """Act as the file's owner when called by root: SQLite makes files beside it, and the gateway must own them."""
    owner = path.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    group = os.getegid()
    # The group first, and back last: only root may change it.
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        path.stat()
    except PermissionError:
        # Below a directory for root alone, as systemd's DynamicUser has it: stay root.  SQLite gives what root makes
        # beside a database to the database's owner.
        os.seteuid(0)
        os.setegid(group)


def in_transaction(connection: sqlite3.Connection, work: Callable[[], Any]) -> Any:
    """Do ``work`` wholly or not at all; waits up to ``BUSY_SECONDS`` for a gateway's transaction to end."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return result
