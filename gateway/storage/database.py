"""One SQLite file with one writer thread, which runs all waiting work in one transaction; adbapi is used only here.

run(work) ──► TransactionQueue ──► thread: BEGIN IMMEDIATE · work · work · work · COMMIT ──► the Deferreds fire

A Deferred fires with a result only when what its work wrote is on disk.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from twisted.enterprise.adbapi import ConnectionPool
from twisted.python.failure import Failure

from gateway.storage.lock_file import LockFile, LockTaken
from gateway.storage.migrations import OUTBOX, IncompatibleDatabase, Schema, migrate
from gateway.storage.transaction_queue import TransactionQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from gateway.storage.store import Connection, Store, Work

T = TypeVar("T")

DISK_ERRORS: Final = (sqlite3.Error, OSError)  # disk full, locked, read-only or gone: such a write is retried
BUSY_SECONDS: Final = 2.0  # how long a transaction waits for the lock of another process; a change waits 0.25 s anyway
STEPS: Final = 10_000  # of SQLite's virtual machine between two checks of the time of a query
# Python's default of 5 ms is what the database's thread waits for the interpreter after each statement while the
# reactor is busy: under load it took three times as long to record a change.
SWITCH_SECONDS: Final = 0.0005
# Holds evaluations that wait for their batch, so that they are not read back from the disk.  Most of the memory that
# an outbox adds to the process is this cache: it fills once and stays.
CACHE_KIBIBYTES: Final = 16 * 1024
CHECKPOINT_PAGES: Final = 1000  # SQLite's default: about 4 MB of write-ahead log


class OutboxUnusable(Exception):
    """The database cannot be opened; the text names the option and the remedy."""


class SqliteConnection(sqlite3.Connection):
    """A ``Connection``."""

    def used_bytes(self) -> int:
        """See ``Connection``: the bytes of pages in use; the file may be larger, and reuses free pages."""
        pages, free, size = (
            self.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        (spooled,) = self.execute("SELECT bytes FROM spooled").fetchone()
        return int(max(0, (pages - free) * size - spooled))

    def announce(self) -> None:
        """See ``Connection``: there is no other node."""

    def begin(self) -> None:
        """Begin a transaction with the write lock; waits for that of another process."""
        self.execute("BEGIN IMMEDIATE")


class Database:
    """The file at ``path``.  Call ``open`` before ``run``, and no ``run`` once ``close`` has fired.

    ``reactor`` also provides ``IReactorThreads``.
    """

    shared: None = None  # see ``OutboxStore``

    def __init__(self, reactor: IReactorTime, path: Path) -> None:
        self.path = path
        self._reactor = reactor
        self._lock = LockFile(path)
        self._pool: ConnectionPool | None = None
        self._queue = TransactionQueue(reactor, self._transact)

    def open(self) -> None:
        """Create or upgrade the file and start the thread.

        Blocks for some milliseconds, so that the start of the gateway fails at once.  Lowers the switch interval of
        the process, and leaves it so.

        :raises OutboxUnusable: with nothing left open
        """
        with _explain_errors(self.path):
            _create_folder(self.path)
            self._lock.acquire()
            try:
                open_file(self.path, OUTBOX).close()
            except BaseException:
                self._lock.release()
                raise
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
        self._pool = ConnectionPool(
            "sqlite3",
            str(self.path),
            cp_reactor=self._reactor,
            cp_min=1,
            cp_max=1,
            cp_openfun=prepare,
            check_same_thread=False,  # adbapi closes the connection in the thread that closes the pool
            factory=SqliteConnection,
            isolation_level=None,  # otherwise Python begins transactions, and only at the first write
            timeout=BUSY_SECONDS,
        )
        self._pool.start()

    @property
    def recording(self) -> Store:
        """See ``OutboxStore``."""
        return self

    def run(self, work: Work[T]) -> Deferred[T]:
        """See ``Store``."""
        return self._queue.run(work)

    def read(self, query: Work[T], seconds: float, stopped: Callable[[], bool]) -> T:
        """See ``OutboxStore``."""
        uri = f"file:{quote(str(self.path))}?mode=ro"
        opened = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=seconds, factory=SqliteConnection)
        with closing(opened) as connection:
            deadline = monotonic() + seconds
            connection.set_progress_handler(lambda: stopped() or monotonic() > deadline, STEPS)
            # One transaction, so that all statements of the query see the same state.
            connection.execute("BEGIN")
            return query(connection)

    def close(self) -> Deferred[None]:
        """Finish the work of all earlier calls, end the thread, release the lock; then the Deferred fires."""
        return self._queue.idle().addCallback(lambda _: self._close_pool())

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None
            self._lock.release()

    def _transact(self, works: list[Work[Any]]) -> Deferred[list[Any]]:
        assert self._pool is not None
        done: Deferred[list[Any]] = self._pool.runWithConnection(transact, works)
        return done


def count_drop(connection: Connection, endpoint: str, reason: str, count: int) -> None:
    """Add to the number of messages or evaluations of an endpoint that were dropped for a reason."""
    connection.execute(
        "INSERT INTO drops (endpoint, reason, count) VALUES (?, ?, ?)"
        " ON CONFLICT (endpoint, reason) DO UPDATE SET count = drops.count + excluded.count",
        (endpoint, reason, count),
    )


def _create_folder(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_file(path: Path, schema: Schema) -> sqlite3.Connection:
    """Return a connection to the file at ``path``, which is created or upgraded to ``schema``; its folder exists.

    Only its owner may read the file, since it contains users or targeting rules.  Any thread may use the connection,
    one at a time.

    :raises IncompatibleDatabase: for the file of another program or of a newer gateway
    :raises OSError: if the file cannot be created
    :raises sqlite3.Error: if it cannot be opened or written
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
    try:
        migrate(connection, schema)
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except LockTaken as error:
        text = f"outbox.path: {path} is in use by another gateway ({error}); each gateway needs a file of its own"
        raise OutboxUnusable(text) from error
    except OSError as error:
        raise OutboxUnusable(f"outbox.path: {path} cannot be written: {error.strerror}") from error
    except IncompatibleDatabase as error:
        raise OutboxUnusable(f"outbox.path: {path}: {error}") from error
    except sqlite3.Error as error:
        raise OutboxUnusable(f"outbox.path: {path} cannot be opened: {error}") from error


