"""The SQLite file of the history, used by one thread: opened when it is needed, and again after an error."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Final, TypeVar

from gateway.history import tables
from gateway.storage import HISTORY, IncompatibleDatabase, LockFile, LockTaken, open_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

ERRORS: Final = (sqlite3.Error, OSError, LockTaken, IncompatibleDatabase)
"""What ``HistoryFile`` raises when the file cannot be used, for example because the disk is full."""
CACHE_KIBIBYTES: Final = 1024  # of pages; the history is read rarely


class HistoryFile:
    """The file at ``path``; one call at a time, in any thread, which it may block.

    A file that was deleted or replaced is noticed, and a new one is created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = LockFile(path)
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # device and inode
        self.first_id = 1  # of the applications that this process adds

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction and return its result; after an exception nothing of it is written.

        :raises Exception: one of ``ERRORS``, or what ``work`` raised
        """
        connection = self._open()
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            connection.commit()
        except tables.NotKept:
            connection.rollback()
            raise
        except BaseException:
            self.close()
            raise
        return result

    def close(self) -> None:
        """Close the file, which ends an open transaction, and release its lock; the next ``run`` opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._lock.release()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._identity() == self._file:
            return self._connection
        self.close()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            connection = open_file(self.path, HISTORY)
        except BaseException:
            self._lock.release()
            raise
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        self._connection = connection
        before, self._file = self._file, self._identity()
        if before != self._file:
            self.first_id = tables.last_id(connection) + 1
        return connection

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - the same call
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def reason_of(error: BaseException | None) -> str:
    """Return why the file cannot be used, in a few words."""
    if isinstance(error, LockTaken):
        return f"it is in use by another gateway ({error}); each gateway needs a file of its own"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__
