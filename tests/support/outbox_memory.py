"""The outbox without threads: SQLite in memory, each transaction at once, so that a ``Clock`` is the only time."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gateway.http_client import Attempt
from gateway.storage.database import Database, SqliteConnection, prepare, transact
from gateway.storage.migrations import migrate


class DirectStore:
    """An ``OutboxStore`` whose work is done before ``run`` returns."""

    def __init__(self, path: str = ":memory:") -> None:
        """Open an empty outbox."""
        self._path = path
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=0.01, factory=SqliteConnection)
        prepare(self.connection)
        migrate(self.connection)
        self.runs = 0
        self.recording = self
        self.shared = None

    def run(self, work: Callable[[sqlite3.Connection], Any]) -> Deferred[Any]:
        """See ``Store``."""
        self.runs += 1
        done: Deferred[Any] = Deferred()
        done.callback(transact(self.connection, [work])[0])
        return done

    def read(self, query: Callable[[Any], Any], seconds: float, stopped: Callable[[], bool]) -> Any:
        """See ``OutboxStore``; the store is a file."""
        return Database(Clock(), Path(self._path)).read(query, seconds, stopped)

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        return self.connection.execute(query, arguments).fetchall()

    def states(self) -> dict[str, int]:
        """Return how many messages are in each state."""
        return dict(self.rows("SELECT state, count(*) FROM messages GROUP BY state"))


engine: list[Callable[[], Any]] = [DirectStore]  # the last one makes the stores of scenes: see ``on_each_store``


def new_store() -> Any:
    """Return an empty store of the engine that the running test is for."""
    return engine[-1]()


@define
class FakeSender:
    """A ``Sender`` that keeps what is sent and returns ``answer``; None leaves the attempt in flight."""

    answer: Callable[[dict[str, str], bytes], Attempt | None] = lambda headers, body: Attempt(204, "", 0.0)
    sent: list[dict[str, str]] = field(factory=list)
    flying: list[Deferred[Attempt]] = field(factory=list)
    closed: bool = False

    def send(self, headers: Sequence[tuple[str, str]], body: bytes) -> Deferred[Attempt]:
        """See ``Sender``."""
        listed = dict(headers)
        self.sent.append(listed)
        attempt = self.answer(listed, body)
        if attempt is not None:
            return succeed(attempt)
        flying: Deferred[Attempt] = Deferred(lambda d: d.callback(Attempt(None, "the request was cancelled", 0.0)))
        self.flying.append(flying)
        return flying

    def close(self) -> Deferred[None]:
        """See ``Sender``."""
        self.closed = True
        return succeed(None)


def errors_of(done: Deferred[Any]) -> list[Failure]:
    """Return the failure that a Deferred fired with, if it did."""
    found: list[Failure] = []
    done.addErrback(found.append)
    return found


def now(done: Deferred[Any]) -> Any:
    """Return what a Deferred has fired with."""
    found: list[Any] = []
    done.addCallback(found.append)
    (value,) = found
    return value


@define
class ExportCounts:
    """An ``ExportMetrics`` that keeps its calls in order."""

    calls: list[tuple[str, Any]] = field(factory=list)

    def collected(self, count: int) -> None:
        """See ``ExportMetrics``."""
        self.calls.append(("collected", count))

    def dropped(self, reason: str, count: int) -> None:
        """See ``ExportMetrics``."""
        self.calls.append((f"dropped {reason}", count))

    def waiting(self, count: int, size: int) -> None:
        """See ``ExportMetrics``."""
        self.calls.append(("waiting", (count, size)))

    def attempted(self, outcome: str, seconds: float) -> None:
        """See ``ExportMetrics``."""
        assert seconds >= 0
        self.calls.append(("attempted", outcome))

    def refused(self, count: int) -> None:
        """See ``ExportMetrics``."""
        self.calls.append(("refused", count))

    def exported(self, count: int) -> None:
        """See ``ExportMetrics``."""
        self.calls.append(("exported", count))

    def sum(self, name: str) -> int:
        """Return the sum of the values of calls with this name."""
        return sum(value for called, value in self.calls if called == name)

    @property
    def attempts(self) -> list[str]:
        """How each attempt ended."""
        return [value for called, value in self.calls if called == "attempted"]


@define
class WebhookCounts:
    """A ``WebhookMetrics`` that keeps what it is called with."""

    attempts: Counter[tuple[str, str]] = field(factory=Counter)
    failed: Counter[str] = field(factory=Counter)
    queues: dict[str, tuple[int, float]] = field(factory=dict)
    drops: dict[tuple[str, str], int] = field(factory=dict)
    delivering: dict[str, bool] = field(factory=dict)
    leases: Counter[tuple[str, str]] = field(factory=Counter)

    def endpoints(self, names: Collection[str]) -> None:
        """See ``WebhookMetrics``."""

    def attempted(self, endpoint: str, outcome: str, seconds: float) -> None:
        """See ``WebhookMetrics``."""
        self.attempts[endpoint, outcome] += 1

    def given_up(self, endpoint: str) -> None:
        """See ``WebhookMetrics``."""
        self.failed[endpoint] += 1

    def waiting(self, endpoint: str, count: int, age: float) -> None:
        """See ``WebhookMetrics``."""
        self.queues[endpoint] = (count, age)

    def dropped(self, endpoint: str, reason: str, total: int) -> None:
        """See ``WebhookMetrics``."""
        self.drops[endpoint, reason] = total

    def delivers(self, endpoint: str, mine: bool) -> None:
        """See ``WebhookMetrics``."""
        self.delivering[endpoint] = mine

    def lease_changed(self, endpoint: str, event: str) -> None:
        """See ``WebhookMetrics``."""
        self.leases[endpoint, event] += 1

    def recording(self, ok: bool) -> None:
        """See ``WebhookMetrics``."""
