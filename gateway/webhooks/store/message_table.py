"""The tables of messages, attempts and sequence numbers, as functions of a connection inside a transaction."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from gateway.storage import count_drop
from gateway.webhooks.formats import Message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gateway.http_client import Attempt
    from gateway.storage import Connection
    from gateway.webhooks.formats import Skipped

PURGE_STEP: Final = 1000  # rows deleted in one transaction: bounds how long a change waits for a purge
PAIRS: Final = 100  # looked up by one statement; SQLite takes some hundred parameters in any build
ATTEMPTS_KEPT: Final = 50  # per message; a retry schedule of three days has about 20

_COLUMNS: Final = (
    "row, sequence, tries, first_try, due, earlier, id, endpoint, format, type, subject, body, created,"
    " sdk_id, old_etag, new_etag"
)


@frozen
class QueuedMessage:
    """A message that is not delivered yet; times are Unix seconds.

    ``earlier`` of the ``tries`` were made before the latest retry request of an operator, which restarts the schedule.
    """

    row: int
    message: Message
    sequence: int
    tries: int
    first_try: float | None  # None before the first attempt of the current schedule
    due: float
    earlier: int = 0


@frozen
class EarlyRetries:
    """Messages created before ``before``, in rows behind ``after``, which may be sent before they are due."""

    before: float  # Unix seconds
    after: int = 0


def add_messages(
    connection: Connection, messages: Iterable[Message], change_id: int | None, *, room: bool
) -> list[str]:
    """Add each message under the next sequence number of its endpoint, unless the endpoint has its id already.

    Without ``room`` the messages are dropped and counted.  Returns the endpoints that got new messages.
    """
    if not room:
        for message in messages:
            count_drop(connection, message.endpoint, "refused: the outbox is full", 1)
        return []
    wanted = {(message.endpoint, message.id): message for message in reversed(list(messages))}
    known = _known(connection, list(wanted))
    fresh = [message for key, message in reversed(wanted.items()) if key not in known]
    endpoints = list(dict.fromkeys(message.endpoint for message in fresh))
    if fresh:
        following = _take_sequences(connection, Counter(message.endpoint for message in fresh))
        rows = []
        for each in fresh:
            following[each.endpoint] += 1
            rows.append(_row(each, following[each.endpoint], change_id, "pending", ""))
        connection.executemany(_INSERT, rows)
        connection.announce()
    return endpoints


def _known(connection: Connection, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return which pairs of endpoint and id the table has."""
    found: set[tuple[str, str]] = set()
    for start in range(0, len(keys), PAIRS):
        some = keys[start : start + PAIRS]
        pairs = ", ".join(["(?, ?)"] * len(some))
        query = (  # a sub-query per pair, for which SQLite uses the index; a list of pairs makes it read the table
            f"WITH wanted (endpoint, id) AS (VALUES {pairs}) SELECT endpoint, id FROM wanted WHERE EXISTS"  # noqa: S608 - only marks
            " (SELECT 1 FROM messages WHERE messages.endpoint = wanted.endpoint AND messages.id = wanted.id)"
        )
        found.update((endpoint, number) for endpoint, number in connection.execute(query, [*chain(*some)]))
    return found


def add_skipped(connection: Connection, skipped: Iterable[Skipped], change_id: int | None) -> None:
    """Record messages that are not sent, as finished; they take no sequence number."""
    for entry in skipped:
        if _known(connection, [(entry.endpoint, entry.id)]):
            continue
        about = (entry.id, entry.endpoint, entry.format, entry.type, entry.subject)
        message = Message(*about, b"", entry.created, sdk_id=entry.sdk_id)
        reason = entry.reason if entry.count == 1 else f"{entry.reason} ({entry.count} messages)"
        connection.execute(_INSERT, _row(message, 0, change_id, "skipped", reason))


