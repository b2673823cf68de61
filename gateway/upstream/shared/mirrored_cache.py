"""A shared cache that decides, and a Redis beside it that ConfigCat SDKs and ConfigCat Proxies read and write.

    put ──► PostgreSQL: version ──► Redis: the official entry, at that version
    Redis: an entry of another program ──► the node that polls ──► the upstream decides

The order of configs is that of PostgreSQL alone.  What Redis holds is repaired by the node that polls: an entry that is
missing, damaged or older is written again, and one of another program makes that node fetch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen
from twisted.internet.defer import Deferred

from gateway.deferreds import supervise
from gateway.logger import component_logger
from gateway.upstream.shared.interface import Place, Reading, Refused, Stored, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.upstream.config_cache import Entry
    from gateway.upstream.shared.interface import SharedCache
    from gateway.upstream.shared.redis_cache import Peeked, RedisCache

_log = component_logger("sdks")

RAISES: Final = 3  # times in a row that a version is raised to that of Redis; then the next look tries again


@frozen
class _Latest:
    """The newest config of a key that this node has seen."""

    place: Place
    entry: Entry
    tag: str
    credit: str


class MirroredCache:
    """A ``SharedCache``: ``first`` decides, and ``redis`` gets what is stored there."""

    def __init__(self, first: SharedCache, redis: RedisCache) -> None:
        self.node = first.node
        self._first = first
        self._redis = redis
        self._latest: dict[str, _Latest] = {}
        self._mine: set[str] = set()  # keys that this node polls
        self._calls: dict[str, list[Callable[[], None]]] = {}
        self._doubts: set[str] = set()  # keys whose next reading has a doubt
        self._doubted: dict[str, tuple[str, int]] = {}  # ETag and time of another program's entry that was reported

    def look(
        self, key: str, have: Place | None, *, lease: bool, max_bytes: int, tags: bool = False
    ) -> Deferred[Reading | Unavailable]:
        """See ``SharedCache``."""

        def looked(reading: Reading | Unavailable) -> Reading | Unavailable:
            if isinstance(reading, Unavailable):
                return reading
            if (found := reading.found) is not None:
                tag = reading.tags[-1] if reading.tags else ""
                self._note(key, _Latest(found.place, found.entry, tag, found.credit))
            (self._mine.add if reading.mine else self._mine.discard)(key)
            if reading.mine and reading.place is not None and key in self._latest:
                place = reading.place  # Redis is not waited for: one that hangs must not delay a change
                self._redis.peek(key).addCallback(lambda peeked: self._compare(key, place, peeked))
            if reading.mine and key in self._doubts:
                self._doubts.discard(key)
                return evolve(reading, doubt=True)
            return reading

        return self._first.look(key, have, lease=lease, max_bytes=max_bytes, tags=tags).addCallback(looked)

    def put(
        self, key: str, base: Place | None, own: int, entry: Entry, tag: str, credit: str = ""
    ) -> Deferred[Stored | Refused | Unavailable]:
        """See ``SharedCache``; Redis is written without being waited for."""

        def stored(result: Stored | Refused | Unavailable) -> Stored | Refused | Unavailable:
            if isinstance(result, Stored):
                self._note(key, _Latest(result.place, entry, tag, credit))
                self._write(key)
            return result

        return self._first.put(key, base, own, entry, tag, credit).addCallback(stored)

    def touch(self, key: str, etag: str) -> Deferred[Place | None]:
        """See ``SharedCache``; the entry in Redis becomes ours, if another program has overwritten it."""

        def touched(place: Place | None) -> Place | None:
            latest = self._latest.get(key)
            if place is not None and latest is not None and latest.entry.etag == etag:
                self._redis.touch(key, etag).addCallback(lambda found: None if found else self._write(key))
            return place

        return self._first.touch(key, etag).addCallback(touched)

    def give_up_lease(self, key: str) -> Deferred[None]:
        """See ``SharedCache``."""
        return self._first.give_up_lease(key)

    def announce(self, key: str) -> None:
        """See ``SharedCache``."""
        self._first.announce(key)

    def watch(
        self, key: str, changed: Callable[[], None], announced: Callable[[], None] = lambda: None
    ) -> Callable[[], None]:
        """See ``SharedCache``."""

        def redis_changed() -> None:
            if key in self._mine:  # what the other nodes write there concerns no other node
                changed()

        calls = self._calls.setdefault(key, [])
        calls.append(changed)
        ends = (self._first.watch(key, changed, announced), self._redis.watch(key, redis_changed))

        def end() -> None:
            calls.remove(changed)
            for each in ends:
                each()

        return end

    def cut_off(self) -> bool:
        """See ``SharedCache``."""
        return self._first.cut_off()

    def problems(self) -> list[str]:
        """See ``SharedCache``."""
        return [*self._first.problems(), *self._redis.problems()]

    def _note(self, key: str, latest: _Latest) -> None:
        known = self._latest.get(key)
        if known is None or latest.place.version >= known.place.version:
            self._latest[key] = latest

    def _compare(self, key: str, place: Place, peeked: Peeked | Unavailable) -> None:
        """Repair what Redis holds; where another program has stored something else, have the upstream decide."""
        latest = self._latest[key]
        if isinstance(peeked, Unavailable) or place.etag != latest.entry.etag:
            return
        version = max(latest.place.version, place.version)
        self._latest[key] = evolve(latest, place=evolve(latest.place, version=version))
        ours = peeked.own_etag == peeked.etag and peeked.version <= version
        if peeked.etag == latest.entry.etag:
            if not ours or peeked.version < version:
                self._write(key)
        elif not peeked.etag or ours:
            self._write(key)
        elif self._doubted.get(key) != (peeked.etag, peeked.fetched_at):
            self._doubted[key] = (peeked.etag, peeked.fetched_at)
            self._doubts.add(key)
            for changed in list(self._calls.get(key, ())):
                changed()

    def _write(self, key: str) -> None:
        written = Deferred.fromCoroutine(self._mirror(key))
        supervise(written, _log, "a config could not be written to Redis")

    async def _mirror(self, key: str) -> None:
        """Write the latest config to Redis; where that has a higher version, as from before PostgreSQL, follow that."""
        for _ in range(RAISES):
            latest = self._latest[key]
            version = latest.place.version
            stored = await self._redis.mirror(key, version, latest.entry, latest.tag, latest.credit)
            if isinstance(stored, Unavailable) or stored <= version:
                return
            raised = await self._first.put(key, latest.place, stored, latest.entry, latest.tag, latest.credit)
            if not isinstance(raised, Stored):
                return  # another node has stored a later config, and writes that
            self._note(key, evolve(latest, place=raised.place))
