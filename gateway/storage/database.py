"""One SQLite file, one writer thread, one transaction for all the work that waits: the only module that knows adbapi.

run(work) ──► waiting ──► thread: BEGIN IMMEDIATE · work · work · work · COMMIT ──► the Deferreds fire, in order

A Deferred fires with a result only when what the work wrote is on disk.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import deque
from collections.abc import Callable
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gateway.storage.lock_file import Claim, Taken, claimed
from gateway.storage.migrations import NotOurs, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_SECONDS: Final = 2.0  # how long a transaction waits for another process's lock; a change waits 0.25 s anyway
GROUP_LIMIT: Final = 500  # pieces of work in one transaction: bounds what one fault makes run again
SLICE_SECONDS: Final = 0.005  # of the reactor for what follows from one transaction, before others have their turn
# Python's 5 ms are what the database's thread waits for its turn after each statement while the reactor is busy: under
# load a change took three times as long to be recorded.
SWITCH_SECONDS: Final = 0.0005
# So that evaluations that wait for their batch are not read back from the disk.  Most of what an outbox adds to the
# memory of the process is this: it fills once and stays.
CACHE_KIBIBYTES: Final = 16 * 1024
CHECKPOINT_PAGES: Final = 1000  # SQLite's own figure: about 4 MB of write-ahead log


class OutboxUnusable(Exception):
    """The database cannot be opened at all; the text names the option and the remedy."""


class Store(Protocol):
    """Where transactions run."""

    def run(self, work: Work[T]) -> Deferred[T]:
        """Do ``work`` in a transaction; errs with what it raised, or with ``sqlite3.Error``; then nothing was written.

        ``work`` runs in another thread, and may be run more than once before one run is kept: it must change nothing
        but the database, and read nothing that the reactor's thread changes meanwhile.  Works run in the order of the
        calls, and their Deferreds fire in it, in the reactor's thread.  To cancel one stops the waiting, not the work.
        """


class Database:
    """The file at ``path``; ``open`` before ``run``, ``close`` at the end, and no ``run`` after it has fired."""

    def __init__(self, reactor: Any, path: Path) -> None:
        self.path = path
        self._reactor = reactor
        self._claim = Claim(path)
        self._pool: ConnectionPool | None = None
        self._waiting: list[tuple[Work[Any], Deferred[Any]]] = []
        self._busy = False
        self._results: deque[tuple[Deferred[Any], Any]] = deque()
        self._idle: list[Deferred[None]] = []

    def open(self) -> None:
        """Create or upgrade the file, and start the thread; raises ``OutboxUnusable`` with nothing left open.

        Takes some milliseconds in the calling thread, so that whoever starts the gateway learns at once.
        Python's switch interval is that of the whole process, and stays at what is set here.
        """
        with _explained(self.path):
            _make_room_for(self.path)
            self._claim.take()
            try:
                _prepare_file(self.path)
            except BaseException:
                self._claim.release()
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
            isolation_level=None,  # Python would begin transactions by itself, and late: at the first write
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
        """Fire when all work is done, the thread has ended and the claim is let go; work of before then is done too."""
        done: Deferred[None] = Deferred()
        done.addCallback(lambda _: self._end())
        self._idle.append(done)
        self._rest()
        return done

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None
            self._claim.release()

    def _schedule(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            # One turn of the reactor gathers what belongs together.
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
        """Tell the callers, a slice at a time: what they do next would hold up everybody else in the reactor."""
        until = self._reactor.seconds() + SLICE_SECONDS
        while self._results:
            done, result = self._results[0]
            done.callback(result)
            self._results.popleft()  # only now, so that nobody takes this for the end
            if self._results and self._reactor.seconds() >= until:
                self._reactor.callLater(0, self._fire)
                return
        self._rest()

    def _rest(self) -> None:
        if self._busy or self._waiting or self._results:
            return
        idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.callback(None)


def check(path: Path) -> None:
    """Do what ``Database.open`` does before it opens; raises ``OutboxUnusable``.  Not for a file that is open."""
    with _explained(path):
        _make_room_for(path)
        with claimed(path):
            _prepare_file(path)


def _make_room_for(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _prepare_file(path: Path) -> None:
    """Create the file for nobody but us (messages name users), bring it to our schema."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
        migrate(connection)
        prepare(connection)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn every fault into ``OutboxUnusable``."""
    try:
        yield
    except Taken as error:
        text = f"outbox.path: {path} is in use by another gateway ({error}); each gateway needs a file of its own"
        raise OutboxUnusable(text) from error
    except OSError as error:
        raise OutboxUnusable(f"outbox.path: {path} cannot be written: {error.strerror}") from error
    except NotOurs as error:
        raise OutboxUnusable(f"outbox.path: {path}: {error}") from error
    except sqlite3.Error as error:
        raise OutboxUnusable(f"outbox.path: {path} cannot be opened: {error}") from error


def prepare(connection: sqlite3.Connection) -> None:
    """Set what SQLite forgets when a connection is closed."""
    # A reader (the command line, the diagnostics port) and the writer do not wait for each other.
    connection.execute("PRAGMA journal_mode = WAL")
    # With NORMAL a commit is synced at the next checkpoint only: a power cut would take back what was promised.
    connection.execute("PRAGMA synchronous = FULL")
    # Off unless asked for; attempts go with their message.
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
    # Debian's SQLite overwrites what is deleted, and for that writes and syncs each page of it once more: half of all
    # that the exporter cost the disk.  FAST leaves pages alone that become free as a whole, until they are used again.
    connection.execute("PRAGMA secure_delete = FAST")


def transact(connection: sqlite3.Connection, works: list[Work[Any]]) -> list[Any]:
    """Do all works in one transaction; when one fails, each in a transaction of its own.

    Returns a result or a Failure for each work, in order.  A database that is locked fails all at once: it is nobody's
    fault, and to wait for the lock once more for each work would take minutes.
    """
    try:
        return _together(connection, works)
    except Locked as locked:
        return [locked.failure] * len(works)
    except Exception:  # noqa: BLE001 - the border of the thread; told below, work by work
        return [_alone(connection, work) for work in works]


class Locked(Exception):
    """No transaction could begin."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


def _together(connection: sqlite3.Connection, works: list[Work[Any]]) -> list[Any]:
    try:
        # Takes the write lock now: a transaction that begins to write later may be refused without any wait.
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error:
        raise Locked(Failure()) from None
    try:
        results = [work(connection) for work in works]
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return results


def _alone(connection: sqlite3.Connection, work: Work[Any]) -> Any:
    try:
        return _together(connection, [work])[0]
    except Locked as locked:
        return locked.failure
    except Exception:  # noqa: BLE001 - the border of the thread: the caller gets it through the Deferred
        return Failure()
