"""A model of several nodes that share configs: real registries, caches, recorders and databases, faults in any order.

steps ──► publish, hear, cut, crash, jump … ──► Model ──► what must hold, after each step and at the end
"""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail

from gateway.settings import Endpoint, Sdk, Settings
from gateway.storage import StoreError
from gateway.upstream.config_cache import cache_key
from gateway.upstream.outcome import etag_of
from gateway.webhooks.composer import Composer
from gateway.webhooks.recorder import Recorder
from outbox_memory import WebhookCounts
from shared_nodes import KEY, Cdn, DirectCache, DirectPostgresCache, Node, config

ENTRY = cache_key(KEY)
NAMES = "ab"  # two nodes: each pair of steps concerns the same one more often than with three

NODES = st.integers(0, len(NAMES) - 1)
# Answers that are slow while the config changes are what most faults need, so these steps come more often.
USUAL = ("publish", "publish", "publish", "slow", "slow", "deliver", "deliver", "hear", "hear")
FAULTS = ("cut", "mend", "stall", "late", "late", "crash", "refresh", "tick", "minute")
AROUND = ("lose data", "lease ends", "upstream down", "upstream up")
FREQUENT = st.tuples(st.sampled_from(USUAL), NODES)
RARE = st.one_of(
    st.tuples(st.sampled_from(FAULTS), NODES),
    st.tuples(st.just("jump"), NODES, st.floats(-1e6, 1e6)),
    st.tuples(st.sampled_from(AROUND)),
)
STEP = st.integers(0, 9).flatmap(lambda chance: RARE if chance < 3 else FREQUENT)
STEPS = st.lists(STEP, min_size=15, max_size=30)


def random_steps(rng: Random) -> list[tuple[Any, ...]]:
    """Return steps as ``STEPS`` has them, much faster: for a search through many runs."""
    rare = (*FAULTS, "jump", *AROUND)
    return [
        (rng.choice(rare if rng.random() < 0.3 else USUAL), rng.randrange(len(NAMES)), rng.uniform(-1e6, 1e6))
        for _ in range(rng.randint(15, 30))
    ]


class ModelNode(Node):
    """A node that also records changes, where the database is shared."""

    def __init__(self, cache: Any, cdn: Cdn, store: Any = None) -> None:
        """Start; without ``store`` nothing is recorded."""
        self.stalled = False  # what it publishes is not recorded, as right before a crash
        self._store = store
        self.recorder: Recorder | None = None
        super().__init__(cache, cdn, admit=self._admit)

    def make_recorder(self) -> Recorder:
        """Return the recorder; it needs the registry, which begins to publish at once."""
        if self.recorder is None:
            endpoint = Endpoint(name="envelope", url="http://127.0.0.1/", format="envelope")
            composer = Composer(Settings(sdks={"one": Sdk(key="k")}, webhooks=[endpoint]), "host")
            self.recorder = Recorder(
                self.clock, self.clock.seconds, self, composer, WebhookCounts(), lambda _: None, lambda *_: None, self
            )
        return self.recorder

    def _admit(self, sdk: Any, new: Any) -> Deferred[None]:
        if self._store is None or self.stalled:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        return self.make_recorder().record(sdk.id, new, None, "")

    def hold_records(self) -> None:
        """Have changes wait for the database, until ``release_records``."""
        if self._store is not None:
            self.make_recorder()._busy = True

    def release_records(self) -> None:
        """Record what waits."""
        if self._store is not None:
            self.make_recorder()._busy = False
            self.make_recorder()._write_next()

    def run(self, work: Any) -> Deferred[Any]:
        """Be the recorder's store, which is cut off together with the cache."""
        return fail(StoreError("cut off")) if self.cache.cut else self._store.run(work)

    def confirm(self, sdk_id: str) -> Deferred[bool]:
        """Be the recorder's order of configs."""
        return self.registry.confirm(sdk_id)

    def placed(self, sdk_id: str, etag: str) -> tuple[str, int] | None:
        """See ``confirm``; the registry does not exist while it is being made."""
        return self.registry.placed(sdk_id, etag) if hasattr(self, "registry") else None


