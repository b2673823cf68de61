"""One SDK's config from a cache that several gateways share, and from its upstream if this node is the one that polls.

    upstream ──► SharedSource ──► Sdk: guard ──► share: put ──► cache ──► changed ──► other SharedSources ──► Sdk

Each node reads the cache when it hears of a change, and every few seconds all the same.  One of them has the lease for
polling.  Nothing depends on that: what a node puts is stored only if no other node has stored something since it read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, succeed

from gateway.clocks import wall_clock
from gateway.deferreds import Timer, fire_within, supervise
from gateway.logger import component_logger
from gateway.upstream.config_cache import Entry, cache_key
from gateway.upstream.outcome import Failed, Fetched, Kind, NotModified, Outcome
from gateway.upstream.shared.interface import Place, Reading, Refused, Stored, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.upstream.plan import Plan
    from gateway.upstream.shared.interface import Found, SharedCache
    from gateway.upstream.source import ConditionalSource, Confirm, SourceContext, Wake

_log = component_logger("sdks")

NET_SECONDS: Final = 4.0  # between two looks without a change; also renews the lease, well within its validity
PATIENCE: Final = 0.25  # seconds for which a new config waits to be stored before it is published
FIRST_SECONDS: Final = 1.0  # for which the first fetch waits for the cache; one that hangs does not delay a start more
ROUNDS: Final = 3  # fetches in a row that follow a refused put; then the next poll
ABSTAIN_SECONDS: Final = 10.0  # after a poll that failed, another node may poll
TOUCH_SECONDS: Final = 5.0  # between two renewals of the entry's date; an SDK may poll every second

CACHE_RELOADED: Final = "reload from cache succeeded"
CACHE_NOT_MODIFIED: Final = "config from cache not modified"
CACHE_UNREADABLE: Final = "failed to read from cache"
CACHE_UNPARSABLE: Final = "failed to parse JSON from cache"


class SharedSource:
    """A ``Source``; without ``upstream`` it only follows the cache."""

    def __init__(
        self,
        context: SourceContext,
        plan: Plan,
        cache: SharedCache,
        upstream: ConditionalSource | None,
        max_bytes: int,
        *,
        adopted: Callable[[str, float], None] = lambda _sdk_id, _lag: None,
    ) -> None:
        self.remote = True
        self.place = "the shared cache"
        self.fetched, self.not_modified = CACHE_RELOADED, CACHE_NOT_MODIFIED
        self.unreadable, self.unparsable = CACHE_UNREADABLE, CACHE_UNPARSABLE
        self.have: Place | None = None  # of the config that the SDK got last
        self.polls = False  # whether this node polls the upstream
        self.poller = ""  # the node that does, empty if unknown
        self.tags: Sequence[str] = ()  # of the configs before the first one of this process, oldest first
        self.ahead = 0.0  # seconds by which another program's entry is dated in the future
        self._clock = context.reactor
        self._wall = wall_clock(context.reactor)
        self._rng = context.rng
        self._plan = plan
        self._key = cache_key(plan.key)
        self._cache = cache
        self._upstream = upstream
        self._max_bytes = max_bytes
        self._adopted = adopted
        self._net_seconds = NET_SECONDS if upstream is not None else plan.settings.offline.cache_poll_interval
        self._wake: Wake = _nothing
        self._confirm: Confirm = _nothing
        self._net = Timer(self._clock)
        self._unwatch: Callable[[], None] = _nothing
        self._running = False
        self._reached = False  # the last look succeeded
        self._looked = False  # one has ended
        self._reading: Deferred[Reading | Unavailable] | None = None
        self._read_again = False
        self._seen: Place | None = None  # what the cache had when it was last read or written
        self._base: Place | None = None  # ``_seen`` when the fetch began whose config is to be stored
        self._sound = False  # the cache has the config of ``_seen``, rather than one that is older
        self._news: Found | None = None  # to be fetched
        self._taken: Found | None = None  # by the fetch that is running
        self._damaged = ""  # why the entry of the cache cannot be used
        self._bad: Place | None = None  # a config of the cache that the SDK could not use
        self._loose = False  # ``have`` came from the upstream and is not stored
        self._current: tuple[Entry, str] | None = None  # the config in use and its tag, once it is accepted
        self._due = False  # the next fetch goes to the upstream
        self._demanded = False  # and a caller waits for it
        self._interrupt: Callable[[], None] = _nothing
        self._rounds = 0
        self._undecided: Place | None = None  # of the cache, when the upstream could not be asked about it
        self._abstain_until = float("-inf")
        self._touched_at = float("-inf")
        self._confirmed_at = 0  # ``fetched_at`` of the entry when that was noted

    # --- Source

    def start(self, wake: Wake, confirm: Confirm) -> None:
        """See ``Source``."""
        self._wake, self._confirm, self._running = wake, confirm, True
        if self._upstream is not None:
            self._upstream.start(self._poll_due, confirm)
        self._unwatch = self._cache.watch(self._key, self._cache_changed)
        self._start_net()

    def stop(self) -> Deferred[None]:
        """See ``Source``."""
        self._running = False
        self._wake = self._confirm = _nothing
        self._net.cancel()
        self._unwatch()
        self._unwatch = _nothing
        left = self._cache.give_up_lease(self._key) if self.polls and self._reached else succeed(None)
        closed = succeed(None) if self._upstream is None else self._upstream.stop()
        return fire_within(self._clock, left, PATIENCE).addCallback(lambda _: closed)

    def cached(self) -> Deferred[Entry | None]:
        """Return the entry that the cache has at a start; None if there is none."""

        def read(_reading: Reading | Unavailable) -> Entry | None:
            news = self._news
            if news is None:
                return None
            if self.polls:  # the first fetch goes to the upstream, without a condition: the entry may be unusable
                self._news = None
                self.have = news.place
            return news.entry

        return self._look(tags=True).addCallback(read)

    def demand(self) -> None:
        """Have the next fetch go to the upstream, because a caller waits for what that has now."""
        self._demanded = True

    async def fetch(self) -> Outcome:
        """See ``Source``."""
        if not self._looked:
            await fire_within(self._clock, self._look(tags=True), FIRST_SECONDS)
        demanded, self._demanded = self._demanded, False
        due, self._due = self._due, False
        if self._upstream is None:
            return await self._follow(demanded=demanded)
        if self._news is not None and not demanded:
            self._due = due
            return self._take_news()
        if not (demanded or due or self.polls or self.have is None or not self._reached):
            return self._as_cache(NotModified())
        looked = self._look() if demanded and self._reached else succeed(None)
        outcome = await self._ask_upstream(interruptible=not demanded)
        await fire_within(self._clock, looked, PATIENCE)
        if self._news is not None and not isinstance(outcome, Fetched):
            return self._take_news()
        return self._as_upstream(outcome)

    def settled(self, outcome: Outcome) -> None:
        """See ``Source``."""
        if not self._running:
            return
        taken, self._taken = self._taken, None
        failed = isinstance(outcome, Failed)
        if taken is not None:
            if failed:
                self._bad, self._due = taken.place, self._upstream is not None
            else:
                self._take(taken)
            outcome = NotModified()
        elif failed and self._upstream is not None and self.place == self._upstream.place:
            self._poll_failed()
        if self._upstream is not None:
            self._upstream.settled(outcome)
        if self._news is not None or self._due:
            self._wake()

    async def share(self, body: bytes, etag: str, tag: str, began: float) -> bool:
        """Store the config that the SDK is about to publish, or that a fetch has confirmed.

        Return whether it may be published: false if another node has stored one meanwhile, so that the caller has to
        fetch again.  ``began`` is when the fetch began, in Unix seconds.
        """
        entry = Entry(max(0, int(began * 1000)), etag, body)
        self._current = (entry, tag)
        if self._taken is not None or self._upstream is None:
            return True
        if self._sound and self._seen is not None and self._seen.etag == etag:
            self._rounds = 0
            self.have, self._loose = self._seen, False
            self._drop_old_news()
            self._touch(etag)
            return True
        own = 0 if self.have is None else self.have.version
        self.have, self._loose = Place(own, etag, entry.fetched_at), True
        self._news = None  # if there still is any, the put is refused
        ended: list[Stored | Refused | Unavailable] = []
        put = self._put(entry, tag, self._base).addCallback(ended.append)
        await fire_within(self._clock, put, PATIENCE)
        if not ended or not isinstance(ended[0], Refused):
            return True
        self._rounds += 1
        await fire_within(self._clock, self._look(), FIRST_SECONDS)
        if self._rounds > ROUNDS:
            self._rounds = 0
            return True
        self._due = True  # after the config of the other node, if there is one
        return False

    # --- fetching

    async def _follow(self, *, demanded: bool) -> Outcome:
        """Return what the cache has, of which this node has no other source."""
        if self._news is None and (demanded or not self._reached or self.have is None):
            await fire_within(self._clock, self._look(), FIRST_SECONDS)
        if self._news is not None:
            return self._take_news()
        if not self._reached:
            return self._as_cache(Failed(Kind.CACHE, "the shared cache does not answer"))
        if self._damaged:
            return self._as_cache(Failed(Kind.CACHE, self._damaged))
        if self.have is None:
            return self._as_cache(Failed(Kind.CACHE, "the shared cache has no config of this SDK"))
        return self._as_cache(NotModified())

    def _take_news(self) -> Outcome:
        news, self._news = self._news, None
        assert news is not None
        self._taken = news
        return self._as_cache(Fetched(news.entry.body, news.entry.etag, news.accepted))

    def _as_cache(self, outcome: Outcome) -> Outcome:
        """Have the SDK report what the cache did."""
        self.place = "the shared cache"
        self.fetched, self.not_modified = CACHE_RELOADED, CACHE_NOT_MODIFIED
        self.unreadable, self.unparsable = CACHE_UNREADABLE, CACHE_UNPARSABLE
        return outcome

    def _as_upstream(self, outcome: Outcome) -> Outcome:
        """Have the SDK report what the upstream did."""
        upstream = self._upstream
        assert upstream is not None
        self.place = upstream.place
        self.fetched, self.not_modified = upstream.fetched, upstream.not_modified
        self.unreadable, self.unparsable = upstream.unreadable, upstream.unparsable
        return outcome

    async def _ask_upstream(self, *, interruptible: bool) -> Outcome:
        """Fetch from the upstream; a change that another node has stored meanwhile ends that."""
        upstream = self._upstream
        assert upstream is not None
        self._base = self._seen
        work = Deferred.fromCoroutine(upstream.fetch())
        if interruptible:
            self._interrupt = work.cancel
        try:
            outcome = await work
        finally:
            self._interrupt = _nothing
        return outcome

    def _take(self, found: Found) -> None:
        """Note that the SDK got a config of the cache; the next poll is conditional on it."""
        if self.have is not None and found.accepted:
            self._adopted(self._plan.id, found.lag)
        self.have, self._loose = found.place, False
        if self._upstream is not None:
            self._upstream.adopt(found.entry.etag)

    def _poll_due(self) -> None:
        """Poll, if this node is the one that does, or none does."""
        if self.polls or not self._reached or not self.poller:
            self._due = True
            self._wake()
        elif self._upstream is not None:
            self._upstream.settled(NotModified())  # which starts the timer of the next poll

    def _poll_failed(self) -> None:
        """Let another node poll, which may reach the upstream."""
        if self._loose and self._seen is not None:
            self._loose = False  # without the upstream, what the cache gets from now on decides
            own = 0 if self.have is None else self.have.version
            self.have = None if self.have is None else Place(max(own, self._seen.version), self.have.etag, 0)
        self._undecided = self._seen
        if self.polls and self._reached:
            self.polls, self.poller = False, ""
            self._abstain_until = self._clock.seconds() + ABSTAIN_SECONDS
            self._cache.give_up_lease(self._key)

    # --- the cache

    def _start_net(self) -> None:
        self._net.start(self._net_seconds * self._rng.uniform(0.9, 1.0), self._net_due)

    def _net_due(self) -> None:
        self._start_net()
        if self._upstream is None and not self._reached:
            self._wake()  # so that the failure is reported
        else:
            self._cache_changed()

    def _cache_changed(self) -> None:
        if self._running:
            supervise(self._look(), _log, "SDK {sdk_id}: the shared cache could not be read", sdk_id=self._plan.id)

    def _look(self, *, tags: bool = False) -> Deferred[Reading | Unavailable]:
        """Read the cache, after a read that is running; the Deferred fires once the result is considered."""
        if self._reading is not None:
            self._read_again = True
            waiting: Deferred[Reading | Unavailable] = Deferred()

            def again(result: Reading | Unavailable) -> Reading | Unavailable:
                # The read that follows is under way by now; its result is passed on.
                if self._reading is None:
                    waiting.callback(result)
                else:
                    self._reading.addCallback(_passed_to(waiting))
                return result

            self._reading.addCallback(again)
            return waiting
        wants_lease = self._running and self._upstream is not None and self._clock.seconds() >= self._abstain_until
        asked = self._cache.look(self._key, self.have, lease=wants_lease, max_bytes=self._max_bytes, tags=tags)
        done: Deferred[Reading | Unavailable] = Deferred()
        self._reading = done

        def ended(result: Reading | Unavailable) -> None:
            self._reading, self._looked = None, True
            try:
                self._consider(result)
            except Exception:  # noqa: BLE001 - an error must not end the following
                _log.failure("SDK {sdk_id}: a config of the shared cache was not considered", sdk_id=self._plan.id)
            again, self._read_again = self._read_again, False
            if again:
                self._look()
            done.callback(result)

        asked.addCallback(ended)
        return done

    def _consider(self, reading: Reading | Unavailable) -> None:
        """Decide what follows from what the cache has."""
        if isinstance(reading, Unavailable):
            self._reached, self.polls, self.poller = False, self._upstream is not None, ""
            return
        first, self._reached = not self._reached, True
        had_lease, self.polls = self.polls, reading.mine and self._upstream is not None
        self.poller, self.ahead, self._damaged = reading.poller, reading.ahead, reading.damage
        self.tags = reading.tags or self.tags
        self._seen, self._sound = reading.place, reading.place is not None and not reading.stale
        if not self._running:
            return
        if self.polls and not had_lease and not first:
            self._due = True  # the node that polled before is gone
        self._compare(reading)
        if self._news is not None:
            self._interrupt()
            self._wake()
        elif self._due:
            self._wake()
        elif self._sound and not self.polls and self.have is not None and self.have.fetched_at > self._confirmed_at:
            self._confirmed_at = self.have.fetched_at  # another node's poll has confirmed it
            self._confirm()

    def _compare(self, reading: Reading) -> None:
        """Compare what the cache has with what this node has."""
        place, have = reading.place, self.have
        if have is None or place is None or reading.stale:
            if reading.found is not None and have is None and reading.found.place != self._bad:
                self._news = reading.found
            elif have is not None and reading.stale and self._loose:
                self._due = self._upstream is not None
            elif have is not None:
                self._put_current()  # the cache is empty, or was overwritten by a program that was behind
            return
        if place.etag == have.etag:
            self.have, self._loose = Place(max(have.version, place.version), have.etag, place.fetched_at), False
        elif self._loose or place.version == have.version:
            # Neither is known to be later, so the upstream decides.
            self._due = self._upstream is not None and place != self._undecided
        elif place.version > have.version:
            if reading.found is not None and reading.found.place != self._bad:
                self._news = reading.found
        else:
            self._put_current()  # the cache has lost what it had

    def _put_current(self) -> None:
        if self._current is not None and self._upstream is not None:
            entry, tag = self._current
            if self.have is not None and self.have.etag == entry.etag:
                self._put(entry, tag, self._seen)

    def _put(self, entry: Entry, tag: str, base: Place | None) -> Deferred[Stored | Refused | Unavailable]:
        own = 0 if self.have is None else self.have.version

        def ended(result: Stored | Refused | Unavailable) -> Stored | Refused | Unavailable:
            if isinstance(result, Stored):
                self._seen, self._sound = result.place, True
                self._touched_at = self._clock.seconds()
                if self.have is not None and self.have.etag == entry.etag:
                    self.have, self._loose = result.place, False
                    self._drop_old_news()
            elif isinstance(result, Refused):
                self._cache_changed()
            return result

        return self._cache.put(self._key, base, own, entry, tag).addCallback(ended)

    def _drop_old_news(self) -> None:
        """Forget a config of the cache that was waiting to be fetched, if this node has got a later one meanwhile."""
        if self._news is not None and self.have is not None and self._news.place.version <= self.have.version:
            self._news = None

    def _touch(self, etag: str) -> None:
        now = self._clock.seconds()
        if now - self._touched_at < TOUCH_SECONDS:
            return
        self._touched_at = now
        self._cache.touch(self._key, etag)


def _passed_to(waiting: Deferred[Reading | Unavailable]) -> Callable[[Reading | Unavailable], Reading | Unavailable]:
    def passed(result: Reading | Unavailable) -> Reading | Unavailable:
        waiting.callback(result)
        return result

    return passed


def _nothing() -> None:
    """Stand in for calls that are not possible yet, or no longer."""
