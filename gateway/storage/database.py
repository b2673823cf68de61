"""One SQLite file with one writer thread, which runs all waiting work in one transaction; adbapi is used only here.

run(work) ──► waiting ──► thread: BEGIN IMMEDIATE · work · work · work · COMMIT ──► the Deferreds fire, in order

A Deferred fires with a result only when what its work wrote is on disk.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gateway.storage.lock_file import LockFile, LockTaken
from gateway.storage.migrations import OUTBOX, IncompatibleDatabase, Schema, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
MessageState = Literal["pending", "delivered", "failed", "skipped"]  # in the table of messages

DISK_ERRORS: Final = (sqlite3.Error, OSError)  # disk full, locked, read-only or gone: such a write is retried
BUSY_SECONDS: Final = 2.0  # how long a transaction waits for the lock of another process; a change waits 0.25 s anyway
GROUP_LIMIT: Final = 500  # pieces of work in one transaction: bounds what runs again after one that fails
SLICE_SECONDS: Final = 0.005  # for the callbacks of one transaction, before the reactor serves others
# Python's default of 5 ms is what the database's thread waits for the interpreter after each statement while the
# reactor is busy: under load it took three times as long to record a change.
SWITCH_SECONDS: Final = 0.0005
# Holds evaluations that wait for their batch, so that they are not read back from the disk.  Most of the memory that
# an outbox adds to the process is this cache: it fills once and stays.
CACHE_KIBIBYTES: Final = 16 * 1024
CHECKPOINT_PAGES: Final = 1000  # SQLite's default: about 4 MB of write-ahead log


class OutboxUnusable(Exception):
    """The database cannot be opened; the text names the option and the remedy."""


class Store(Protocol):
    """Runs transactions."""

    def run(self, work: Work[T]) -> Deferred[T]:
        """Run ``work`` in a transaction; on failure nothing of it is written.

        ``work`` runs in another thread, and perhaps more than once until one run is committed: it may change nothing
        but the database, and read nothing that the reactor's thread changes.  Works run in the order of the calls, and
        their Deferreds fire in that order, in the reactor's thread.  Cancelling one stops the wait, not the work.

        :raises sqlite3.Error: through the Deferred, as does what ``work`` raised
        """


class Database:
    """The file at ``path``.  Call ``open`` before ``run``, and no ``run`` once ``close`` has fired.

    ``reactor`` also provides ``IReactorThreads``.
    """

    def __init__(self, reactor: IReactorTime, path: Path) -> None:
        self.path = path
        self._reactor = reactor
        self._lock = LockFile(path)
        self._pool: ConnectionPool | None = None
        self._waiting: list[tuple[Work[Any], Deferred[Any]]] = []
        self._busy = False
        self._results: deque[tuple[Deferred[Any], Any]] = deque()
        self._closing: list[Deferred[None]] = []

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
            isolation_level=None,  # otherwise Python begins transactions, and only at the first write
            timeout=BUSY_SECONDS,
        )
        self._pool.start()

    def run(self, work: Work[T]) -> Deferred[T]:
        """See ``Store``."""
        done: Deferred[T] = Deferred()
        self._waiting.append((work, done))
        self._schedule()
        return done

    def close(self) -> Deferred[None]:
        """Finish the work of all earlier calls, end the thread, release the lock; then the Deferred fires."""
        done: Deferred[None] = Deferred()
        done.addCallback(lambda _: self._close_pool())
        self._closing.append(done)
        self._close_if_idle()
        return done

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None
            self._lock.release()

    def _schedule(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            # After this turn of the reactor, which may add more work to the transaction.
            self._reactor.callLater(0, self._begin)

    def _begin(self) -> None:
        assert self._pool is not None
        group, self._waiting = self._waiting[:GROUP_LIMIT], self._waiting[GROUP_LIMIT:]
        works = [work for work, _ in group]
        ended: Deferred[Any] = self._pool.runWithConnection(transact, works)
        ended.addBoth(self._ended, [done for _, done in group])

    def _ended(self, results: Any, dones: list[Deferred[Any]]) -> None:
        self._busy = False
        if isinstance(results, Failure):
            results = [results] * len(dones)
        firing = bool(self._results)
        self._results.extend(zip(dones, results, strict=True))
        self._schedule()
        if not firing:
            self._fire()

    def _fire(self) -> None:
        """Fire the Deferreds, a slice at a time: their callbacks would delay everything else in the reactor."""
        until = self._reactor.seconds() + SLICE_SECONDS
        while self._results:
            done, result = self._results[0]
            done.callback(result)
            self._results.popleft()  # after the callbacks, during which the database does not count as idle
            if self._results and self._reactor.seconds() >= until:
                self._reactor.callLater(0, self._fire)
                return
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._busy or self._waiting or self._results:
            return
        closed, self._closing = self._closing, []
        for done in closed:
            done.callback(None)


def count_drop(connection: sqlite3.Connection, endpoint: str, reason: str, count: int) -> None:
    """Add to the number of messages or evaluations of an endpoint that were dropped for a reason."""
    connection.execute(
        "INSERT INTO drops (endpoint, reason, count) VALUES (?, ?, ?)"
        " ON CONFLICT (endpoint, reason) DO UPDATE SET count = count + excluded.count",
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


def transact(connection: sqlite3.Connection, works: list[Work[Any]]) -> list[Any]:
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


def _run_together(connection: sqlite3.Connection, works: list[Work[Any]]) -> list[Any]:
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


def _run_alone(connection: sqlite3.Connection, work: Work[Any]) -> Any:
    try:
        return _run_together(connection, [work])[0]
    except _CannotBegin as error:
        return error.failure
    except Exception:  # noqa: BLE001 - the border of the thread: the caller gets the failure through the Deferred
        return Failure()