def prepare(connection: sqlite3.Connection) -> None:
    """Set the options that SQLite keeps per connection."""
    # Readers (the command line, the diagnostics port) and the writer do not block each other.
    connection.execute("PRAGMA journal_mode = WAL")
    # NORMAL would sync a commit only at the next checkpoint: a power cut would lose acknowledged work.
    connection.execute("PRAGMA synchronous = FULL")
    # Off by default; deleting a message deletes its attempts.
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
    # Debian's SQLite overwrites deleted data, so it writes and syncs each of its pages once more: half of the
    # exporter's disk traffic.  FAST does so only in pages that stay in use.
    connection.execute("PRAGMA secure_delete = FAST")


def transact(connection: SqliteConnection, works: list[Work[Any]]) -> list[Any]:
    """Run all works in one transaction; if one fails, each in a transaction of its own.

    Returns a result or a Failure per work, in order.  A locked database fails all of them at once: no work caused it,
    and waiting for the lock once per work would take minutes.
    """
    try:
        return _run_together(connection, works)
    except _CannotBegin as error:
        return [error.failure] * len(works)
    except Exception:  # noqa: BLE001 - any work may have raised it; each reports its own failure in the second run
        return [_run_alone(connection, work) for work in works]


class _CannotBegin(Exception):
    """The transaction could not begin, so no work has run."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


def _run_together(connection: SqliteConnection, works: list[Work[Any]]) -> list[Any]:
    try:
        # Takes the write lock at once: a transaction that starts with a read can be refused later without a wait.
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error:
        raise _CannotBegin(Failure()) from None
    try:
        results = [work(connection) for work in works]
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return results


def _run_alone(connection: SqliteConnection, work: Work[Any]) -> Any:
    try:
        return _run_together(connection, [work])[0]
    except _CannotBegin as error:
        return error.failure
    except Exception:  # noqa: BLE001 - the border of the thread: the caller gets the failure through the Deferred
        return Failure()
