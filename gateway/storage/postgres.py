"""The outbox in a PostgreSQL database that several gateways share, over three connections and one that listens.

    run ──► delivery connection                      read ──► a connection of its own per query
    recording.run ──► recording connection, under the record lock of all nodes
    configs.run ──► connection of the shared configs, which wait for no message
    NOTIFY of a node that added messages or a config ──► listener thread ──► look, changed

psycopg is imported by ``postgres_connection``, and that only by calls: it is installed only where it is used.
The server may be away at any time, also at the start: a transaction then fails with ``StoreError``, and the next one
connects again.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from twisted.internet.defer import DeferredList
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from gateway.logger import component_logger
from gateway.storage.database import SWITCH_SECONDS
from gateway.storage.shared_configs import CHANNEL as CONFIGS
from gateway.storage.store import StoreError
from gateway.storage.transaction_queue import TransactionQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection as Psycopg
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from gateway.storage.store import Store, Work

T = TypeVar("T")

_log = component_logger("gateway")

TTL: Final = 3.0  # seconds of a lease: how long the messages of a node that died wait, at most a second more
HUNG_SECONDS: Final = 15.0  # after which a connection is given up: the server or the network has stopped to answer
CLOSE_SECONDS: Final = 2.0  # for transactions at the stop; the next node finds what they did not write
LISTEN_PAUSES: Final = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds between two tries to listen
PROBE_SECONDS: Final = 5.0  # between two checks that the listener's connection is alive


class PostgresStore:
    """An ``OutboxStore`` in the schema ``schema`` of the database at ``url``.

    ``listen_url`` names a server for LISTEN where ``url`` is that of a pooler; ``name`` is the start of ``node``.
    ``reactor`` also provides ``IReactorThreads``; call ``open`` before ``run``, and no ``run`` once ``close`` fires.
    """

    ttl = TTL

    def __init__(
        self, reactor: IReactorTime, url: str, *, listen_url: str = "", schema: str = "flaggateway", name: str = "node"
    ) -> None:
        self.node = f"{name}-{uuid4().hex[:8]}"
        self.reactor: Any = reactor
        self._url = url
        self._listen_url = listen_url or url
        self._pooled = bool(listen_url)
        self.schema = schema
        self._ahead = time.time() - reactor.seconds()  # noqa: TID251 - until the database's clock is known
        self._delivery = _Channel(self, "delivery")
        self._recording = _Channel(self, "recording", lock=True)
        self._configs = _Channel(self, "configs")
        self._over = Event()
        self._listener: Thread | None = None
        self._heard_at = time.monotonic()  # when the listener was last connected
        self._looks: list[Callable[[], None]] = []
        self._watchers: list[Callable[[str, str], None]] = []

    @property
    def shared(self) -> PostgresStore:
        """See ``OutboxStore``."""
        return self

    @property
    def recording(self) -> Store:
        """See ``OutboxStore``."""
        return self._recording

    @property
    def configs(self) -> Store:
        """See ``SharedStore``."""
        return self._configs

    def open(self) -> None:
        """Start the threads, which connect at the first transaction; lowers the switch interval of the process."""
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
        self._delivery.start()
        self._recording.start()
        self._configs.start()

    def run(self, work: Work[T]) -> Deferred[T]:
        """See ``Store``."""
        return self._delivery.run(work)

    def read(self, query: Work[T], seconds: float, stopped: Callable[[], bool]) -> T:
        """See ``OutboxStore``; the server ends a query after ``postgres_connection.STATEMENT_MILLISECONDS``."""
        from gateway.storage import postgres_connection as postgres

        del seconds, stopped
        with closing(self.connect("reader")) as raw:
            return postgres.in_transaction(raw, self.schema, query, lock=False, read=True)

    def wall(self) -> float:
        """See ``SharedStore``."""
        return float(self.reactor.seconds() + self._ahead)

    def set_wall(self, now: float, asked: float) -> None:
        """See ``SharedStore``."""
        self._ahead = now - (asked + self.reactor.seconds()) / 2

    def listen(self, look: Callable[[], None]) -> None:
        """See ``SharedStore``."""
        self._looks.append(look)
        self._start_listener()

    def watch_configs(self, changed: Callable[[str, str], None]) -> None:
        """See ``SharedStore``."""
        self._watchers.append(changed)
        self._start_listener()

    def deaf_for(self) -> float:
        """See ``SharedStore``."""
        return time.monotonic() - self._heard_at

    def close(self) -> Deferred[Any]:
        """Finish the work of all earlier calls within ``CLOSE_SECONDS``, end threads and connections, then fire."""
        self._over.set()
        return DeferredList([self._delivery.close(), self._recording.close(), self._configs.close()])

    def connect(self, role: str) -> Psycopg[Any]:
        """Return a new connection to tables of our schema; in any thread.

        :raises StoreError: if the server cannot be reached, or its tables not be used
        """
        from gateway.storage import postgres_connection as postgres

        raw = postgres.connect(self._url, pooled=self._pooled, name=f"flaggateway {role} {self.node}"[:63])
        try:
            postgres.migrate(raw, self.schema)
        except BaseException:
            raw.close()
            raise
        return raw

    def _start_listener(self) -> None:
        if self._listener is None:
            self._listener = Thread(target=self._listen, name="outbox-listen", daemon=True)
            self._listener.start()

    def _listen(self) -> None:
        """Pass each notification on, and each interruption, until the store is closed."""
        from gateway.storage import postgres_connection as postgres

        tries = 0
        while not self._over.is_set():
            try:
                raw = postgres.connect(self._listen_url, pooled=False, name=f"flaggateway listener {self.node}"[:63])
                with closing(raw):
                    for channel in (postgres.CHANNEL, CONFIGS):
                        raw.execute(f"LISTEN {channel}", prepare=False)
                    self._pass_on(self._missed)
                    tries = 0
                    self._take_notifications(raw)
            except Exception as error:  # noqa: BLE001 - the thread must not end; each node also looks once a second
                _log.debug("listening for new messages of other nodes failed: {reason}", reason=str(error))
            self._over.wait(LISTEN_PAUSES[min(tries, len(LISTEN_PAUSES) - 1)])
            tries += 1

    def _take_notifications(self, raw: Psycopg[Any]) -> None:
        probed = time.monotonic()
        while not self._over.is_set():
            self._heard_at = time.monotonic()
            for news in raw.notifies(timeout=1.0, stop_after=1):
                schema, _, rest = news.payload.partition(" ")
                if schema == self.schema:
                    self._pass_on(self._heard, rest)
            if time.monotonic() - probed > PROBE_SECONDS:
                raw.execute("SELECT 1", prepare=False)
                probed = time.monotonic()

    def _pass_on(self, call: Callable[..., None], *arguments: str) -> None:
        if not self._over.is_set():
            self.reactor.callFromThread(call, *arguments)

    def _heard(self, payload: str) -> None:
        """Pass on that messages were added, or what happened to the configs of a key."""
        verb, _, key = payload.partition(" ")
        for look in () if key else self._looks:
            look()
        for changed in self._watchers if key else ():
            changed(verb, key)

    def _missed(self) -> None:
        """Have everything looked at again after an interruption."""
        for look in self._looks:
            look()
        for changed in self._watchers:
            changed("changed", "")


class _Channel:
    """A ``Store`` over one connection, with a thread of its own."""

    def __init__(self, store: PostgresStore, role: str, *, lock: bool = False) -> None:
        self._store = store
        self._role = role
        self._lock = lock
        self._reactor = store.reactor
        self._pool = ThreadPool(0, 1, name=f"outbox-{role}")
        self._queue = TransactionQueue(self._reactor, self._transact)
        self._raw: Psycopg[Any] | None = None
        self._patient = False

    def start(self) -> None:
        """Start the thread."""
        self._pool.start()

    def run(self, work: Work[T]) -> Deferred[T]:
        """See ``Store``."""
        return self._queue.run(work)

    def close(self) -> Deferred[None]:
        """See ``PostgresStore.close``."""
        cut = self._reactor.callLater(CLOSE_SECONDS, self._abort)
        return self._queue.idle().addCallback(lambda _: self._closed(cut))

    def _closed(self, cut: Any) -> None:
        if cut.active():
            cut.cancel()
        self._pool.stop()  # joins the thread, which is idle
        if self._raw is not None:
            self._raw.close()

    def _transact(self, works: list[Work[Any]]) -> Deferred[list[Any]]:
        hung = self._reactor.callLater(HUNG_SECONDS, self._abort)
        done: Deferred[list[Any]] = deferToThreadPool(self._reactor, self._pool, self._in_thread, works)

        def ended(results: Any) -> Any:
            if hung.active():
                hung.cancel()
            return results

        return done.addBoth(ended)

    def _abort(self) -> None:
        from gateway.storage import postgres_connection as postgres

        raw = self._raw
        if raw is not None:
            postgres.abort(raw)

    def _in_thread(self, works: list[Work[Any]]) -> list[Any]:
        """Run all works in one transaction; if one fails, each in a transaction of its own."""
        try:
            return self._together(works)
        except StoreError as error:
            failure = Failure()
            if self._raw is None or self._raw.closed or not error.code:
                return [failure] * len(works)  # no work caused it
        except Exception:  # noqa: BLE001 - any work may have raised it; each reports its own failure in the second run
            return [self._alone(work) for work in works]
        return [self._alone(work) for work in works]

    def _alone(self, work: Work[Any]) -> Any:
        try:
            return self._together([work])[0]
        except Exception:  # noqa: BLE001 - the border of the thread: the caller gets the failure through the Deferred
            return Failure()

    def _together(self, works: list[Work[Any]]) -> list[Any]:
        from gateway.storage import postgres_connection as postgres

        if self._raw is None or self._raw.closed:
            self._raw = self._store.connect(self._role)
        patient, self._patient = self._patient, False
        began = time.monotonic()
        try:
            return postgres.in_transaction(
                self._raw,
                self._store.schema,
                lambda connection: [work(connection) for work in works],
                lock=self._lock,
                patient=patient,
            )
        except StoreError:
            # Perhaps the server has ended the session, because composing messages about a large config took so long.
            self._patient = time.monotonic() - began > postgres.IDLE_MILLISECONDS / 1000
            raise
