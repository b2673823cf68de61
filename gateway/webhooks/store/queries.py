"""What operators do with the outbox: list, show, retry, request a test; as functions of a connection.

The command line calls them on the file of a running or a stopped gateway, the diagnostics port on its own gateway's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec
from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gateway.storage import Connection, MessageState

T = TypeVar("T")

LIST_LIMIT: Final = 1000  # entries of one page
CHANGE_LIMIT: Final = 16 * 1024 * 1024  # bytes of the definitions of one change; larger ones are not shown
PAGE_LIMIT: Final = 4 * 1024 * 1024  # bytes of definitions after which a page of changes ends
RETRY_STEP: Final = 1000  # messages made due in one transaction: bounds how long a change waits

_COLUMNS: Final = "id, endpoint, sequence, format, type, subject, sdk_id, state, reason, tries, created, due, finished"


@frozen
class Delivery:
    """One message to one endpoint, without its body; times are Unix seconds."""

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
    due: float | None  # of the next attempt; None once the delivery is finished
    finished: float | None


@frozen
class AttemptRecord:
    """One attempt; ``status`` is None without an answer, ``duration`` in seconds, ``answer`` its first 1 KiB."""

    number: int
    at: float
    status: int | None
    outcome: str
    duration: float
    answer: str


@frozen
class DeliveryDetails:
    """A delivery with its body and its attempts, the first one first."""

    delivery: Delivery
    body: str
    attempts: tuple[AttemptRecord, ...]


@frozen
class ChangeRecord:
    """A change of an SDK's config; ``changes`` holds definitions before and after, None beyond ``CHANGE_LIMIT``."""

    id: int
    sdk_id: str
    old_etag: str
    new_etag: str
    round: int  # how often this transition was recorded, this time included
    at: float
    author: msgspec.Raw | None
    notes: str
    changes: msgspec.Raw | None
    bytes: int  # of ``changes``


@frozen
class Page(Generic[T]):
    """Some entries, the newest first; ``next`` is the ``before`` of the following page, None on the last one."""

    found: list[T]
    next: int | None


@frozen
class RetryResult:
    """How many messages are due again, and the reasons why others with that id are not."""

    count: int
    refused: tuple[str, ...]


@frozen
class AdminRequest:
    """A request of the command line: ``look`` for due messages, or ``test`` the endpoint ``argument``."""

    action: str
    argument: str


def list_deliveries(
    connection: Connection,
    *,
    endpoint: str | None = None,
    state: MessageState | None = None,
    since: float = 0.0,
    before: int | None = None,
    limit: int = LIST_LIMIT,
) -> Page[Delivery]:
    """Return the newest deliveries first, at most ``LIST_LIMIT``, created from ``since`` (Unix seconds) on."""
    # Failed deliveries are rare and listed most often; SQLite does not choose their index without the hint.
    index = " INDEXED BY messages_failed" if state == "failed" else ""
    wanted, given = _conditions([("endpoint = ?", endpoint), ("row < ?", before)])
    # In the text, so that SQLite can choose a partial index.
    wanted += "" if state is None else f" AND state = '{state}'"
    rows = connection.execute(
        f"SELECT row, {_COLUMNS} FROM messages{index}"  # noqa: S608 - our own names
        f" WHERE created >= ?{wanted} ORDER BY row DESC LIMIT ?",
        (since, *given, min(limit, LIST_LIMIT) + 1),
    ).fetchall()
    return _page([(row[0], _delivery(row[1:])) for row in rows], min(limit, LIST_LIMIT))


def list_changes(
    connection: Connection,
    *,
    sdk_id: str | None = None,
    since: float = 0.0,
    before: int | None = None,
    limit: int = LIST_LIMIT,
) -> Page[ChangeRecord]:
    """Return the newest changes first, at most ``LIST_LIMIT``; the page ends when it exceeds ``PAGE_LIMIT`` bytes."""
    wanted, given = _conditions([("sdk_id = ?", sdk_id), ("id < ?", before)])
    rows = connection.execute(
        "SELECT id, sdk_id, old_etag, new_etag, round, at, author, notes,"  # noqa: S608 - our own names
        " CASE WHEN length(CAST(detail AS BLOB)) <= ? THEN detail END, length(CAST(detail AS BLOB))"
        f" FROM changes WHERE at >= ?{wanted} ORDER BY id DESC LIMIT ?",  # PostgreSQL's driver reads all rows at once
        (CHANGE_LIMIT, since, *given, min(limit, LIST_LIMIT) + 1),
    )
    found: list[ChangeRecord] = []
    size = 0
    for number, sdk, old, new, count, at, author, notes, detail, length in rows:
        if found and (size > PAGE_LIMIT or len(found) >= min(limit, LIST_LIMIT)):
            return Page(found, found[-1].id)
        size += 0 if detail is None else length
        found.append(ChangeRecord(number, sdk, old, new, count, at, _raw(author), notes or "", _raw(detail), length))
    return Page(found, None)


def _conditions(wanted: Iterable[tuple[str, object]]) -> tuple[str, list[object]]:
    """Return the conditions whose value is not None, each after an ``AND``, and their values."""
    given = [(condition, value) for condition, value in wanted if value is not None]
    return "".join(f" AND {condition}" for condition, _ in given), [value for _, value in given]


