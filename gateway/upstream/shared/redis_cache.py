"""The shared config cache on Redis: commands run in two threads of its own, a third one listens for changes.

    reactor thread ──► look, put, touch ──► two threads ──► scripts ──► Redis
        ▲────────────── changed ◄────────── watcher ◄───────────────────┘

While Redis does not answer, one command a second tries it and the others fail at once: none waits, none piles up.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from gateway.logger import component_logger
from gateway.text import ProblemText, log_command
from gateway.twisted_private import DaemonThreads
from gateway.upstream.config_cache import DamagedEntry, unpack
from gateway.upstream.shared import scripts
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
from gateway.upstream.shared.redis_client import RedisClient, RedisFailed, Script
from gateway.upstream.shared.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.settings import Redis
    from gateway.upstream.config_cache import Entry
    from gateway.upstream.shared.interface import Operations

_log = component_logger("sdks")

THREADS: Final = 2
DEAD_SECONDS: Final = 10.0  # without a sign of life of the watcher, after which it is a problem
_LOOK: Final = Script.of(scripts.LOOK)
_PUT: Final = Script.of(scripts.PUT)
_TOUCH: Final = Script.of(scripts.TOUCH)
_GIVE_UP: Final = Script.of(scripts.GIVE_UP)
_MEET: Final = Script.of(scripts.MEET)
_PEEK: Final = Script.of(scripts.PEEK)
_MIRROR: Final = Script.of(scripts.MIRROR)
_ANNOUNCE: Final = Script.of(scripts.ANNOUNCE)

T = TypeVar("T")


@frozen
class Peeked:
    """What Redis holds for a key: fetch time and ETag of the entry, and version and ETag of what a gateway wrote last.

    ``etag`` is empty without an entry that can be used.
    """

    fetched_at: int
    etag: str
    version: int
    own_etag: str


class RedisCache:
    """A ``SharedCache``; ``name`` begins the keys of this cluster, ``node`` is this gateway and unique in it.

    ``effect`` describes for operators what it means that Redis cannot be used.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Redis,
        *,
        name: str,
        node: str,
        counted: Operations = lambda _op, _outcome: None,
        effect: str = "this node polls for itself, and hears of changes by its own polls only",
    ) -> None:
        self.node = node
        self._reactor = reactor
        self._settings = settings
        self._name = name
        self._counted = counted
        self._effect = effect
        self._channel, self._announcements = f"{name}:changed", f"{name}:refresh"
        self._threads = DaemonThreads(0, THREADS, "config-cache")
        self._client: RedisClient | None = None
        self._watcher: Watcher | None = None
        self._watched: dict[str, list[tuple[Callable[[], None], Callable[[], None]]]] = {}
        self._failed_at = float("-inf")  # monotonic; read and written by all threads
        self._troubles: dict[str, Unavailable] = {}  # the last failure of a kind of command
        self._silent_since: float | None = None  # when commands began to get no answer; monotonic

    def start(self) -> None:
        """Start the threads and connect; returns at once, whether Redis can be reached or not."""
        self._client = RedisClient(self._settings)
        self._threads.start()
        self._watcher = Watcher(
            self._client,
            {self._channel: self._changed, self._announcements: self._announced},
            lambda: list(self._watched),
            self._changed,
        )
        self._watcher.start()

    def stop(self) -> None:
        """Close the connections; commands that are running end by themselves."""
        if self._watcher is not None and self._client is not None:
            self._watcher.stop()
            self._reactor.callInThread(self._client.drop)

    def look(
        self, key: str, have: Place | None, *, lease: bool, max_bytes: int, tags: bool = False
    ) -> Deferred[Reading | Unavailable]:
        """See ``SharedCache``."""
        own = Place(0, "", 0) if have is None else have
        milliseconds = int(LEASE_SECONDS * 1000) if lease else 0
        arguments = (self.node, milliseconds, own.version, _bytes(own.etag), own.fetched_at, int(tags))

        def read(answer: list[Any]) -> Reading:
            return _reading(answer, self.node, max_bytes)

        return self._run("look", _LOOK, self._keys(key), arguments, read)

    def put(
        self, key: str, base: Place | None, own: int, entry: Entry, tag: str, credit: str = ""
    ) -> Deferred[Stored | Refused | Unavailable]:
        """See ``SharedCache``."""
        at = Place(0, "", 0) if base is None else base
        arguments = (
            at.version, _bytes(at.etag), own, entry.fetched_at, _bytes(entry.etag), entry.body, tag, self.node,
            self._channel, key, credit,
        )  # fmt: skip

        def read(answer: list[Any]) -> Stored | Refused:
            stored, version, time = answer
            return Stored(Place(int(version), entry.etag, int(time))) if stored else Refused()

        return self._run("put", _PUT, self._keys(key)[:2], arguments, read)

    def touch(self, key: str, etag: str) -> Deferred[Place | None]:
        """See ``SharedCache``."""

        def read(answer: list[Any]) -> Place | None:
            version, time = answer
            return Place(int(version), etag, int(time)) if version else None

        done = self._run("touch", _TOUCH, self._keys(key)[:2], (_bytes(etag),), read)
        return done.addCallback(lambda result: None if isinstance(result, Unavailable) else result)

    def peek(self, key: str) -> Deferred[Peeked | Unavailable]:
        """Return what is stored, without any effect on it."""

        def read(answer: list[Any]) -> Peeked:
            time, etag, version, own_etag = answer
            return Peeked(int(time or 0), etag.decode("latin-1"), int(version), own_etag.decode("latin-1"))

        return self._run("look", _PEEK, self._keys(key)[:2], (), read)

    def mirror(self, key: str, version: int, entry: Entry, tag: str, credit: str) -> Deferred[int | Unavailable]:
        """Store a config at a version that was decided elsewhere, unless a later one is stored.

        Return the version that is stored then.
        """
        arguments = (
            version, entry.fetched_at, _bytes(entry.etag), entry.body, tag, self.node, self._channel, key, credit,
        )  # fmt: skip
        return self._run("mirror", _MIRROR, self._keys(key)[:2], arguments, lambda answer: int(answer[1]))

    def announce(self, key: str) -> None:
        """See ``SharedCache``."""
        self._run("announce", _ANNOUNCE, (key,), (self._announcements,), lambda _: None)

    def give_up_lease(self, key: str) -> Deferred[None]:
        """See ``SharedCache``."""
        return self._run("lease", _GIVE_UP, self._keys(key)[2:], (self.node,), lambda _: None).addCallback(
            lambda _: None
        )

    def meet(self, report: str, valid: float) -> Deferred[Meeting | Unavailable]:
        """Store the report of this node, and return those of all nodes.

        An empty report takes this node out.  One that is older than ``valid`` seconds is dropped.
        """

        def read(answer: list[bytes]) -> Meeting:
            reports = {}
            for node, value in zip(answer[2::2], answer[3::2], strict=True):
                reports[node.decode("utf-8", "replace")] = value.partition(b"\n")[2].decode("utf-8", "replace")
            return Meeting(reports, answer[1].partition(b"\n")[2].decode("utf-8", "replace"))

        arguments = (self.node, report, int(valid * 1000))
        return self._run("meet", _MEET, (f"{self._name}:nodes",), arguments, read)

    def watch(
        self, key: str, changed: Callable[[], None], announced: Callable[[], None] = lambda: None
    ) -> Callable[[], None]:
        """See ``SharedCache``."""
        calls = self._watched.setdefault(key, [])
        both = (changed, announced)
        calls.append(both)
        if len(calls) == 1 and self._watcher is not None:
            self._watcher.keys_changed()

        def end() -> None:
            calls.remove(both)
            if not calls and self._watched.get(key) is calls:
                del self._watched[key]

        return end

    def cut_off(self) -> bool:
        """See ``SharedCache``."""
        since = self._silent_since
        if self._watcher is not None and not self._watcher.state.connected:
            since = self._watcher.state.since if since is None else min(since, self._watcher.state.since)
        return since is not None and monotonic() - since > CUT_SECONDS

    def problems(self) -> list[str]:
        """See ``SharedCache``."""
        found: list[str] = []
        place = ", ".join(self._settings.addresses)
        watcher = self._watcher
        if self._troubles:
            reason = next(iter(self._troubles.values())).reason
            text = f"the config cache on Redis ({place}) cannot be used: {reason}; {self._effect}"
            found.append(ProblemText(text, log_command("Redis")))
        elif watcher is not None and monotonic() - watcher.state.alive_at > DEAD_SECONDS:
            text = "the thread that listens to Redis does not run; changes of other nodes arrive late; restart"
            found.append(ProblemText(text, "systemctl restart flaggateway"))
        return found

    def _keys(self, key: str) -> tuple[str, str, str]:
        companion = f"{self._name}:{{{key}}}"
        return key, companion, f"{companion}:poller"

    def _run(
        self, operation: str, script: Script, keys: Sequence[str], arguments: Sequence[Any], read: Callable[[Any], T]
    ) -> Deferred[T | Unavailable]:
        client = self._client
        if client is None or not self._may_try():
            self._counted(operation, "failed")
            return succeed(Unavailable("it does not answer"))

        def work() -> T | Unavailable:
            if not self._may_try():  # it failed while this command was waiting for a thread
                return Unavailable("it does not answer")
            try:
                result = read(client.run(script, keys, arguments))
            except RedisFailed as error:
                self._failed_at = float("-inf") if error.refused else monotonic()
                return Unavailable(str(error), refused=error.refused)
            except (ValueError, TypeError, IndexError):
                return Unavailable("it answers in an unknown way")
            self._failed_at = float("-inf")
            return result

        def ended(result: T | Unavailable) -> T | Unavailable:
            trouble = result if isinstance(result, Unavailable) else None
            self._counted(operation, "failed" if trouble else "refused" if isinstance(result, Refused) else "ok")
            self._note(operation, trouble)
            return result

        def failed(failure: Any) -> Unavailable:
            _log.failure("a command for Redis failed unexpectedly", failure=failure)
            self._counted(operation, "failed")
            return Unavailable("unexpected error")

        return deferToThreadPool(self._reactor, self._threads, work).addCallbacks(ended, failed)

    def _may_try(self) -> bool:
        """Return whether a command may be sent: while Redis does not answer, one each ``PAUSE_SECONDS``."""
        return monotonic() - self._failed_at >= PAUSE_SECONDS

    def _note(self, operation: str, trouble: Unavailable | None) -> None:
        """Log when Redis does not answer any more, or refuses commands of a kind, and when that is over."""
        before = bool(self._troubles)
        if trouble is None or trouble.refused:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = monotonic()
        if trouble is not None:
            self._troubles[operation] = trouble
        else:  # it answers, so only what it refuses is left
            refused = {each: found for each, found in self._troubles.items() if found.refused}
            self._troubles = {each: found for each, found in refused.items() if each != operation}
        if trouble is not None and not before:
            _log.warn(
                "Redis, the shared config cache, cannot be used: {reason}; {effect}",
                reason=trouble.reason,
                effect=self._effect,
            )
        elif before and not self._troubles:
            _log.warn("Redis, the shared config cache, can be used again")

    def _changed(self, key: str | None) -> None:
        """Pass a change on; called by the watcher's thread."""
        self._reactor.callFromThread(self._pass_on, key)

    def _announced(self, key: str | None) -> None:
        """Pass on that another node fetches for a caller; called by the watcher's thread."""
        self._reactor.callFromThread(self._pass_announcement, key)

    def _pass_on(self, key: str | None) -> None:
        if key is None:
            self._failed_at = float("-inf")  # the watcher is connected, so commands may be tried at once
        keys = list(self._watched) if key is None else [key]
        for each in keys:
            for changed, _ in list(self._watched.get(each, ())):
                changed()

    def _pass_announcement(self, key: str | None) -> None:
        for _, announced in list(self._watched.get(key or "", ())):
            announced()


def _bytes(etag: str) -> bytes:
    return etag.encode("latin-1")


def _reading(answer: list[Any], node: str, max_bytes: int) -> Reading:
    version, etag, time, accepted, stale, ahead, age, poller, body, tags, credit = answer
    holder = poller.decode("utf-8", "replace")
    lease = {"poller": holder, "mine": holder == node, "tags": tuple(tags.decode("ascii", "replace").split())}
    if version < 0:
        return Reading(None, damage="" if version == -1 else "failed to recognise the cache format", **lease)
    place = Place(int(version), etag.decode("latin-1"), int(time))
    found = None
    if body:
        if len(body) > max_bytes + len(etag) + 32:
            return Reading(place, damage="the config JSON is larger than upstream.max_bytes", **lease)
        try:
            entry = unpack(body)
        except DamagedEntry as error:
            return Reading(place, damage=str(error), **lease)
        by = credit.decode("utf-8", "replace")
        found = Found(place, entry, bool(accepted), max(0, int(age)) / 1000, by)
    return Reading(place, found, stale=bool(stale), ahead=int(ahead) / 1000, **lease)
