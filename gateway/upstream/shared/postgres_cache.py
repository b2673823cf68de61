"""The shared config cache in the PostgreSQL of the outbox: changes, messages and configs then have one order.

    reactor thread ──► look, put, touch ──► connection of the configs ──► PostgreSQL
        ▲────────────── changed ◄────────── NOTIFY ◄──────────────────────┘

While the server does not answer, one command a second tries it and the others fail at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed

from gateway.logger import component_logger
from gateway.storage import STORE_ERRORS, Looked, shared_configs
from gateway.text import ProblemText
from gateway.upstream.config_cache import Entry
from gateway.upstream.shared.interface import (
    CUT_SECONDS,
    LEASE_SECONDS,
    PAUSE_SECONDS,
    Found,
    Meeting,
    Place,
    Reading,
    Refused,
    Stored,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from gateway.storage import Connection, SharedStore
    from gateway.upstream.shared.interface import Operations

_log = component_logger("sdks")

COMMAND_SECONDS: Final = 2.0  # for which a command is waited for; what it does after that is found by the next look
WAITING_LIMIT: Final = 100  # commands that wait for a server that hangs; further ones fail at once

T = TypeVar("T")
U = TypeVar("U")


class PostgresCache:
    """A ``SharedCache`` of the node ``node``; commands fail until ``start``."""

    def __init__(
        self, clock: IReactorTime, *, node: str, counted: Operations = lambda _operation, _outcome: None
    ) -> None:
        self.node = node
        self._clock = clock
        self._counted = counted
        self._store: SharedStore | None = None
        self._watched: dict[str, list[tuple[Callable[[], None], Callable[[], None]]]] = {}
        self._failed_at = float("-inf")
        self._waiting = 0
        self._trouble = ""  # why the last command failed; empty while commands succeed

    def start(self, store: SharedStore) -> None:
        """Use this database from now on."""
        self._store = store
        store.watch_configs(self._heard)

    def stop(self) -> None:
        """Use the database no more: it is about to be closed."""
        self._store = None

    def look(
        self, key: str, have: Place | None, *, lease: bool, max_bytes: int, tags: bool = False
    ) -> Deferred[Reading | Unavailable]:
        """See ``SharedCache``."""
        own = (0, "") if have is None else (have.version, have.etag)
        seconds = LEASE_SECONDS if lease else 0.0

        def work(connection: Connection) -> Looked:
            return shared_configs.look(connection, key, self.node, seconds, own, tags=tags)

        return self._run("look", work, lambda found: _reading(found, self.node, max_bytes))

    def put(
        self, key: str, base: Place | None, own: int, entry: Entry, tag: str, credit: str = ""
    ) -> Deferred[Stored | Refused | Unavailable]:
        """See ``SharedCache``."""
        at = (0, "") if base is None else (base.version, base.etag)
        values = (entry.fetched_at, entry.etag, entry.body)

        def work(connection: Connection) -> tuple[int, int] | None:
            return shared_configs.put(connection, key, at, own, values, tag, self.node, credit)

        def read(found: tuple[int, int] | None) -> Stored | Refused:
            return Refused() if found is None else Stored(Place(found[0], entry.etag, found[1]))

        return self._run("put", work, read)

    def touch(self, key: str, etag: str) -> Deferred[Place | None]:
        """See ``SharedCache``."""

        def read(found: tuple[int, int] | None) -> Place | None:
            return None if found is None else Place(found[0], etag, found[1])

        done = self._run("touch", lambda connection: shared_configs.touch(connection, key, etag), read)
        return done.addCallback(lambda result: None if isinstance(result, Unavailable) else result)

    def give_up_lease(self, key: str) -> Deferred[None]:
        """See ``SharedCache``."""

        def work(connection: Connection) -> None:
            shared_configs.give_up_lease(connection, key, self.node)

        return self._run("lease", work, lambda _: None).addCallback(lambda _: None)

    def meet(self, report: str, valid: float) -> Deferred[Meeting | Unavailable]:
        """See ``Meets``."""

        def work(connection: Connection) -> Meeting:
            return Meeting(*shared_configs.meet(connection, self.node, report, valid))

        return self._run("meet", work, lambda meeting: meeting)

    def announce(self, key: str) -> None:
        """See ``SharedCache``."""
        self._run("announce", lambda connection: shared_configs.announce(connection, "refresh", key), lambda _: None)

    def watch(
        self, key: str, changed: Callable[[], None], announced: Callable[[], None] = lambda: None
    ) -> Callable[[], None]:
        """See ``SharedCache``."""
        both = (changed, announced)
        self._watched.setdefault(key, []).append(both)

        def end() -> None:
            calls = self._watched.get(key, [])
            if both in calls:
                calls.remove(both)
            if not calls:
                self._watched.pop(key, None)

        return end

    def cut_off(self) -> bool:
        """See ``SharedCache``."""
        return self._store is not None and bool(self._trouble) and self._store.deaf_for() > CUT_SECONDS

    def problems(self) -> list[str]:
        """See ``SharedCache``."""
        if not self._trouble:
            return []
        effect = "this node polls for itself, and hears of changes by its own polls only"
        return [
            ProblemText(f"configs cannot be shared through PostgreSQL: {self._trouble}; {effect}", "flaggateway check")
        ]

    def _run(
        self, operation: str, work: Callable[[Connection], T], read: Callable[[T], U]
    ) -> Deferred[U | Unavailable]:
        store = self._store
        now = self._clock.seconds()
        if store is None or now - self._failed_at < PAUSE_SECONDS or self._waiting >= WAITING_LIMIT:
            self._counted(operation, "failed")
            return succeed(Unavailable("it does not answer"))
        self._waiting += 1

        def ended(found: T) -> U | Unavailable:
            self._waiting -= 1
            self._failed_at = float("-inf")
            result = read(found)
            self._counted(operation, "refused" if isinstance(result, Refused) else "ok")
            self._note("")
            return result

        def failed(failure: Failure) -> Unavailable:
            self._waiting -= 1
            self._failed_at = self._clock.seconds()
            self._counted(operation, "failed")
            if failure.check(CancelledError):
                reason = f"no answer within {COMMAND_SECONDS:g} s"
            elif failure.check(*STORE_ERRORS):
                reason = failure.getErrorMessage() or "unknown"
            else:
                _log.failure("a command for the shared configs failed unexpectedly", failure=failure)
                reason = "unexpected error"
            self._note(reason)
            return Unavailable(reason)

        return _within(self._clock, store.configs.run(work)).addCallbacks(ended, failed)

    def _note(self, trouble: str) -> None:
        """Log when the server does not answer any more, and when that is over."""
        before, self._trouble = self._trouble, trouble
        if trouble and not before:
            _log.warn(
                "configs cannot be shared through PostgreSQL: {reason}; this node polls for itself meanwhile",
                reason=trouble,
            )
        elif before and not trouble:
            _log.warn("configs can be shared through PostgreSQL again")

    def _heard(self, verb: str, key: str) -> None:
        """Pass on what another node has announced; "" stands for all keys, after the connection was lost."""
        if not key:
            self._failed_at = float("-inf")  # the server answers, so commands may be tried at once
        for each in [key] if key else list(self._watched):
            for changed, announced in list(self._watched.get(each, ())):
                (announced if verb == "refresh" else changed)()


def _within(clock: IReactorTime, work: Deferred[T]) -> Deferred[T]:
    """Return a Deferred with the result of ``work``, which fails with ``CancelledError`` after ``COMMAND_SECONDS``."""
    done: Deferred[T] = Deferred()
    late = clock.callLater(COMMAND_SECONDS, done.cancel)

    def ended(result: T | Failure) -> None:
        if late.active():
            late.cancel()
            done.callback(result)

    work.addBoth(ended)
    return done


def _reading(found: Looked, node: str, max_bytes: int) -> Reading:
    newest, mine = found.newest, found.poller == node
    if newest is None:
        return Reading(None, poller=found.poller, mine=mine, tags=found.tags)
    place = Place(newest.version, newest.etag, newest.fetched_at)
    if newest.body is None:
        return Reading(place, poller=found.poller, mine=mine, tags=found.tags)
    if len(newest.body) > max_bytes:
        damage = "the config JSON is larger than upstream.max_bytes"
        return Reading(place, damage=damage, poller=found.poller, mine=mine, tags=found.tags)
    entry = Entry(newest.fetched_at, newest.etag, newest.body)
    config = Found(place, entry, True, newest.lag, newest.credit)
    return Reading(place, config, poller=found.poller, mine=mine, tags=found.tags)
