"""What is written to and read from the outbox's tables, as functions of a connection inside a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from gateway.storage import count_drop
from gateway.webhooks.formats.message import Message

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

    from gateway.http_client import Attempt
    from gateway.webhooks.delivery.recovery import Early
    from gateway.webhooks.formats.message import Skipped

PURGE_STEP: Final = 1000  # rows deleted in one transaction, so that a change never waits long for a purge
ATTEMPTS_KEPT: Final = 50  # per message; a retry schedule of three days has about 20

_LETTER: Final = (
    "row, sequence, tries, first_try, due, earlier, id, endpoint, format, type, subject, body, created,"
    " sdk_id, old_etag, new_etag"
)


@frozen
class Letter:
    """A message that waits for its endpoint; ``first_try`` is None before the first attempt.  Unix seconds.

    ``earlier`` of its ``tries`` are from before somebody asked for another round: its schedule begins anew after them.
    """

    row: int
    message: Message
    sequence: int
    tries: int
    first_try: float | None
    due: float
    earlier: int = 0


def add_messages(
    connection: sqlite3.Connection, messages: Iterable[Message], change_id: int | None, *, room: bool
) -> list[str]:
    """Add each message under the next sequence number of its endpoint; one that is there already is left alone.

    Without ``room`` they are refused, and counted.  Returns the endpoints that have something to do.
    """
    told: dict[str, None] = {}
    for message in messages:
        if not room:
            count_drop(connection, message.endpoint, "refused: the outbox is full", 1)
            continue
        if _known(connection, message.endpoint, message.id):
            continue
        _insert(connection, message.endpoint, message, change_id, "pending", "")
        told[message.endpoint] = None
    return list(told)


def add_skipped(connection: sqlite3.Connection, skipped: Iterable[Skipped], change_id: int | None) -> None:
    """Record what an endpoint did not want, as finished; it takes no sequence number."""
    for entry in skipped:
        if _known(connection, entry.endpoint, entry.id):
            continue
        about = (entry.id, entry.endpoint, entry.format, entry.type, entry.subject)
        message = Message(*about, b"", entry.created, sdk_id=entry.sdk_id)
        reason = entry.reason if entry.count == 1 else f"{entry.reason} ({entry.count} messages)"
        _insert(connection, entry.endpoint, message, change_id, "skipped", reason)


def _known(connection: sqlite3.Connection, endpoint: str, message_id: str) -> bool:
    query = "SELECT 1 FROM messages WHERE endpoint = ? AND id = ?"
    return connection.execute(query, (endpoint, message_id)).fetchone() is not None


def _insert(
    connection: sqlite3.Connection, endpoint: str, message: Message, change_id: int | None, state: str, reason: str
) -> None:
    sequence = _next_sequence(connection, endpoint) if state == "pending" else 0
    finished = None if state == "pending" else message.created
    connection.execute(
        "INSERT INTO messages (id, endpoint, sequence, format, type, subject, body, created, change_id, sdk_id,"
        " old_etag, new_etag, state, reason, due, finished)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message.id, endpoint, sequence, message.format, message.type, message.subject, message.body,
            message.created, change_id, message.sdk_id, message.old_etag, message.new_etag, state, reason,
            message.created, finished,
        ),
    )  # fmt: skip


def _next_sequence(connection: sqlite3.Connection, endpoint: str) -> int:
    row = connection.execute(
        "INSERT INTO endpoints (name, sequence) VALUES (?, 1)"
        " ON CONFLICT (name) DO UPDATE SET sequence = sequence + 1 RETURNING sequence",
        (endpoint,),
    ).fetchone()
    return int(row[0])


def due_letters(
    connection: sqlite3.Connection, endpoint: str, now: float, held: Collection[int], limit: int
) -> tuple[list[Letter], float | None]:
    """Return up to ``limit`` letters that are due and not ``held``, the longest due first; and a time.

    What was never tried is due since it was made, so fresh messages come in the order of their sequence.

    The second is when the next of those that are not due yet will be; None when there is none.
    """
    rows = connection.execute(
        f"SELECT {_LETTER} FROM messages"  # noqa: S608 - our own names
        " WHERE endpoint = ? AND state = 'pending' AND due <= ? ORDER BY due, sequence LIMIT ?",
        (endpoint, now, limit + len(held)),
    ).fetchall()
    letters = [_letter(row) for row in rows if row[0] not in held][:limit]
    query = "SELECT min(due) FROM messages WHERE endpoint = ? AND state = 'pending' AND due > ?"
    return letters, connection.execute(query, (endpoint, now)).fetchone()[0]


def next_letters(
    connection: sqlite3.Connection, endpoint: str, now: float, limit: int
) -> tuple[list[Letter], float | None]:
    """Return up to ``limit`` letters in the order in which they were made, up to the first that is not due yet.

    The second is when that one will be; None when there is none.
    """
    rows = connection.execute(
        f"SELECT {_LETTER} FROM messages INDEXED BY messages_pending"  # noqa: S608 - our own names
        " WHERE endpoint = ? AND state = 'pending' ORDER BY row LIMIT ?",
        (endpoint, limit),
    )
    letters: list[Letter] = []
    for letter in map(_letter, rows):
        if letter.due > now:
            return letters, letter.due
        letters.append(letter)
    return letters, None


def _letter(columns: tuple[Any, ...]) -> Letter:
    row, sequence, tries, first_try, due, earlier, *message = columns
    return Letter(row, Message(*message), sequence, tries, first_try, due, earlier)


def add_attempt(connection: sqlite3.Connection, letter: Letter, attempt: Attempt, at: float) -> None:
    """Record an attempt that began at ``at``; of very many, the oldest go."""
    number = letter.tries + 1
    connection.execute(
        "INSERT OR REPLACE INTO attempts (message, number, at, status, outcome, duration, answer)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (letter.row, number, at, attempt.status, attempt.text, attempt.duration, attempt.answer),
    )
    if number > ATTEMPTS_KEPT:
        oldest = number - ATTEMPTS_KEPT
        connection.execute("DELETE FROM attempts WHERE message = ? AND number <= ?", (letter.row, oldest))
    first = letter.first_try if letter.first_try is not None else at
    connection.execute("UPDATE messages SET tries = ?, first_try = ? WHERE row = ?", (number, first, letter.row))


def postpone(connection: sqlite3.Connection, row: int, due: float, asked: float) -> None:
    """Try again at ``due``, and never before ``asked``."""
    query = "UPDATE messages SET due = ?, asked = ? WHERE row = ? AND state = 'pending'"
    connection.execute(query, (due, asked, row))


def let_go(connection: sqlite3.Connection, endpoint: str, early: Early, now: float, limit: int) -> Early | None:
    """Make the next ``limit`` letters of ``early`` due now, or when their receiver asked for; returns the rest."""
    rows = connection.execute(
        "SELECT row, max(asked, ?1) FROM messages INDEXED BY messages_pending WHERE endpoint = ?2 AND state = 'pending'"
        " AND row > ?3 AND created < ?4 AND due > max(asked, ?1) ORDER BY row LIMIT ?5",
        (now, endpoint, early.after, early.before, limit),
    ).fetchall()
    connection.executemany("UPDATE messages SET due = ? WHERE row = ?", [(due, row) for row, due in rows])
    return evolve(early, after=rows[-1][0]) if len(rows) == limit else None


def finish(connection: sqlite3.Connection, row: int, state: str, reason: str, now: float) -> None:
    """Set the final state of a message; one that has a final state keeps it."""
    connection.execute(
        "UPDATE messages SET state = ?, reason = ?, finished = ? WHERE row = ? AND state = 'pending'",
        (state, reason, now, row),
    )


def skip_orphans(connection: sqlite3.Connection, names: Collection[str], now: float) -> int:
    """Skip what waits for endpoints that the settings no longer name; returns how many."""
    waiting = connection.execute("SELECT DISTINCT endpoint FROM messages WHERE state = 'pending'").fetchall()
    skipped = 0
    for (endpoint,) in waiting:
        if endpoint not in names:
            skipped += connection.execute(
                "UPDATE messages SET state = 'skipped', reason = 'the endpoint was removed from the settings',"
                " finished = ? WHERE endpoint = ? AND state = 'pending'",
                (now, endpoint),
            ).rowcount
    return skipped


def purge(connection: sqlite3.Connection, before: float, limit: int = PURGE_STEP, *, reason: str = "purged") -> int:
    """Delete messages that were finished before ``before``, the oldest first; returns how many.

    A message that a receiver may still see again is never deleted: only finished ones are.
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


def purge_changes(connection: sqlite3.Connection, before: float, limit: int = PURGE_STEP) -> int:
    """Delete changes recorded before ``before``, the oldest first, never the newest; returns how many."""
    return connection.execute(
        "DELETE FROM changes WHERE id IN (SELECT id FROM changes WHERE at < ?"
        " AND id < (SELECT max(id) FROM changes) ORDER BY at LIMIT ?)",
        (before, limit),
    ).rowcount


def make_room(connection: sqlite3.Connection, max_bytes: int) -> bool:
    """Whether the database has room below ``max_bytes``, after the oldest finished messages went if need be."""
    while used_bytes(connection) >= max_bytes:
        # Some at a time: the pages of what was deleted count as free at once, inside the same transaction.
        gone = purge(connection, float("inf"), reason="purged: the outbox is full")
        if not gone and not purge_changes(connection, float("inf")):
            return False
    return True


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of pages in use; the file may be larger, and reuses what is free.

    Evaluations do not count: they have a cap of their own, and a receiver of theirs that is away must not keep changes
    from being told.
    """
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    (spooled,) = connection.execute("SELECT bytes FROM spooled").fetchone()
    return int(max(0, (pages - free) * size - spooled))