_INSERT: Final = (
    "INSERT INTO messages (id, endpoint, sequence, format, type, subject, body, created, change_id, sdk_id,"
    " old_etag, new_etag, state, reason, due, finished)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _row(message: Message, sequence: int, change_id: int | None, state: str, reason: str) -> tuple[object, ...]:
    finished = None if state == "pending" else message.created
    return (
        message.id, message.endpoint, sequence, message.format, message.type, message.subject, message.body,
        message.created, change_id, message.sdk_id, message.old_etag, message.new_etag, state, reason,
        message.created, finished,
    )  # fmt: skip


def _take_sequences(connection: Connection, counts: Mapping[str, int]) -> dict[str, int]:
    """Take so many sequence numbers of each endpoint; return the number before the first of them."""
    rows = connection.execute(
        f"INSERT INTO endpoints (name, sequence) VALUES {', '.join(['(?, ?)'] * len(counts))}"  # noqa: S608 - only marks
        " ON CONFLICT (name) DO UPDATE SET sequence = endpoints.sequence + excluded.sequence RETURNING name, sequence",
        [*chain(*counts.items())],
    )
    return {name: sequence - counts[name] for name, sequence in rows.fetchall()}


def due_messages(
    connection: Connection, endpoint: str, now: float, excluded: Collection[int], limit: int
) -> tuple[list[QueuedMessage], float | None]:
    """Return up to ``limit`` messages that are due, except the rows ``excluded``, the longest due first.

    A message is first due when it is created, so new messages come in the order of their sequence.
    The second value is when the next of the others is due; None if there is none.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM messages"  # noqa: S608 - our own names
        " WHERE endpoint = ? AND state = 'pending' AND due <= ? ORDER BY due, sequence LIMIT ?",
        (endpoint, now, limit + len(excluded)),
    ).fetchall()
    messages = [_queued(row) for row in rows if row[0] not in excluded][:limit]
    query = "SELECT min(due) FROM messages WHERE endpoint = ? AND state = 'pending' AND due > ?"
    return messages, connection.execute(query, (endpoint, now)).fetchone()[0]


def next_in_order(
    connection: Connection, endpoint: str, now: float, limit: int
) -> tuple[list[QueuedMessage], float | None]:
    """Return up to ``limit`` messages in the order in which they were created, up to the first that is not due yet.

    The second value is when that one is due; None if there is none.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM messages INDEXED BY messages_pending"  # noqa: S608 - our own names
        " WHERE endpoint = ? AND state = 'pending' ORDER BY row LIMIT ?",
        (endpoint, limit),
    )
    messages: list[QueuedMessage] = []
    for queued in map(_queued, rows):
        if queued.due > now:
            return messages, queued.due
        messages.append(queued)
    return messages, None


def _queued(columns: tuple[Any, ...]) -> QueuedMessage:
    row, sequence, tries, first_try, due, earlier, *message = columns
    return QueuedMessage(row, Message(*message), sequence, tries, first_try, due, earlier)


def add_attempt(connection: Connection, queued: QueuedMessage, attempt: Attempt, at: float) -> None:
    """Record an attempt that began at ``at``; beyond ``ATTEMPTS_KEPT`` the oldest attempts are deleted."""
    number = queued.tries + 1
    connection.execute(
        "INSERT INTO attempts (message, number, at, status, outcome, duration, answer) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (message, number) DO UPDATE SET at = excluded.at, status = excluded.status,"
        " outcome = excluded.outcome, duration = excluded.duration, answer = excluded.answer",
        (queued.row, number, at, attempt.status, attempt.text, attempt.duration, attempt.answer),
    )
    if number > ATTEMPTS_KEPT:
        oldest = number - ATTEMPTS_KEPT
        connection.execute("DELETE FROM attempts WHERE message = ? AND number <= ?", (queued.row, oldest))
    first = queued.first_try if queued.first_try is not None else at
    connection.execute("UPDATE messages SET tries = ?, first_try = ? WHERE row = ?", (number, first, queued.row))


def postpone(connection: Connection, row: int, due: float, not_before: float) -> None:
    """Make a message due at ``due``; an early retry may come before that, but not before ``not_before``."""
    query = "UPDATE messages SET due = ?, asked = ? WHERE row = ? AND state = 'pending'"
    connection.execute(query, (due, not_before, row))


