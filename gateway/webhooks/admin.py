"""The outbox of a running gateway, as people look at it through the diagnostics port: JSON, and another try.

lists, one in full ──► a connection of its own, which only reads ──► a thread of its own
another try        ──► the database's one writer
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import attrs
import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gateway.webhooks.store import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from gateway.storage import MessageState, Store
    from gateway.webhooks.store.queries import Retried

READ_SECONDS: Final = 5.0  # that one look may take; 100,000 messages of 1 KB take 0.2
LOOKS: Final = 20  # that may wait for the thread; the next is refused
BODY_LIMIT: Final = 256 * 1024  # characters of a body that are shown; the command line shows them all
STEPS: Final = 10_000  # of SQLite's virtual machine between two looks at the clock


class Busy(sqlite3.OperationalError):
    """Too many look at once."""


class Desk:
    """Answers about one open outbox; every Deferred errs with ``sqlite3.Error`` when there is no answer now."""

    def __init__(
        self, reactor: Any, path: Path, store: Store, wall: Callable[[], float], again: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._store = store
        self._wall = wall
        self._again = again
        self._thread = ThreadPool(0, 1, name="outbox-desk")
        self._looks = 0
        self._over = False
        self.names: Collection[str] = ()  # of the web hooks that there are

    def start(self) -> None:
        """Begin to answer; opens no file before somebody asks."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and whatever it looks for: the caller waits for it, as a rule some milliseconds."""
        self._over = True  # first: it is what makes SQLite give up
        self._thread.stop()

    def deliveries(
        self, *, endpoint: str | None, state: MessageState | None, since: float, before: int | None, limit: int
    ) -> Deferred[bytes]:
        """Return ``{"deliveries": […], "next": …}``; see ``queries.deliveries``."""

        def look(connection: sqlite3.Connection) -> bytes:
            listed = queries.deliveries(
                connection, endpoint=endpoint, state=state, since=since, before=before, limit=limit
            )
            return msgspec.json.encode(
                {"deliveries": [attrs.asdict(each) for each in listed.found], "next": listed.next}
            )

        return self._look(look)

    def delivery(self, message_id: str, *, whole: bool) -> Deferred[bytes | None]:
        """Return ``{"deliveries": […]}`` with bodies and attempts, one per endpoint; None for an unknown id.

        Without ``whole`` what was sent, and what receivers answered, is null: both may name users.
        """

        def look(connection: sqlite3.Connection) -> bytes | None:
            found = queries.full(connection, message_id)
            if not found:
                return None
            return msgspec.json.encode({"deliveries": [_whole(each, whole=whole) for each in found]})

        return self._look(look)

    def changes(self, *, sdk_id: str | None, since: float, before: int | None, limit: int) -> Deferred[bytes]:
        """Return ``{"changes": […], "next": …}``; see ``queries.changes``."""

        def look(connection: sqlite3.Connection) -> bytes:
            listed = queries.changes(connection, sdk_id=sdk_id, since=since, before=before, limit=limit)
            found = [attrs.asdict(each, recurse=False) for each in listed.found]
            return msgspec.json.encode({"changes": found, "next": listed.next})

        return self._look(look)

    def retry(self, message_id: str) -> Deferred[tuple[int, tuple[str, ...]] | None]:
        """Make the deliveries with this id due; return how many, and why others are not, None for an unknown id.

        On disk when it fires; the attempts begin after that.
        """
        names = tuple(self.names)
        retried: Deferred[Any] = self._store.run(lambda c: queries.retry(c, message_id, self._wall(), names))

        def done(result: Retried | None) -> tuple[int, tuple[str, ...]] | None:
            if result is None:
                return None
            self._again()
            return result.count, result.refused

        return retried.addCallback(done)

    def _look(self, look: Callable[[sqlite3.Connection], Any]) -> Deferred[Any]:
        if self._looks >= LOOKS:
            return fail(Busy("too many look at the outbox at once"))
        self._looks += 1
        answer: Deferred[Any] = deferToThreadPool(self._reactor, self._thread, self._read, look)
        return answer.addBoth(self._looked)

    def _looked(self, result: Any) -> Any:
        self._looks -= 1
        return result

    def _read(self, look: Callable[[sqlite3.Connection], Any]) -> Any:
        uri = f"file:{quote(str(self._path))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=READ_SECONDS)) as connection:
            until = self._wall() + READ_SECONDS
            connection.set_progress_handler(lambda: self._over or self._wall() > until, STEPS)
            # One picture of the database for all that is asked.
            connection.execute("BEGIN")
            return look(connection)


def _whole(each: queries.Full, *, whole: bool) -> dict[str, Any]:
    shown: dict[str, Any] = attrs.asdict(each.delivery)
    shown["body"] = each.body[:BODY_LIMIT] if whole else None
    shown["body_length"] = len(each.body)
    shown["attempts"] = [attrs.asdict(one) | ({} if whole else {"answer": None}) for one in each.attempts]
    return shown