class Model:
    """The nodes, their upstream and their cache, which is ``redis`` or else the PostgreSQL of ``store``."""

    def __init__(self, *, redis: Any = None, client: Any = None, store: Any = None) -> None:
        self._redis, self._client, self._store = redis, client, store
        self.cdn = Cdn()
        self.ended: list[list[int]] = []  # what crashed nodes have served
        self._lost = False  # whether the cache came back empty
        self._versions: list[int] = [0] * len(NAMES)  # the last one of each node
        self._empty()
        self.nodes = [self._start(name) for name in NAMES]

    def run(self, steps: list[tuple[Any, ...]]) -> None:
        """Make the steps, let everything settle, and check what must hold."""
        try:
            for step in steps:
                self._step(*step)
                self._check_versions()
            self._settle()
            self._check()
        finally:
            for node in self.nodes:
                node.stop()

    def _start(self, name: str) -> ModelNode:
        cache: Any = DirectCache(self._client, name) if self._redis else DirectPostgresCache(self._store, name)
        return ModelNode(cache, self.cdn, None if self._redis else self._store)

    def _step(self, what: str, number: int = 0, value: float = 0.0) -> None:
        node = self.nodes[number]
        if what == "tick":
            node.clock.advance(5)
        elif what == "minute":
            node.clock.pump([5.0] * 14)
        elif what == "hear":
            node.hear()
        elif what in {"refresh", "publish"}:  # the upstream changes, and one node is called
            self.cdn.number += what == "publish"
            node.sdk.refresh()
        elif what in {"cut", "mend"}:
            node.cache.cut = what == "cut"
            node.hear()
        elif what == "stall":
            node.stalled = True
        elif what == "slow":
            node.upstream.slow = True
        elif what == "late":
            node.hold_records()
        elif what == "deliver":
            node.upstream.deliver()
            node.release_records()
        elif what == "crash":
            self._crash(number)
        elif what == "jump":
            node.jump += value
        else:
            self._surround(what)

    def _surround(self, what: str) -> None:
        """Change what is around the nodes."""
        if what == "lose data":
            self._lose()
        elif what == "lease ends":
            self._end_lease()
        else:
            self.cdn.down = what == "upstream down"

    def _crash(self, number: int) -> None:
        node = self.nodes[number]
        self.ended.append(node.served)
        node.cache.cut = True  # so that the lease is not given up
        node.stop()
        self._versions[number] = 0
        self.nodes[number] = self._start(NAMES[number])

    def _empty(self) -> None:
        if self._redis:
            self._redis.flushall()
        else:
            self._store.empty()

    def _lose(self) -> None:
        """Have the server come back empty; only then the next change may be taken for the first config."""
        self._empty()
        self._lost = True

    def _end_lease(self) -> None:
        if self._redis:
            self._redis.delete(f"test:{{{ENTRY}}}:poller")
        else:
            self._store.run(lambda connection: connection.execute("UPDATE leases SET until = clock_timestamp()"))

    def _settle(self) -> None:
        self.cdn.down = False
        for number, node in enumerate(self.nodes):
            if node.stalled:
                self._crash(number)
        for node in self.nodes:
            node.cache.cut = False
            node.upstream.deliver()
            node.release_records()
        self._end_lease()
        for _ in range(3):  # a poll of each node, and what the others hear of it
            for node in self.nodes:
                node.clock.pump([5.0] * 14)
                self._check_versions()

    def _check_versions(self) -> None:
        for number, node in enumerate(self.nodes):
            have = node.source.have
            if have is not None:
                assert have.version >= self._versions[number], "the version of a node has fallen"
                self._versions[number] = have.version

    def _check(self) -> None:
        assert [self.cdn.number] * len(NAMES) == [node.number for node in self.nodes], "a node is not at the end"
        for served in (*self.ended, *(node.served for node in self.nodes)):
            assert sorted(served) == served, "a node has gone back"
        if not self._redis:
            self._check_record()

    def _check_record(self) -> None:
        """Each config that was stored is recorded, once, in the order of all nodes.

        One that could not be stored, and was recorded when the server was back, may be between them.  After a loss of
        data the record begins again, with what the nodes remember.
        """
        stored = [etag for (etag,) in self._store.rows("SELECT etag FROM shared_configs ORDER BY version")]
        changes = self._store.rows("SELECT old_etag, new_etag FROM changes ORDER BY id")
        numbers = {etag_of(config(number)): number for number in range(self.cdn.number + 1)}
        news = [numbers[new] for _, new in changes]
        if not self._lost:
            assert sorted(set(news)) == news, f"a change is recorded twice, or in another order: {news}"
            missing = {numbers[etag] for etag in stored[1:]} - set(news)
            assert not missing, f"the record has no change to {missing}"
            assert all(before[1] == after[0] for before, after in pairwise(changes)), "the record is no chain"
        last = self._store.rows("SELECT etag FROM configs")
        assert last == [(etag_of(config(self.cdn.number)),)] or (self._lost and not last), "another config is recorded"
