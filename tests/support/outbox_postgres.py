"""The twin of ``outbox_memory.DirectStore`` on a real PostgreSQL: each transaction is done before ``run`` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gateway.storage import postgres_connection as postgres
from postgres_server import PostgresServer

TABLES = (
    "configs, sdks, transitions, changes, numbers, endpoints, messages, attempts, drops, wakes, nodes, leases, "
    "shared_configs, reports"
)


class PostgresDirectStore:
    """A ``Store`` over one connection; the tables are emptied for each new one."""

    shared = None

    def __init__(self, server: PostgresServer, schema: str) -> None:
        """Connect, and empty the tables."""
        self._schema = schema
        self._raw = postgres.connect(server.url(), pooled=False, name="test")
        postgres.migrate(self._raw, schema)
        postgres.stay_in(self._raw, schema)
        self.empty()
        self.connection = postgres.PostgresConnection(self._raw, schema)
        self.recording = self
        self.runs = 0

    def empty(self) -> None:
        """Empty the tables."""
        self._raw.execute(f"TRUNCATE {TABLES} RESTART IDENTITY")
        self._raw.execute("UPDATE held SET bytes = 0")

    def run(self, work: Callable[[Any], Any]) -> Deferred[Any]:
        """See ``Store``."""
        self.runs += 1
        done: Deferred[Any] = Deferred()
        try:
            result: Any = postgres.in_transaction(self._raw, self._schema, work, lock=True)
        except Exception:  # noqa: BLE001 - the caller gets it through the Deferred
            result = Failure()
        done.callback(result)
        return done

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        return self.connection.execute(query, arguments).fetchall()

    def states(self) -> dict[str, int]:
        """Return how many messages are in each state."""
        return dict(self.rows("SELECT state, count(*) FROM messages GROUP BY state"))

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()