@frozen
class EndpointDeliveries:
    """The messages to one endpoint about one change, by state; ``watched_users`` are users with a message."""

    endpoint: str
    messages: int
    pending: int
    delivered: int
    failed: int
    skipped: int
    watched_users: int
    tries: int  # of the message with the most
    finished: float | None  # when the last one of those that are finished was


def deliveries_of_change(connection: Connection, number: int) -> list[EndpointDeliveries]:
    """Return the deliveries about a change per endpoint, by name; reads all messages, which has no index."""
    wanted = [f"state = '{state}'" for state in ("pending", "delivered", "failed", "skipped")]
    counts = ", ".join(f"count(CASE WHEN {each} THEN 1 END)" for each in (*wanted, "type = 'USER_FLAGS_UPDATED'"))
    rows = connection.execute(
        f"SELECT endpoint, count(*), {counts}, max(tries), max(finished)"  # noqa: S608 - our own names
        " FROM messages WHERE change_id = ? GROUP BY endpoint ORDER BY endpoint",
        (number,),
    )
    return [EndpointDeliveries(*row) for row in rows]


def _page(found: list[tuple[int, T]], limit: int) -> Page[T]:
    more = len(found) > limit  # the query asks for one row more than the page takes
    return Page([each for _, each in found[:limit]], found[limit - 1][0] if more else None)


def delivery_details(connection: Connection, message_id: str) -> list[DeliveryDetails]:
    """Return the deliveries with this id: one per endpoint of the same format."""
    found = connection.execute(
        f"SELECT row, body, {_COLUMNS} FROM messages WHERE id = ? ORDER BY endpoint",  # noqa: S608 - our own names
        (message_id,),
    ).fetchall()
    return [DeliveryDetails(_delivery(row[2:]), _text(row[1]), _attempts(connection, row[0])) for row in found]


def retry(
    connection: Connection, message_id: str, now: float, names: Collection[str] | None = None
) -> RetryResult | None:
    """Make the deliveries with this id due now, and restart their schedule; None for an unknown id.

    Delivered ones are refused, and those whose endpoint is not among ``names``, if that is given.
    """
    query = "SELECT row, endpoint, state, length(body) FROM messages WHERE id = ? ORDER BY endpoint"
    rows = connection.execute(query, (message_id,)).fetchall()
    if not rows:
        return None
    refused = []
    for row, endpoint, state, size in rows:
        if state == "delivered":
            refused.append(f"{endpoint} has accepted it")
        elif not size:
            refused.append(f"{endpoint} does not subscribe to it")
        elif names is not None and endpoint not in names:
            refused.append(f"the settings have no webhook '{endpoint}'")
        else:
            _make_due(connection, [row], now)
    return RetryResult(len(rows) - len(refused), tuple(refused))


def retry_failed(
    connection: Connection, now: float, names: Collection[str] | None = None, limit: int = RETRY_STEP
) -> int:
    """Make up to ``limit`` failed deliveries due now, and restart their schedule; return how many."""
    failed = connection.execute("SELECT DISTINCT endpoint FROM messages WHERE state = 'failed'").fetchall()
    rows: list[int] = []
    for (endpoint,) in failed:
        if names is None or endpoint in names:
            query = "SELECT row FROM messages WHERE state = 'failed' AND endpoint = ? LIMIT ?"
            rows += [row for (row,) in connection.execute(query, (endpoint, limit - len(rows)))]
    _make_due(connection, rows, now)
    return len(rows)


def _make_due(connection: Connection, rows: list[int], now: float) -> None:
    connection.executemany(
        "UPDATE messages SET state = 'pending', reason = '', due = ?, finished = NULL, first_try = NULL,"
        " earlier = tries WHERE row = ?",
        [(now, row) for row in rows],
    )
    if rows:
        add_request(connection, "look")
        connection.announce()


def add_request(connection: Connection, action: str, argument: str = "") -> None:
    """Add an ``AdminRequest`` for the running gateway, or for the next one that starts."""
    connection.execute("INSERT INTO wakes (act, argument) VALUES (?, ?)", (action, argument))


def take_requests(connection: Connection) -> list[AdminRequest]:
    """Return and delete all requests, the oldest first."""
    rows = connection.execute("SELECT id, act, argument FROM wakes ORDER BY id").fetchall()
    if rows:
        connection.execute("DELETE FROM wakes WHERE id <= ?", (rows[-1][0],))
    return [AdminRequest(action, argument) for _, action, argument in rows]


def _delivery(row: tuple[Any, ...]) -> Delivery:
    delivery = Delivery(*row)
    return delivery if delivery.state == "pending" else evolve(delivery, due=None)


def _attempts(connection: Connection, row: int) -> tuple[AttemptRecord, ...]:
    query = "SELECT number, at, status, outcome, duration, answer FROM attempts WHERE message = ? ORDER BY number"
    rows = connection.execute(query, (row,))
    return tuple(
        AttemptRecord(number, at, status, outcome, duration, _text(answer))
        for number, at, status, outcome, duration, answer in rows
    )


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())


def _text(data: bytes) -> str:
    return bytes(data).decode("utf-8", "replace")
