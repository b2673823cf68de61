"""What people ask of the outbox: lists of deliveries, one in full, another try; as functions of a connection.

The command line runs them on the file of a running or a stopped gateway, each in a transaction of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

if TYPE_CHECKING:
    import sqlite3

LIST_LIMIT: Final = 1000  # deliveries in one list; who wants more narrows it

_COLUMNS: Final = "id, endpoint, sequence, format, type, subject, sdk_id, state, reason, tries, created, due, finished"


@frozen
class Delivery:
    """One message to one endpoint, without its body; times in seconds since 1970."""

    id: str
    endpoint: str
    sequence: int
    format: str
    type: str
    subject: str
    sdk_id: str | None
    state: str
    reason: str
    tries: int
    created: float
    due: float | None  # when it is tried next; None once it is finished
    finished: float | None


@frozen
class Try:
    """One attempt; ``status`` is None when no answer came, ``duration`` in seconds, ``answer`` its first 1 KiB."""

    number: int
    at: float
    status: int | None
    outcome: str
    duration: float
    answer: str


@frozen
class Full:
    """A delivery with its body and its attempts, the first one first."""

    delivery: Delivery
    body: str
    attempts: tuple[Try, ...]


def deliveries(
    connection: sqlite3.Connection,
    *,
    endpoint: str | None = None,
    state: str | None = None,
    since: float = 0.0,
    limit: int = LIST_LIMIT,
) -> list[Delivery]:
    """Return the newest deliveries first, at most ``LIST_LIMIT``."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM messages WHERE (?1 IS NULL OR endpoint = ?1) AND (?2 IS NULL OR state = ?2)"  # noqa: S608
        " AND created >= ?3 ORDER BY row DESC LIMIT ?4",
        (endpoint, state, since, min(limit, LIST_LIMIT)),
    )
    return [_delivery(row) for row in rows]


def full(connection: sqlite3.Connection, message_id: str) -> list[Full]:
    """Return the deliveries with this id: one per endpoint of the same format."""
    found = connection.execute(
        f"SELECT row, body, {_COLUMNS} FROM messages WHERE id = ? ORDER BY endpoint",  # noqa: S608 - our own names
        (message_id,),
    ).fetchall()
    return [Full(_delivery(row[2:]), _text(row[1]), _attempts(connection, row[0])) for row in found]


def retry(connection: sqlite3.Connection, message_id: str | None, now: float) -> int:
    """Make a delivery pending again, due at once and with its full time; None means all failed ones.

    Returns how many; a delivered message is not sent again.
    """
    changed = connection.execute(
        "UPDATE messages SET state = 'pending', reason = '', due = ?1, finished = NULL, first_try = NULL"
        " WHERE body <> x'' AND ((?2 IS NULL AND state = 'failed')"
        " OR (id = ?2 AND state IN ('failed', 'skipped', 'pending')))",
        (now, message_id),
    ).rowcount
    if changed:
        wake(connection, "look")
    return changed


def wake(connection: sqlite3.Connection, act: str, argument: str = "") -> None:
    """Leave a wish to the running gateway, or to the next one that starts."""
    connection.execute("INSERT INTO wakes (act, argument) VALUES (?, ?)", (act, argument))


def _delivery(row: tuple[object, ...]) -> Delivery:
    delivery = Delivery(*row)  # type: ignore[arg-type]
    if delivery.state == "pending":
        return delivery
    return evolve(delivery, due=None)


def _attempts(connection: sqlite3.Connection, row: int) -> tuple[Try, ...]:
    query = "SELECT number, at, status, outcome, duration, answer FROM attempts WHERE message = ? ORDER BY number"
    rows = connection.execute(query, (row,))
    return tuple(
        Try(number, at, status, outcome, duration, _text(answer))
        for number, at, status, outcome, duration, answer in rows
    )


def _text(data: bytes) -> str:
    return bytes(data).decode("utf-8", "replace")
