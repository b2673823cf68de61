"""What people ask of the outbox: lists, one delivery in full, another try; as functions of a connection.

The command line runs them on the file of a running or a stopped gateway, the diagnostics port on that of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec
from attrs import evolve, frozen

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from gateway.storage import MessageState

T = TypeVar("T")

LIST_LIMIT: Final = 1000  # entries in one list; who wants more asks for those before the last one
CHANGE_LIMIT: Final = 16 * 1024 * 1024  # bytes of the definitions of one change; more are not shown
PAGE_LIMIT: Final = 4 * 1024 * 1024  # bytes of definitions after which a list of changes ends; it has one at least
RETRY_STEP: Final = 1000  # messages made due in one transaction, so that a change never waits long

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
    state: MessageState
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


@frozen
class Recorded:
    """One change of an SDK's config; ``changes`` are definitions before and after, None when there are too many."""

    id: int
    sdk_id: str
    old_etag: str
    new_etag: str
    round: int  # how often this very transition was recorded, this time included
    at: float
    author: msgspec.Raw | None
    notes: str
    changes: msgspec.Raw | None
    bytes: int  # of ``changes``


@frozen
class Listed(Generic[T]):
    """A part of a list, the newest first; ``next`` is what to ask for as ``before``, None at the end."""

    found: list[T]
    next: int | None


def deliveries(
    connection: sqlite3.Connection,
    *,
    endpoint: str | None = None,
    state: MessageState | None = None,
    since: float = 0.0,
    before: int | None = None,
    limit: int = LIST_LIMIT,
) -> Listed[Delivery]:
    """Return the newest deliveries first, at most ``LIST_LIMIT``; ``since`` is when they were made, Unix seconds."""
    # What failed is rare and asked for most: an index holds nothing else, and SQLite would not choose it by itself.
    index = " INDEXED BY messages_failed" if state == "failed" else ""
    wanted = "" if state is None else f" AND state = '{state}'"
    rows = connection.execute(
        f"SELECT row, {_COLUMNS} FROM messages{index} WHERE (?1 IS NULL OR endpoint = ?1){wanted}"  # noqa: S608
        " AND created >= ?2 AND (?3 IS NULL OR row < ?3) ORDER BY row DESC LIMIT ?4",
        (endpoint, since, before, min(limit, LIST_LIMIT) + 1),
    ).fetchall()
    return _listed([(row[0], _delivery(row[1:])) for row in rows], min(limit, LIST_LIMIT))


def changes(
    connection: sqlite3.Connection,
    *,
    sdk_id: str | None = None,
    since: float = 0.0,
    before: int | None = None,
    limit: int = LIST_LIMIT,
) -> Listed[Recorded]:
    """Return the newest changes first, at most ``LIST_LIMIT`` and not many more than ``PAGE_LIMIT`` bytes of them."""
    rows = connection.execute(
        "SELECT id, sdk_id, old_etag, new_etag, round, at, author, notes,"
        " CASE WHEN length(CAST(detail AS BLOB)) <= ?1 THEN detail END, length(CAST(detail AS BLOB))"
        " FROM changes WHERE (?2 IS NULL OR sdk_id = ?2) AND at >= ?3 AND (?4 IS NULL OR id < ?4) ORDER BY id DESC",
        (CHANGE_LIMIT, sdk_id, since, before),
    )
    found: list[tuple[int, Recorded]] = []
    size = 0
    for number, sdk, old, new, count, at, author, notes, detail, length in rows:
        if found and (size > PAGE_LIMIT or len(found) >= min(limit, LIST_LIMIT)):
            return Listed([each for _, each in found], found[-1][0])
        size += 0 if detail is None else length
        found.append(
            (number, Recorded(number, sdk, old, new, count, at, _raw(author), notes or "", _raw(detail), length))
        )
    return Listed([each for _, each in found], None)


def _listed(found: list[tuple[int, T]], limit: int) -> Listed[T]:
    more = len(found) > limit  # one more than wanted was asked for, to know
    return Listed([each for _, each in found[:limit]], found[limit - 1][0] if more else None)


def full(connection: sqlite3.Connection, message_id: str) -> list[Full]:
    """Return the deliveries with this id: one per endpoint of the same format."""
    found = connection.execute(
        f"SELECT row, body, {_COLUMNS} FROM messages WHERE id = ? ORDER BY endpoint",  # noqa: S608 - our own names
        (message_id,),
    ).fetchall()
    return [Full(_delivery(row[2:]), _text(row[1]), _attempts(connection, row[0])) for row in found]


@frozen
class Retried:
    """How many messages are due again, and why the others with that id are not."""

    count: int
    refused: tuple[str, ...]


def retry(
    connection: sqlite3.Connection, message_id: str, now: float, names: Collection[str] | None = None
) -> Retried | None:
    """Make the deliveries with this id pending again, due at once and with their full time; None for an unknown id.

    One that was delivered is not sent again, nor one whose endpoint is not among ``names``, when these are given.
    """
    query = "SELECT row, endpoint, state, length(body) FROM messages WHERE id = ? ORDER BY endpoint"
    rows = connection.execute(query, (message_id,)).fetchall()
    if not rows:
        return None
    refused = []
    for row, endpoint, state, size in rows:
        if state == "delivered":
            refused.append(f"{endpoint} has taken it")
        elif not size:
            refused.append(f"{endpoint} does not subscribe to it")
        elif names is not None and endpoint not in names:
            refused.append(f"the settings have no web hook '{endpoint}'")
        else:
            _make_due(connection, [row], now)
    return Retried(len(rows) - len(refused), tuple(refused))


def retry_failed(
    connection: sqlite3.Connection, now: float, names: Collection[str] | None = None, limit: int = RETRY_STEP
) -> int:
    """Make up to ``limit`` deliveries that were given up pending again; returns how many, 0 when none is left."""
    failed = connection.execute("SELECT DISTINCT endpoint FROM messages WHERE state = 'failed'").fetchall()
    rows: list[int] = []
    for (endpoint,) in failed:
        if names is None or endpoint in names:
            query = "SELECT row FROM messages WHERE state = 'failed' AND endpoint = ? LIMIT ?"
            rows += [row for (row,) in connection.execute(query, (endpoint, limit - len(rows)))]
    _make_due(connection, rows, now)
    return len(rows)


def _make_due(connection: sqlite3.Connection, rows: list[int], now: float) -> None:
    connection.executemany(
        "UPDATE messages SET state = 'pending', reason = '', due = ?, finished = NULL, first_try = NULL,"
        " earlier = tries WHERE row = ?",
        [(now, row) for row in rows],
    )
    if rows:
        wake(connection, "look")


def wake(connection: sqlite3.Connection, act: str, argument: str = "") -> None:
    """Leave a wish to the running gateway, or to the next one that starts: ``look``, or ``test`` of an endpoint."""
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


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())


def _text(data: bytes) -> str:
    return bytes(data).decode("utf-8", "replace")
