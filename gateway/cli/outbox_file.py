"""Find the outbox file and open it as its owner, beside a running gateway or without one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from gateway.cli.options import settings_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.settings import Outbox, Settings
    from gateway.storage import CommandConnection, SqliteConnection

BUSY_SECONDS = 10.0  # wait of a command for a transaction of the gateway
UNIT_FILE = Path("/var/lib/flaggateway/outbox.sqlite3")  # in the StateDirectory of the systemd unit


@frozen
class OutboxFile:
    """The outbox that the command line names: by settings file, or by path."""

    database: Path | None

    def settings(self, *sections: str) -> Settings:
        """Return the gateway's settings, of which these sections can be used; others may have problems.

        :raises click.ClickException: if one of these sections cannot be used.
        """
        loaded = settings_sources().file().read()
        settings = loaded.settings_for(*sections)
        if settings is None:
            lines = [str(problem) for problem in loaded.problems_of(*sections)]
            hint = "mend this, or name the outbox file with --database"
            raise click.ClickException("\n".join(["the settings cannot be used:", *lines, hint]))
        return settings

    def endpoints(self) -> list[str] | None:
        """Return the names of the configured endpoints; None if only the path is known."""
        if self.database is not None and settings_sources().config is None:
            return None
        return [endpoint.name for endpoint in self.settings("webhooks").webhooks]

    def shared(self) -> Outbox | None:
        """Return the settings of the outbox if it is on PostgreSQL."""
        if self.database is not None:
            return None
        outbox = self.settings("outbox").outbox
        return outbox if outbox.url else None

    def path(self) -> Path:
        """Return the path of an existing file.

        :raises click.ClickException: if there is none, or this user may not look for it.
        """
        if self.database is not None:
            path = self.database
        else:
            from gateway.storage import outbox_path

            configured = self.settings("outbox").outbox.path
            path = outbox_path(configured, settings_sources().environ(), Path.home())
            if not configured and not _exists(path) and _exists(UNIT_FILE):
                return UNIT_FILE
        if not _exists(path):
            raise click.ClickException(f"no outbox at {path}; a gateway with webhooks creates one when it starts")
        return path


def _exists(path: Path) -> bool:
    """Return whether the file exists.

    :raises click.ClickException: if this user may not look for it.
    """
    try:
        return path.exists()
    except OSError as error:
        raise click.ClickException(
            f"{path}: {error.strerror}; run the command as root or as the user of the gateway"
        ) from None


@contextmanager
def opened(file: OutboxFile) -> Iterator[CommandConnection]:
    """Open the outbox as its owner; the process keeps that user.  The caller begins transactions: ``in_transaction``.

    :raises click.ClickException: if it cannot be opened, or has another schema.
    """
    if shared := file.shared():
        with _opened_shared(shared) as connection:
            yield connection
        return
    with opened_file(file.path()) as connection:
        yield connection


@contextmanager
def opened_file(path: Path) -> Iterator[SqliteConnection]:
    """Open the outbox file as its owner; the process keeps that user.

    :raises click.ClickException: if it cannot be opened, or has another schema.
    """
    from gateway.storage import SqliteConnection

    become_owner(path)

    try:
        file_connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS, factory=SqliteConnection)
        with closing(file_connection) as connection:
            _check(connection, path)
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection
    except sqlite3.Error as error:
        hint = (
            ""
            if os.access(path, os.R_OK | os.W_OK, effective_ids=True)
            else "; run the command as root or as the owner of the file"
        )
        raise click.ClickException(f"{path}: {error}{hint}") from None


@contextmanager
def _opened_shared(outbox: Outbox) -> Iterator[CommandConnection]:
    from gateway.storage import OutboxUnusable, StoreError, connect_shared

    try:
        # Not through a pooler, which does not keep the settings of a session.
        with closing(connect_shared(outbox.listen_url or outbox.url, outbox.schema)) as connection:
            yield connection
    except (OutboxUnusable, StoreError) as error:
        raise click.ClickException(f"the outbox on PostgreSQL: {error}") from None


def _check(connection: SqliteConnection, path: Path) -> None:
    from gateway.storage import APPLICATION_ID, SCHEMA_VERSION

    ours, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if ours != APPLICATION_ID:
        raise click.ClickException(f"{path} is not an outbox of flaggateway")
    if version != SCHEMA_VERSION:
        raise click.ClickException(
            f"{path} has schema {version}, this command supports {SCHEMA_VERSION}; use the one of the gateway"
        )


def become_owner(path: Path) -> None:
    """Switch from root to the file's owner: SQLite creates files beside it, and the gateway must own them."""
    owner = path.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    group = os.getegid()
    # The group changes first and back last, since only root may change it.
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        path.stat()
    except PermissionError:
        # The directory is open to root alone, as with systemd's DynamicUser: stay root.  SQLite gives files that root
        # creates beside a database to the owner of the database.
        os.seteuid(0)
        os.setegid(group)


def in_transaction(connection: CommandConnection, work: Callable[[], Any]) -> Any:
    """Run ``work`` in a transaction; waits up to ``BUSY_SECONDS`` for a transaction of the gateway."""
    connection.begin()
    try:
        result = work()
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return result
