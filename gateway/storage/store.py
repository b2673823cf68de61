"""What the tables of the outbox need of a database, whichever it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

T = TypeVar("T")
MessageState = Literal["pending", "delivered", "failed", "skipped"]  # in the table of messages


class StoreError(Exception):
    """The database refused a transaction or cannot be reached; the text is for the operator."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code  # SQLSTATE of PostgreSQL; empty without one


class LeaseLost(Exception):
    """Another node delivers to the endpoint, so nothing was written."""


STORE_ERRORS: Final = (sqlite3.Error, StoreError)  # nothing of the transaction is written; it may be tried again


class Cursor(Protocol):
    """The rows that a statement returns, in order."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed."""

    def fetchone(self) -> Any:
        """Return the next row as a tuple; None after the last one."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""

    def close(self) -> None:
        """Return no more rows; for a cursor of which not all rows were read."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection inside a transaction.  Statements are in the SQL that SQLite and PostgreSQL share, with ``?``."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor:
        """Run a statement."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run a statement once for each row of parameters."""

    def used_bytes(self) -> int:
        """Return the bytes that messages and changes take; deleting them frees their bytes at once.

        Evaluations are not counted: an export receiver that fails must not stop changes from being delivered.
        """

    def announce(self) -> None:
        """Wake the other nodes once the transaction is committed: there are new messages."""


class CommandConnection(Connection, Protocol):
    """The connection of a command, which is outside transactions unless it begins one."""

    def begin(self) -> None:
        """Begin a transaction that writes."""

    def commit(self) -> None:
        """End it."""

    def rollback(self) -> None:
        """Undo it."""


Work = Callable[[Connection], T]


class Store(Protocol):
    """Runs transactions."""

    def run(self, work: Work[T]) -> Deferred[T]:
        """Run ``work`` in a transaction; on failure nothing of it is written.

        ``work`` runs in another thread, and perhaps more than once until one run is committed: it may change nothing
        but the database, and read nothing that the reactor's thread changes.  Works run in the order of the calls, and
        their Deferreds fire in that order, in the reactor's thread.  Cancelling one stops the wait, not the work.

        :raises sqlite3.Error, StoreError: through the Deferred, as does what ``work`` raised
        """


class SharedStore(Protocol):
    """What several nodes with one database have in common."""

    @property
    def node(self) -> str:
        """The name of this process, which no other one has."""

    @property
    def ttl(self) -> float:
        """Seconds after which a lease that is not renewed is free."""

    def wall(self) -> float:
        """Return the time of the database in Unix seconds: the clocks of the nodes may differ."""

    def set_wall(self, now: float, asked: float) -> None:
        """Take note that the database's time was ``now`` a little after ``asked``, a moment of the reactor's clock."""

    @property
    def configs(self) -> Store:
        """Runs the transactions of the configs that the nodes share; they wait for no message."""

    def listen(self, look: Callable[[], None]) -> None:
        """Call ``look`` in the reactor's thread when another node has added messages, or may have."""

    def watch_configs(self, changed: Callable[[str, str], None]) -> None:
        """Call ``changed`` in the reactor's thread with the verb and the key of each ``shared_configs.announce``.

        After an interruption it is called with ``changed`` and "", which stands for all keys.
        """

    def deaf_for(self) -> float:
        """Return for how many seconds no notification could arrive; below two while they can."""


class OutboxStore(Store, Protocol):
    """A store that holds the outbox."""

    @property
    def recording(self) -> Store:
        """Runs the transactions that add or delete messages: of all nodes, one at a time."""

    @property
    def shared(self) -> SharedStore | None:
        """None for a database of this process alone."""

    def close(self) -> Deferred[Any]:
        """Finish the work of earlier calls, as far as the database answers; then the Deferred fires."""

    def read(self, query: Work[T], seconds: float, stopped: Callable[[], bool]) -> T:
        """Return the result of ``query``, all statements of which see the same state; blocks, in any thread.

        :raises sqlite3.Error, StoreError: after ``seconds`` (some more for a server that does not answer), once
            ``stopped`` returns true where the database can look at it, and for a query that writes
        """
