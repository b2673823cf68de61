"""Deliveries and changes of a running gateway for its diagnostics port: JSON pages, and retries.

lists, details ──► a read-only connection in a thread of its own
retry          ──► the database's writer thread
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gateway.storage import StoreError
from gateway.webhooks.store import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from twisted.internet.interfaces import IReactorFromThreads

    from gateway.storage import Connection, MessageState, OutboxStore
    from gateway.webhooks.store.queries import DeliveryDetails, RetryResult

T = TypeVar("T")

READ_SECONDS: Final = 5.0  # for one query; 100,000 messages of 1 KB take 0.2
QUERIES: Final = 20  # that may run or wait for the thread; the next is refused
BODY_LIMIT: Final = 256 * 1024  # characters of a body that are shown; the command line shows all


class TooManyQueries(StoreError):
    """``QUERIES`` queries run or wait already."""


class WebhookAdmin:
    """Reads and retries the deliveries of an open outbox.

    Each Deferred fails with one of ``STORE_ERRORS`` if the database gives no answer.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        store: OutboxStore,
        wall: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._wall = wall
        self._wake = wake
        self._thread = ThreadPool(0, 1, name="outbox-admin")
        self._queries = 0
        self._stopped = False
        self.names: Collection[str] = ()  # endpoints of the settings

    def start(self) -> None:
        """Start to answer; the first query opens the file."""
        self._thread.start()

    def stop(self) -> None:
        """Interrupt a running query and end the thread; blocks for some milliseconds as a rule."""
        self._stopped = True  # interrupts the query
        self._thread.stop()

    def deliveries(
        self, *, endpoint: str | None, state: MessageState | None, since: float, before: int | None, limit: int
    ) -> Deferred[bytes]:
        """Return ``{"deliveries": […], "next": …}``; see ``queries.list_deliveries``."""

        def query(connection: Connection) -> bytes:
            page = queries.list_deliveries(
                connection, endpoint=endpoint, state=state, since=since, before=before, limit=limit
            )
            return msgspec.json.encode({"deliveries": [attrs.asdict(each) for each in page.found], "next": page.next})

        return self._run(query)

    def delivery(self, message_id: str, *, whole: bool) -> Deferred[bytes | None]:
        """Return ``{"deliveries": […]}`` with bodies and attempts, one per endpoint; None for an unknown id.

        Without ``whole`` bodies and answers are null, since both may name users.
        """

        def query(connection: Connection) -> bytes | None:
            found = queries.delivery_details(connection, message_id)
            if not found:
                return None
            return msgspec.json.encode({"deliveries": [_shown(each, whole=whole) for each in found]})

        return self._run(query)

    def changes(self, *, sdk_id: str | None, since: float, before: int | None, limit: int) -> Deferred[bytes]:
        """Return ``{"changes": […], "next": …}``; see ``queries.list_changes``."""

        def query(connection: Connection) -> bytes:
            page = queries.list_changes(connection, sdk_id=sdk_id, since=since, before=before, limit=limit)
            found = [attrs.asdict(each, recurse=False) for each in page.found]
            return msgspec.json.encode({"changes": found, "next": page.next})

        return self._run(query)

    def deliveries_of_change(self, number: int) -> Deferred[bytes]:
        """Return the deliveries about a change per endpoint, as a JSON list; see ``queries.EndpointDeliveries``."""

        def query(connection: Connection) -> bytes:
            found = queries.deliveries_of_change(connection, number)
            return msgspec.json.encode([attrs.asdict(each) for each in found])

        return self._run(query)

    def retry(self, message_id: str) -> Deferred[tuple[int, tuple[str, ...]] | None]:
        """Make the deliveries with this id due; return how many, and why others are not; None for an unknown id.

        The change is on disk when the Deferred fires; the attempts follow.
        """
        names = tuple(self.names)
        retried = self._store.run(lambda connection: queries.retry(connection, message_id, self._wall(), names))

        def done(result: RetryResult | None) -> tuple[int, tuple[str, ...]] | None:
            if result is None:
                return None
            self._wake()
            return result.count, result.refused

        return retried.addCallback(done)

    def test(self, endpoint: str) -> Deferred[bool]:
        """Have a WEBHOOK_TEST sent to an endpoint, within a second or so; False for one that the settings lack."""
        if endpoint not in self.names:
            return succeed(False)
        return self._store.run(lambda connection: queries.add_request(connection, "test", endpoint)).addCallback(
            lambda _: True
        )

    def _run(self, query: Callable[[Connection], T]) -> Deferred[T]:
        if self._queries >= QUERIES:
            return fail(TooManyQueries("too many queries of the outbox at once"))
        self._queries += 1
        answer: Deferred[T] = deferToThreadPool(self._reactor, self._thread, self._read, query)
        return answer.addBoth(self._answered)

    def _answered(self, result: Any) -> Any:
        self._queries -= 1
        return result

    def _read(self, query: Callable[[Connection], T]) -> T:
        return self._store.read(query, READ_SECONDS, lambda: self._stopped)


def _shown(each: DeliveryDetails, *, whole: bool) -> dict[str, Any]:
    shown: dict[str, Any] = attrs.asdict(each.delivery)
    shown["body"] = each.body[:BODY_LIMIT] if whole else None
    shown["body_length"] = len(each.body)
    shown["attempts"] = [attrs.asdict(one) | ({} if whole else {"answer": None}) for one in each.attempts]
    return shown
