"""The transactions of delivery and maintenance on the outbox: due messages, results of attempts, operator requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from gateway.webhooks.store import message_table, queries, queue_stats

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from twisted.internet.defer import Deferred

    from gateway.http_client import Attempt
    from gateway.storage import Connection, Store
    from gateway.webhooks.formats import Message
    from gateway.webhooks.store.message_table import EarlyRetries, QueuedMessage
    from gateway.webhooks.store.queries import AdminRequest
    from gateway.webhooks.store.queue_stats import QueueStats


@frozen
class Due:
    """Messages that can be sent now, when the next one is due (None if no other waits), and the rest of ``early``."""

    messages: list[QueuedMessage]
    next_at: float | None
    early: EarlyRetries | None = None


class Outbox:
    """Each method is one transaction, on disk when its Deferred fires; ``wall`` returns Unix seconds.

    A Deferred fails with one of ``STORE_ERRORS`` if nothing was written.  ``recording`` runs what adds or deletes
    messages.  ``fence`` returns the check that this node delivers to an endpoint; the transactions of its attempts
    begin with it, and fail with ``LeaseLost``.
    """

    def __init__(
        self,
        store: Store,
        wall: Callable[[], float],
        *,
        recording: Store | None = None,
        fence: Callable[[str], Callable[[Connection], None]] = lambda _endpoint: lambda _connection: None,
    ) -> None:
        self._store = store
        self._recording = recording or store
        self._wall = wall
        self._fence = fence

    def due(
        self, endpoint: str, held: Collection[int], limit: int, *, in_order: bool, early: EarlyRetries | None, free: int
    ) -> Deferred[Due]:
        """Return up to ``limit`` due messages for ``endpoint``, except the rows ``held``.

        ``in_order`` ends the list at the first message that is not due yet.  If fewer than ``free`` are due, messages
        of ``early`` become due to make up for it.
        """
        excluded = frozenset(held)  # the caller changes its set while this runs

        def look(connection: Connection, now: float) -> tuple[list[QueuedMessage], float | None]:
            if in_order:
                return message_table.next_in_order(connection, endpoint, now, limit)
            return message_table.due_messages(connection, endpoint, now, excluded, limit)

        def work(connection: Connection) -> Due:
            now, rest = self._wall(), early
            messages, next_at = look(connection, now)
            if early is not None and len(messages) < free:
                rest = message_table.release_early(connection, endpoint, early, now, free - len(messages))
                messages, next_at = look(connection, now)
            return Due(messages, next_at, rest)

        return self._store.run(work)

    def delivered(self, queued: QueuedMessage, attempt: Attempt, at: float) -> Deferred[None]:
        """Record the attempt that began at ``at``, and that the message was delivered."""
        check = self._fence(queued.message.endpoint)

        def work(connection: Connection) -> None:
            check(connection)
            message_table.add_attempt(connection, queued, attempt, at)
            message_table.finish(connection, queued.row, "delivered", "", at + attempt.duration)

        return self._store.run(work)

    def postponed(
        self, queued: QueuedMessage, attempt: Attempt, at: float, due: float, not_before: float
    ) -> Deferred[None]:
        """Record a failed attempt and when the next one is due; see ``message_table.postpone``."""
        check = self._fence(queued.message.endpoint)

        def work(connection: Connection) -> None:
            check(connection)
            message_table.add_attempt(connection, queued, attempt, at)
            message_table.postpone(connection, queued.row, due, not_before)

        return self._store.run(work)

    def failed(
        self, queued: QueuedMessage, attempt: Attempt, at: float, notices: Collection[Message]
    ) -> Deferred[None]:
        """Record the last attempt of a message that is given up, and add ``notices`` of that to other endpoints."""
        check = self._fence(queued.message.endpoint)

        def work(connection: Connection) -> None:
            check(connection)
            message_table.add_attempt(connection, queued, attempt, at)
            message_table.finish(connection, queued.row, "failed", attempt.text, at + attempt.duration)
            message_table.add_messages(connection, notices, None, room=True)

        return self._recording.run(work)

    def add(self, messages: Collection[Message]) -> Deferred[list[str]]:
        """Add messages that belong to no change; fires with the names of the endpoints that got new messages."""
        return self._recording.run(lambda connection: message_table.add_messages(connection, messages, None, room=True))

    def skip_orphans(self, names: Collection[str]) -> Deferred[int]:
        """Mark pending messages for endpoints other than ``names`` as skipped; fires with how many."""
        kept = frozenset(names)
        return self._store.run(lambda connection: message_table.skip_orphans(connection, kept, self._wall()))

    def purge(self, keep: float) -> Deferred[int]:
        """Delete up to ``PURGE_STEP`` messages and changes finished more than ``keep`` seconds ago; see ``purge``."""
        before = self._wall() - keep

        def work(connection: Connection) -> int:
            messages = message_table.purge(connection, before, reason="purged: older than outbox.keep")
            return messages + message_table.purge_changes(connection, before)

        return self._recording.run(work)

    def shift(self, seconds: float) -> Deferred[None]:
        """Move the times of what waits, after the system clock was set by ``seconds``; see ``message_table.shift``."""
        return self._store.run(lambda connection: message_table.shift(connection, seconds))

    def follow_clock_of_last_run(self) -> Deferred[None]:
        """Move the times of what waits, if the system clock was set back between the last run and this one."""

        def work(connection: Connection) -> None:
            behind = self._wall() - message_table.latest_moment(connection)
            if behind < 0:
                message_table.shift(connection, behind)

        return self._store.run(work)

    def take_requests(self) -> Deferred[list[AdminRequest]]:
        """Return and delete the requests of the command line, the oldest first.

        They are deleted before they are carried out: a crash in between loses one, and repeats none.
        """
        return self._store.run(queries.take_requests)

    def stats(self) -> Deferred[QueueStats]:
        """Return how many messages wait and were dropped."""
        return self._store.run(queue_stats.read)

    def failing(self) -> Deferred[dict[str, float]]:
        """Return the endpoints that accepted nothing since their last failure, and since when."""
        return self._store.run(queue_stats.failing)
