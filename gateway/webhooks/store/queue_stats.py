"""How the outbox is doing: what waits, since when an endpoint fails, what was dropped; as functions of a connection.

Everything is read from indexes that hold only what waits, or from small tables: cheap beside any number of messages.
``failing`` alone looks through what was finished, the newest first, as far as each endpoint's last success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

    from gateway.webhooks.metrics import WebhookMetrics

METER_SECONDS: Final = 10.0  # between two looks; scrapers come every 15 s or more

# Reasons in the table of drops, and the word for each on the metrics page.  They stay in files that live for years: a
# text that changes here no longer counts what was dropped under the old one.
DROPS: Final = {
    "refused: the outbox is full": "refused",
    "a change could not be put into words": "wordless",
    "purged": "purged",
    "purged: older than outbox.keep": "purged",
    "purged: the outbox is full": "purged_early",
}


@frozen
class Depth:
    """How much waits for one endpoint."""

    pending: int
    oldest: float  # seconds since 1970: when the oldest was made


@frozen
class Reading:
    """One look at the outbox: what waits, and what was dropped, per endpoint."""

    depths: Mapping[str, Depth]
    drops: Mapping[tuple[str, str], int]  # endpoint and word of ``DROPS``

    def tell(self, metrics: WebhookMetrics, names: Collection[str], now: float) -> None:
        """Put it on the metrics page."""
        for name in names:
            depth = self.depths.get(name)
            metrics.waiting(name, depth.pending if depth else 0, max(now - depth.oldest, 0.0) if depth else 0.0)
        for (name, word), total in self.drops.items():
            metrics.dropped(name, word, total)


def read(connection: sqlite3.Connection) -> Reading:
    """Look at what waits and at what was dropped."""
    # Rows count up, so the smallest one is the oldest; the table itself is read once per endpoint.
    waiting = "SELECT endpoint, count(*), min(row) FROM messages WHERE state = 'pending' GROUP BY endpoint"
    depths = {}
    for endpoint, count, row in connection.execute(waiting).fetchall():
        made = connection.execute("SELECT created FROM messages WHERE row = ?", (row,)).fetchone()[0]
        depths[endpoint] = Depth(count, made)
    drops: dict[tuple[str, str], int] = {}
    for endpoint, reason, count in connection.execute("SELECT endpoint, reason, count FROM drops"):
        if reason in DROPS:
            key = (endpoint, DROPS[reason])
            drops[key] = drops.get(key, 0) + count
    return Reading(depths, drops)


def failing(connection: sqlite3.Connection) -> dict[str, float]:
    """Return the endpoints that took nothing since their last failures, and since when: a restart forgets no outage."""
    found = {}
    tried = "SELECT DISTINCT endpoint FROM messages WHERE state = 'pending' AND tries > 0"
    # From the newest on, as far as the endpoint's last success.  Left to itself SQLite would sort all that the endpoint
    # ever took, which held the writer up for longer than a change waits; the second condition is what the index is of.
    taken = (
        "SELECT finished FROM messages INDEXED BY messages_finished"
        " WHERE state = 'delivered' AND state <> 'pending' AND endpoint = ? ORDER BY finished DESC LIMIT 1"
    )
    first = (
        "SELECT min(first_try) FROM messages WHERE state = 'pending' AND endpoint = ? AND tries > 0 AND first_try > ?"
    )
    for (endpoint,) in connection.execute(tried).fetchall():
        row = connection.execute(taken, (endpoint,)).fetchone()
        since = connection.execute(first, (endpoint, 0.0 if row is None else row[0])).fetchone()[0]
        if since is not None:
            found[endpoint] = since
    return found
