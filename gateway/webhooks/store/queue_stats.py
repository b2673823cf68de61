"""How many messages wait, since when endpoints fail, how many were dropped, as functions of a connection.

All but ``failing`` reads indexes of pending messages or small tables, so its cost does not grow with finished messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.storage import Connection

# Metric label of each reason in the table of drops.  Files keep these reasons for years: after a change of one, drops
# that an earlier version recorded are no longer counted.
DROPS: Final = {
    "refused: the outbox is full": "refused",
    "a change could not be put into words": "wordless",
    "purged": "purged",
    "purged: older than outbox.keep": "purged",
    "purged: the outbox is full": "purged_early",
}


@frozen
class QueueDepth:
    """How many messages are pending for one endpoint, and when the oldest was created (Unix seconds)."""

    pending: int
    oldest: float


@frozen
class QueueStats:
    """What waits per endpoint, and how many messages were dropped so far per endpoint and label of ``DROPS``."""

    depths: Mapping[str, QueueDepth]
    drops: Mapping[tuple[str, str], int]


def read(connection: Connection) -> QueueStats:
    """Return what waits and what was dropped."""
    # Rows count up, so the smallest one is the oldest message; the table itself is read once per endpoint.
    waiting = "SELECT endpoint, count(*), min(row) FROM messages WHERE state = 'pending' GROUP BY endpoint"
    depths = {}
    for endpoint, count, row in connection.execute(waiting).fetchall():
        created = connection.execute("SELECT created FROM messages WHERE row = ?", (row,)).fetchone()[0]
        depths[endpoint] = QueueDepth(count, created)
    drops: dict[tuple[str, str], int] = {}
    for endpoint, reason, count in connection.execute("SELECT endpoint, reason, count FROM drops"):
        if reason in DROPS:
            key = (endpoint, DROPS[reason])
            drops[key] = drops.get(key, 0) + count
    return QueueStats(depths, drops)


def failing(connection: Connection) -> dict[str, float]:
    """Return the endpoints whose first failure after their last success is recorded, and when it was (Unix seconds)."""
    found = {}
    tried = "SELECT DISTINCT endpoint FROM messages WHERE state = 'pending' AND tries > 0"
    # Reads backwards from the newest finished message to the last success of the endpoint.  Without the hint SQLite
    # sorts all delivered messages of the endpoint, which blocks the writer for longer than a change waits.  The second
    # condition on the state is the one of the partial index.
    delivered = (
        "SELECT finished FROM messages INDEXED BY messages_finished"
        " WHERE state = 'delivered' AND state <> 'pending' AND endpoint = ? ORDER BY finished DESC LIMIT 1"
    )
    first = (
        "SELECT min(first_try) FROM messages WHERE state = 'pending' AND endpoint = ? AND tries > 0 AND first_try > ?"
    )
    for (endpoint,) in connection.execute(tried).fetchall():
        row = connection.execute(delivered, (endpoint,)).fetchone()
        since = connection.execute(first, (endpoint, 0.0 if row is None else row[0])).fetchone()[0]
        if since is not None:
            found[endpoint] = since
    return found
