"""Nodes that share one cache, in one process: real registries and scripts on a real Redis, upstreams of the test."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock

from gateway.settings import Redis, Settings
from gateway.upstream import Registry
from gateway.upstream.outcome import Failed, Fetched, Kind, NotModified, etag_of
from gateway.upstream.shared import PostgresCache, RedisCache
from gateway.upstream.shared.interface import Unavailable
from gateway.upstream.shared.redis_client import RedisClient

KEY = "a" * 22 + "/" + "b" * 22
POLL_SECONDS = 60.0


def config(number: int) -> bytes:
    """A config JSON with one text flag, whose value is the number."""
    return msgspec.json.encode({"f": {"flag": {"t": 1, "v": {"s": str(number)}}}})


class Cdn:
    """What all nodes fetch; ``number`` is that of its newest config."""

    def __init__(self) -> None:
        self.number = 0
        self.down = False
        self.fetches = 0

    def answer(self, etag: str):
        self.fetches += 1
        if self.down:
            return Failed(Kind.CONNECT, "the connection failed")
        body = config(self.number)
        return NotModified() if etag == etag_of(body) else Fetched(body, etag_of(body))


class Upstream:
    """A source that answers at once, polls every minute, and sends its ETag."""

    remote = True
    fetched, not_modified, unreadable, unparsable = "fetched", "not modified", "unreadable", "unparsable"
    place = "cdn.example"

    def __init__(self, clock: Clock, cdn: Cdn) -> None:
        self._clock = clock
        self._cdn = cdn
        self._etag = self._offered = ""
        self._timer = None
        self._wake = None
        self.slow = False  # answers are held back until ``deliver``
        self._held = []

    def start(self, wake, confirm) -> None:
        self._wake = wake

    def stop(self):
        self._wake = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return succeed(None)

    def adopt(self, etag: str) -> None:
        self._etag = etag

    async def fetch(self):
        outcome = self._cdn.answer(self._etag)
        if self.slow:
            held = Deferred()
            self._held.append(held)
            try:
                await held
            except CancelledError:
                return Failed(Kind.STOPPED, "the fetch was given up")
        if isinstance(outcome, Fetched):
            self._offered = outcome.etag
        return outcome

    def deliver(self) -> None:
        """Let the answers arrive that were held back, and all later ones at once."""
        self.slow = False
        held, self._held = self._held, []
        for each in held:
            if not each.called:
                each.callback(None)

    def settled(self, outcome) -> None:
        if isinstance(outcome, Fetched):
            self._etag = self._offered
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(POLL_SECONDS, lambda: self._wake and self._wake())


class DirectCache(RedisCache):
    """The cache without threads: each command is answered before it returns.  ``cut`` makes it fail."""

    def __init__(self, client: RedisClient, node: str) -> None:
        super().__init__(None, Redis(), name="test", node=node)
        self._client = client
        self.cut = False

    def _run(self, operation, script, keys, arguments, read):
        if self.cut:
            return succeed(Unavailable("cut off"))
        return succeed(read(self._client.run(script, keys, arguments)))


class DirectPostgresCache(PostgresCache):
    """The cache on PostgreSQL without threads, over a ``PostgresDirectStore``; its clock is the node's."""

    def __init__(self, store: Any, node: str) -> None:
        super().__init__(None, node=node)
        self._direct = store
        self.cut = False

    def _run(self, operation, work, read):
        if self.cut:
            return succeed(Unavailable("cut off"))
        found = []
        self._direct.run(work).addCallback(found.append).addErrback(lambda failure: failure.raiseException())
        return succeed(read(found[0]))

    def _pass_on(self, _key) -> None:
        self._heard("changed", "")


class Silent:
    """A reporter that keeps nothing."""

    def record(self, *_: object) -> None: ...
    def fetched(self, *_: object) -> None: ...
    def requested(self, *_: object) -> None: ...
    def confirmed(self, *_: object) -> None: ...
    def stale(self, *_: object) -> None: ...


class Node:
    """One gateway: its registry with one SDK, its clocks, its connection to the cache."""

    def __init__(self, cache: Any, cdn: Cdn, *, admit: Any = None, credit: str = "", **sdk: object) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.jump = 0.0
        self.clock.wall = lambda: self.clock.seconds() + self.jump
        self.cache = cache
        self.served: list[int] = []
        settings = msgspec.convert({"sdks": {"one": {"key": KEY, **sdk}}}, Settings)
        self.registry = Registry(
            self.clock,
            settings,
            rng=Random(1),
            reporter=Silent(),
            on_change=lambda _sdk, _old, new: self.served.append(int(new.evaluate("flag", None).value)),
            shared=self.cache,
            credit_of=lambda _sdk_id: credit,
            **({} if admit is None else {"admit": admit}),
            source=lambda _plan, _context, _network: self._upstream(cdn),
        )
        self.registry.start()

    def _upstream(self, cdn: Cdn) -> Upstream:
        self.upstream = Upstream(self.clock, cdn)
        return self.upstream

    @property
    def sdk(self):
        return self.registry.sdks[0]

    @property
    def source(self):
        return self.sdk._source

    @property
    def number(self) -> int | None:
        """The config that is served."""
        return self.served[-1] if self.served else None

    def hear(self) -> None:
        """Have it hear of a change, as by the watcher."""
        self.cache._pass_on(None)

    def stop(self) -> None:
        self.registry.stop()
