"""What the courier asks of the database: what is due, what came of it, what the command line wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from gateway.webhooks.store import message_table as ledger
from gateway.webhooks.store import queue_stats as meter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection

    from twisted.internet.defer import Deferred

    from gateway.http_client import Attempt
    from gateway.storage import Store
    from gateway.webhooks.delivery.recovery import Early
    from gateway.webhooks.formats.message import Message
    from gateway.webhooks.store.message_table import Letter
    from gateway.webhooks.store.queue_stats import Reading

    Found = tuple[list[Letter], float | None]
    Look = Callable[[sqlite3.Connection, float], Found]


@frozen
class Due:
    """Letters that can go now, when the next one can (None when no other waits), and what else may go early."""

    letters: list[Letter]
    next_at: float | None
    early: Early | None = None


@frozen
class Wish:
    """What the command line asked for: ``look`` again at what is due, or ``test`` an endpoint."""

    act: str
    argument: str


class Outbox:
    """Every method is one transaction; a Deferred errs with ``sqlite3.Error`` when nothing was written.

    Moments are seconds since 1970.  What was written is on disk when a Deferred fires.
    """

    def __init__(self, store: Store, wall: Callable[[], float]) -> None:
        self._store = store
        self._wall = wall

    def due(
        self, endpoint: str, held: Collection[int], limit: int, early: Early | None = None, free: int = 0
    ) -> Deferred[Due]:
        """Return up to ``limit`` letters for ``endpoint``, without those that the caller holds already.

        Where fewer than ``free`` are due, the next of ``early`` are let go.
        """
        holding = frozenset(held)

        def look(connection: sqlite3.Connection, now: float) -> Found:
            return ledger.due_letters(connection, endpoint, now, holding, limit)

        return self._store.run(lambda c: self._due(c, endpoint, look, early, free))

    def next(self, endpoint: str, limit: int, early: Early | None = None) -> Deferred[Due]:
        """Return up to ``limit`` letters for ``endpoint`` in their order, up to the first that is not due yet.

        Where none is due, the next of ``early`` is let go.
        """

        def look(connection: sqlite3.Connection, now: float) -> Found:
            return ledger.next_letters(connection, endpoint, now, limit)

        return self._store.run(lambda c: self._due(c, endpoint, look, early, 1))

    def _due(self, connection: sqlite3.Connection, endpoint: str, look: Look, early: Early | None, free: int) -> Due:
        now = self._wall()
        letters, next_at = look(connection, now)
        if early is not None and len(letters) < free:
            early = ledger.let_go(connection, endpoint, early, now, free - len(letters))
            letters, next_at = look(connection, now)
        return Due(letters, next_at, early)

    def delivered(self, letter: Letter, attempt: Attempt, at: float) -> Deferred[None]:
        """Record the attempt that began at ``at``, and that the message arrived."""

        def work(connection: sqlite3.Connection) -> None:
            ledger.add_attempt(connection, letter, attempt, at)
            ledger.finish(connection, letter.row, "delivered", "", at + attempt.duration)

        return self._store.run(work)

    def postponed(self, letter: Letter, attempt: Attempt, at: float, due: float, asked: float) -> Deferred[None]:
        """Record a failed attempt, when the next one is due, and the moment before which it must not be made."""

        def work(connection: sqlite3.Connection) -> None:
            ledger.add_attempt(connection, letter, attempt, at)
            ledger.postpone(connection, letter.row, due, asked)

        return self._store.run(work)

    def failed(
        self, letter: Letter, attempt: Attempt, at: float, notices: Collection[Message]
    ) -> Deferred[Collection[str]]:
        """Record the last attempt and give the message up, and write the words about that to other endpoints.

        Fires with the names of the endpoints that have something to do.
        """

        def work(connection: sqlite3.Connection) -> Collection[str]:
            ledger.add_attempt(connection, letter, attempt, at)
            ledger.finish(connection, letter.row, "failed", attempt.text, at + attempt.duration)
            return ledger.add_messages(connection, notices, None, room=True)

        return self._store.run(work)

    def add(self, messages: Collection[Message]) -> Deferred[Collection[str]]:
        """Write messages that are about no change; fires with the names of the endpoints that have something to do."""
        return self._store.run(lambda c: ledger.add_messages(c, messages, None, room=True))

    def skip_orphans(self, names: Collection[str]) -> Deferred[int]:
        """Skip what waits for endpoints that are not among ``names``; fires with how many."""
        kept = frozenset(names)
        return self._store.run(lambda c: ledger.skip_orphans(c, kept, self._wall()))

    def purge(self, keep: float) -> Deferred[int]:
        """Delete what was finished more than ``keep`` seconds ago, a bounded number at a time; fires with how many."""
        before = self._wall() - keep

        def work(connection: sqlite3.Connection) -> int:
            messages = ledger.purge(connection, before, reason="purged: older than outbox.keep")
            return messages + ledger.purge_changes(connection, before)

        return self._store.run(work)

    def wishes(self) -> Deferred[list[Wish]]:
        """Return what the command line asked for since the last call, in its order, and forget it.

        Forgotten before it is granted: a crash in between loses a wish, and grants none twice.
        """
        return self._store.run(_wishes)

    def reading(self) -> Deferred[Reading]:
        """Return what waits and what was dropped."""
        return self._store.run(meter.read)

    def failing(self) -> Deferred[dict[str, float]]:
        """Return the endpoints that took nothing since their last failures, and since when."""
        return self._store.run(meter.failing)


def _wishes(connection: sqlite3.Connection) -> list[Wish]:
    rows = connection.execute("SELECT id, act, argument FROM wakes ORDER BY id").fetchall()
    if rows:
        connection.execute("DELETE FROM wakes WHERE id <= ?", (rows[-1][0],))
    return [Wish(act, argument) for _, act, argument in rows]
