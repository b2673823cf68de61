"""One SDK's config from a cache that several gateways share, and from its upstream if this node is the one that polls.

    upstream ──► SharedSource ──► Sdk: guard ──► share: put ──► cache ──► changed ──► other SharedSources ──► Sdk

Each node reads the cache when it hears of a change, and every few seconds all the same.  One of them has the lease for
polling.  Nothing depends on that: what a node puts is stored only if no other node has stored something since it read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import Timer, fire_within
from gateway.logger import component_logger
from gateway.upstream.config_cache import Entry, cache_key
from gateway.upstream.outcome import Failed, Fetched, Kind, NotModified, Outcome
from gateway.upstream.shared.interface import Place, Refused, Stored, Unavailable
from gateway.upstream.shared.polling_role import PollingRole
from gateway.upstream.shared.reader import Reader
from gateway.upstream.shared.standing import Standing, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.upstream.plan import Plan
    from gateway.upstream.shared.interface import Found, Reading, SharedCache
    from gateway.upstream.source import ConditionalSource, Confirm, SourceContext, Wake

_log = component_logger("sdks")

NET_SECONDS: Final = 5.0  # between two looks without a change; also renews the lease, well within its validity
PATIENCE: Final = 0.25  # seconds for which a new config waits to be stored before it is published
FIRST_SECONDS: Final = 1.0  # for which the first fetch waits for the cache; one that hangs does not delay a start more
ROUNDS: Final = 3  # fetches in a row that follow a refused put; then the next poll
TOUCH_SECONDS: Final = 10.0  # between two renewals of the entry's date, which all nodes hear of

CACHE_RELOADED: Final = "reload from cache succeeded"
CACHE_NOT_MODIFIED: Final = "config from cache not modified"
CACHE_UNREADABLE: Final = "failed to read from cache"
CACHE_UNPARSABLE: Final = "failed to parse JSON from cache"


class SharedSource:
    """A ``Source``; without ``upstream`` it only follows the cache.

    ``adopted`` is called when a config of another node is used, with the seconds since that has stored it;
    ``credit_of`` returns who changed a config that this node has fetched, as the body of a hook call.
    """

    def __init__(
        self,
        context: SourceContext,
        plan: Plan,
        cache: SharedCache,
        upstream: ConditionalSource | None,
        max_bytes: int,
        *,
        adopted: Callable[[str, float], None] = lambda _sdk_id, _lag: None,
        credit_of: Callable[[str], str] = lambda _sdk_id: "",
    ) -> None:
        self.cache = cache
        self.remote = True
        self._report_as_cache()
        self.ahead = 0.0  # seconds by which another program's entry is dated in the future
        self._tags: Sequence[str] = ()  # of the latest configs, oldest first, until ``tags_until``
        self._clock = context.reactor
        self._rng = context.rng
        self._plan = plan
        self._key = cache_key(plan.key)
        self._upstream = upstream
        self._max_bytes = max_bytes
        self._adopted = adopted
        self._credit_of = credit_of
        self._net_seconds = NET_SECONDS if upstream is not None else plan.settings.offline.cache_poll_interval
        self._wake: Wake = _nothing
        self._confirm: Confirm = _nothing
        self._net = Timer(self._clock)
        self._hold = Timer(self._clock)  # active while a poll waits for another node
        self._unwatch: Callable[[], None] = _nothing
        self._running = False
        self._reader = Reader(self._read_cache, self._consider)
        self._standing = Standing()
        self._role = PollingRole(may_poll=upstream is not None)
        self._base: Place | None = None  # what the cache had when the fetch began whose config is to be stored
        self._news: Found | None = None  # to be fetched
        self._taken: Found | None = None  # by the fetch that is running
        self._credit = ("", "")  # ETag of the latest one that was taken, and who changed it
        self._damaged = ""  # why the entry of the cache cannot be used
        self._current: tuple[Entry, str] | None = None  # the config in use and its tag, once it is accepted
        self._due = False  # the next fetch goes to the upstream
        self._demanded = False  # and a caller waits for it
        self._interrupt: Callable[[], None] = _nothing
        self._rounds = 0
        self._touched_at = float("-inf")
        self._confirmed_at = 0  # ``fetched_at`` of the entry when that was noted

    # --- what the registry shows

    @property
    def have(self) -> Place | None:
        """Where the config stands that the SDK got last; None before the first one."""
        return self._standing.have

    @property
    def polls(self) -> bool:
        """Whether this node polls the upstream."""
        return self._role.polls

    def cut_off(self) -> bool:
        """Return whether changes of other nodes have not been able to reach this one for some seconds."""
        return self._running and self.cache.cut_off()

    def credit(self, etag: str) -> str:
        """Return who changed the config of this ETag, as another node has stored it; empty if that is unknown."""
        known, who = self._credit
        return who if known == etag else ""

    def tags_until(self, tag: str, *, first: bool) -> Sequence[str]:
        """Return tags of earlier configs that were read since the last call, the oldest first, with ``tag`` at the end.

        Clients that come with one of them have an earlier config.  A later one must not be among them, so without
        ``tag`` there are none; but for the ``first`` config of this process, which is not older than what it has read.
        """
        tags, self._tags = self._tags, ()
        if tag in tags:
            return tags[: len(tags) - list(reversed(tags)).index(tag)]
        return tags if first else ()

    def placed(self, etag: str) -> tuple[str, int] | None:
        """Return key and version of the config of this ETag if it is in use and stored."""
        version = self._standing.placed(etag)
        return None if version is None else (self._key, version)

    # --- Source

    def start(self, wake: Wake, confirm: Confirm) -> None:
        """See ``Source``."""
        self._wake, self._confirm, self._running = wake, confirm, True
        if self._upstream is not None:
            self._upstream.start(self._poll_due, confirm)
        self._unwatch = self.cache.watch(self._key, self._cache_changed, self._announced)
        self._start_net()

    def stop(self) -> Deferred[None]:
        """See ``Source``."""
        self._running = False
        self._wake = self._confirm = _nothing
        self._net.cancel()
        self._hold.cancel()
        self._unwatch()
        self._unwatch = _nothing
        holds_lease = self._role.polls and self._role.reached
        left = self.cache.give_up_lease(self._key) if holds_lease else succeed(None)
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
                self._standing.took(news.place)
            return news.entry

        return self._reader.read(tags=True).addCallback(read)

    def demand(self, *, credited: bool) -> None:
        """Have the next fetch go to the upstream, because a caller waits for what that has now.

        If it is ``credited``, the other nodes leave the fetch to this one: only here is known who changed the config.
        """
        self._demanded = True
        if credited and self._upstream is not None:
            self.cache.announce(self._key)

    async def fetch(self) -> Outcome:
        """See ``Source``."""
        if not self._reader.read_once:
            await fire_within(self._clock, self._reader.read(tags=True), FIRST_SECONDS)
        demanded, self._demanded = self._demanded, False
        due, self._due = self._due, False
        if self._upstream is None:
            return await self._follow(demanded=demanded)
        if self._news is not None and not demanded:
            self._due = due
            return self._take_news()
        reached = self._role.reached
        if not (demanded or due or self.polls or self.have is None or not reached):
            self._report_as_cache()
            return NotModified()
        looked = self._reader.read() if demanded and reached else succeed(None)
        outcome = await self._ask_upstream(self._upstream, interruptible=not demanded)
        await fire_within(self._clock, looked, PATIENCE)
        if self._news is not None and not isinstance(outcome, Fetched):
            return self._take_news()
        self._report_as(self._upstream)
        return outcome

    def settled(self, outcome: Outcome) -> None:
        """See ``Source``."""
        if not self._running:
            return
        taken, self._taken = self._taken, None
        failed = isinstance(outcome, Failed)
        if taken is not None:
            if failed:
                self._standing.refused(taken.place)
                self._due = self._upstream is not None
            else:
                self._take(taken)
            outcome = NotModified()
        elif failed and self._upstream is not None and self.place == self._upstream.place:
            self._standing.ask_failed()
            if self._role.poll_failed(self._clock.seconds()):
                self.cache.give_up_lease(self._key)
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
        if self._standing.holds(etag):
            self._rounds = 0
            self._standing.confirm()
            self._drop_old_news()
            self._touch(etag)
            return True
        self._standing.fetched(etag, entry.fetched_at)
        self._news = None  # if there still is any, the put is refused
        ended: list[Stored | Refused | Unavailable] = []
        put = self._put(entry, tag, self._base, self._credit_of(self._plan.id)).addCallback(ended.append)
        await fire_within(self._clock, put, PATIENCE)
        if not ended or not isinstance(ended[0], Refused):
            return True
        self._rounds += 1
        await fire_within(self._clock, self._reader.read(), FIRST_SECONDS)
        if self._rounds > ROUNDS:
            self._rounds = 0
            return True
        self._due = True  # after the config of the other node, if there is one
        return False

    # --- fetching

    async def _follow(self, *, demanded: bool) -> Outcome:
        """Return what the cache has, of which this node has no other source."""
        if self._news is None and (demanded or not self._role.reached or self.have is None):
            await fire_within(self._clock, self._reader.read(), FIRST_SECONDS)
        if self._news is not None:
            return self._take_news()
        self._report_as_cache()
        if not self._role.reached:
            return Failed(Kind.CACHE, "the shared cache does not answer")
        if self._damaged:
            return Failed(Kind.CACHE, self._damaged)
        if self.have is None:
            return Failed(Kind.CACHE, "the shared cache has no config of this SDK")
        return NotModified()

    async def _ask_upstream(self, upstream: ConditionalSource, *, interruptible: bool) -> Outcome:
        """Fetch from the upstream; a change that another node has stored meanwhile ends that."""
        self._base = self._standing.seen
        work = Deferred.fromCoroutine(upstream.fetch())
        if interruptible:
            self._interrupt = work.cancel
        try:
            outcome = await work
        finally:
            self._interrupt = _nothing
        return outcome

    def _take_news(self) -> Outcome:
        news, self._news = self._news, None
        assert news is not None
        self._taken, self._credit = news, (news.entry.etag, news.credit)
        self._report_as_cache()
        return Fetched(news.entry.body, news.entry.etag, news.accepted)

    def _take(self, found: Found) -> None:
        """Note that the SDK got a config of the cache; the next poll is conditional on it."""
        if self.have is not None and found.accepted:
            self._adopted(self._plan.id, found.lag)
        self._standing.took(found.place)
        if self._upstream is not None:
            self._upstream.adopt(found.entry.etag)

    def _report_as_cache(self) -> None:
        """Have the SDK report what the cache did."""
        self.place = "the shared cache"
        self.fetched, self.not_modified = CACHE_RELOADED, CACHE_NOT_MODIFIED
        self.unreadable, self.unparsable = CACHE_UNREADABLE, CACHE_UNPARSABLE

    def _report_as(self, upstream: ConditionalSource) -> None:
        """Have the SDK report what the upstream did."""
        self.place = upstream.place
        self.fetched, self.not_modified = upstream.fetched, upstream.not_modified
        self.unreadable, self.unparsable = upstream.unreadable, upstream.unparsable

    def _announced(self) -> None:
        """Leave the next fetch to the node that has a caller."""
        self._role.hold(self._clock.seconds())

    def _poll_due(self) -> None:
        """Poll, if this node is the one that does, or none does."""
        held = self._role.held_for(self._clock.seconds())
        if held > 0:
            self._hold.start(held, self._poll_due)
        elif self._role.polls_now():
            self._due = True
            self._wake()
        elif self._upstream is not None:
            self._upstream.settled(NotModified())  # which starts the timer of the next poll

    # --- the cache

    def _start_net(self) -> None:
        self._net.start(self._net_seconds * self._rng.uniform(0.9, 1.0), self._net_due)

    def _net_due(self) -> None:
        self._start_net()
        if self._upstream is None and not self._role.reached:
            self._wake()  # so that the failure is reported
        else:
            self._cache_changed()

    def _cache_changed(self) -> None:
        if self._running:
            self._reader.read()

    def _read_cache(self, tags: bool) -> Deferred[Reading | Unavailable]:  # noqa: FBT001 - the reader's signature
        lease = self._running and self._role.wants_lease(self._clock.seconds())
        return self.cache.look(self._key, self.have, lease=lease, max_bytes=self._max_bytes, tags=tags)

    def _consider(self, reading: Reading | Unavailable) -> None:
        """Decide what follows from what the cache has."""
        if isinstance(reading, Unavailable):
            self._role.unreachable()
            return
        self.ahead, self._damaged = reading.ahead, reading.damage
        self._tags = reading.tags or self._tags
        took_over, step = self._role.read(reading), self._standing.read(reading)
        if not self._running:
            return
        if took_over:
            _log.info("SDK {sdk_id}: this node polls the upstream from now on", sdk_id=self._plan.id)
        if step is Step.TAKE:
            self._news = reading.found
        elif step is Step.STORE:
            self._put_current()
        if self._upstream is not None and (took_over or reading.doubt or step is Step.ASK):
            self._due = True
        if reading.doubt:
            self._touched_at = float("-inf")
        self._wake_if_needed()

    def _wake_if_needed(self) -> None:
        have = self.have
        if self._news is not None:
            self._interrupt()
            self._wake()
        elif self._due:
            self._wake()
        elif self._standing.sound and not self.polls and have is not None and have.fetched_at > self._confirmed_at:
            self._confirmed_at = have.fetched_at  # another node's poll has confirmed it
            self._confirm()

    def _put_current(self) -> None:
        """Store the config in use again."""
        if self._current is not None and self._upstream is not None:
            entry, tag = self._current
            if self.have is not None and self.have.etag == entry.etag:
                self._put(entry, tag, self._standing.seen)

    def _put(
        self, entry: Entry, tag: str, base: Place | None, credit: str = ""
    ) -> Deferred[Stored | Refused | Unavailable]:
        def ended(result: Stored | Refused | Unavailable) -> Stored | Refused | Unavailable:
            if isinstance(result, Stored):
                self._touched_at = self._clock.seconds()
                if self._standing.stored(result.place):
                    self._drop_old_news()
            elif isinstance(result, Refused):
                self._cache_changed()
            return result

        return self.cache.put(self._key, base, self._standing.version, entry, tag, credit).addCallback(ended)

    def _drop_old_news(self) -> None:
        """Forget a config of the cache that was waiting to be fetched, if this node has got a later one meanwhile."""
        if self._news is not None and self._news.place.version <= self._standing.version:
            self._news = None

    def _touch(self, etag: str) -> None:
        now = self._clock.seconds()
        if now - self._touched_at < TOUCH_SECONDS:
            return
        self._touched_at = now
        self.cache.touch(self._key, etag)


def _nothing() -> None:
    """Stand in for calls that are not possible yet, or no longer."""