def shift(connection: Connection, seconds: float) -> None:
    """Move the times of pending messages by ``seconds``, by which the system clock was set.

    After it was set back each is due after the pause that was left.  After it was set forward each may be due early,
    because messages that were postponed under the new time look the same; only the start of ``retry_for`` moves.
    """
    back = min(seconds, 0.0)
    connection.execute(
        "UPDATE messages SET due = due + ?, asked = CASE WHEN asked > ? THEN asked + ? ELSE 0 END,"
        " first_try = first_try + ? WHERE state = 'pending'",
        (back, -back, back, seconds),
    )


def latest_moment(connection: Connection) -> float:
    """Return the latest time at which a message is known to be created or tried first, in Unix seconds; 0 if none."""
    created = connection.execute("SELECT created FROM messages ORDER BY row DESC LIMIT 1").fetchone()
    (tried,) = connection.execute("SELECT max(first_try) FROM messages WHERE state = 'pending'").fetchone()
    return float(max(0 if created is None else created[0], tried or 0))


def release_early(
    connection: Connection, endpoint: str, early: EarlyRetries, now: float, limit: int
) -> EarlyRetries | None:
    """Make the next ``limit`` messages of ``early`` due now, or when ``Retry-After`` allows; return the rest."""
    rows = connection.execute(
        "SELECT row, asked FROM messages INDEXED BY messages_pending WHERE endpoint = ? AND state = 'pending'"
        " AND row > ? AND created < ? AND due > asked AND due > ? ORDER BY row LIMIT ?",
        (endpoint, early.after, early.before, now, limit),
    ).fetchall()
    earlier = [(max(asked, now), row) for row, asked in rows]
    connection.executemany("UPDATE messages SET due = ? WHERE row = ?", earlier)
    return evolve(early, after=rows[-1][0]) if len(rows) == limit else None


def finish(connection: Connection, row: int, state: str, reason: str, now: float) -> None:
    """Set the final state of a pending message; another message keeps its state."""
    connection.execute(
        "UPDATE messages SET state = ?, reason = ?, finished = ? WHERE row = ? AND state = 'pending'",
        (state, reason, now, row),
    )


def skip_orphans(connection: Connection, names: Collection[str], now: float) -> int:
    """Mark pending messages for endpoints other than ``names`` as skipped; return how many."""
    pending = connection.execute("SELECT DISTINCT endpoint FROM messages WHERE state = 'pending'").fetchall()
    skipped = 0
    for (endpoint,) in pending:
        if endpoint not in names:
            skipped += connection.execute(
                "UPDATE messages SET state = 'skipped', reason = 'the endpoint was removed from the settings',"
                " finished = ? WHERE endpoint = ? AND state = 'pending'",
                (now, endpoint),
            ).rowcount
    return skipped


def purge(connection: Connection, before: float, limit: int = PURGE_STEP, *, reason: str = "purged") -> int:
    """Delete messages that were finished before ``before``, the oldest first; return how many.

    Pending messages are never deleted, however old they are.
    """
    rows = connection.execute(
        "SELECT row, endpoint FROM messages WHERE state <> 'pending' AND finished < ? ORDER BY finished LIMIT ?",
        (before, limit),
    ).fetchall()
    counts: dict[str, int] = {}
    for row, endpoint in rows:
        connection.execute("DELETE FROM messages WHERE row = ?", (row,))
        counts[endpoint] = counts.get(endpoint, 0) + 1
    for endpoint, count in counts.items():
        count_drop(connection, endpoint, reason, count)
    return len(rows)


def purge_changes(connection: Connection, before: float, limit: int = PURGE_STEP) -> int:
    """Delete changes recorded before ``before``, the oldest first, but never the newest; return how many."""
    return connection.execute(
        "DELETE FROM changes WHERE id IN (SELECT id FROM changes WHERE at < ?"
        " AND id < (SELECT max(id) FROM changes) ORDER BY at LIMIT ?)",
        (before, limit),
    ).rowcount


def make_room(connection: Connection, max_bytes: int) -> bool:
    """Delete the oldest finished messages and changes to get below ``max_bytes``; return whether that is reached."""
    while connection.used_bytes() >= max_bytes:
        purged = purge(connection, float("inf"), reason="purged: the outbox is full")
        if not purged and not purge_changes(connection, float("inf")):
            return False
    return True
