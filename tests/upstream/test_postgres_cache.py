"""The shared cache on PostgreSQL: one order of configs, a lease for polling, tags, and a Redis that gets copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.settings import Redis
from gateway.upstream.config_cache import Entry, cache_key, pack, unpack
from gateway.upstream.outcome import etag_of
from gateway.upstream.shared import MirroredCache
from gateway.upstream.shared.interface import Place, Refused, Stored
from gateway.upstream.shared.redis_client import RedisClient
from redis_server import redis_server
from shared_nodes import KEY, Cdn, DirectCache, DirectPostgresCache, Node, config

ENTRY = cache_key(KEY)


@pytest.fixture(scope="module")
def schema(postgres_server: Any) -> str:
    """A schema for this file; each test begins with empty tables."""
    name: str = postgres_server.new_schema()
    return name


@pytest.fixture
def store(postgres_server: Any, schema: str) -> Iterator[Any]:
    """The tables."""
    from outbox_postgres import PostgresDirectStore

    made = PostgresDirectStore(postgres_server, schema)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """One Redis for this file."""
    with redis_server() as running:
        yield running


@pytest.fixture
def redis(server: Any) -> Iterator[Any]:
    """An empty Redis."""
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def scene(store: Any) -> Iterator[Any]:
    """A CDN and a way to start nodes with one PostgreSQL, which end with the test."""
    cdn, nodes = Cdn(), []

    def start(name: str, **sdk: Any) -> Node:
        nodes.append(Node(DirectPostgresCache(store, name), cdn, **sdk))
        return nodes[-1]

    yield cdn, start
    for node in nodes:
        node.stop()


@pytest.fixture
def both(store: Any, server: Any, redis: Any) -> Iterator[Any]:
    """The same with a Redis beside it."""
    cdn, nodes = Cdn(), []
    client = RedisClient(Redis(addresses=[server.address]))

    def start(name: str, **sdk: Any) -> Node:
        cache: Any = MirroredCache(DirectPostgresCache(store, name), DirectCache(client, name))
        cache._pass_on = cache._first._pass_on
        nodes.append(Node(cache, cdn, **sdk))
        return nodes[-1]

    yield cdn, start
    for node in nodes:
        node.stop()
    client.drop()


def now_of(redis: Any) -> int:
    """The server's time in milliseconds."""
    seconds, microseconds = redis.time()
    return int(seconds * 1000 + microseconds // 1000)


def version_in(redis: Any) -> int:
    """The version of the entry in Redis."""
    return int(redis.hget(f"test:{{{ENTRY}}}", "v"))


def put(cache: Any, base: Place | None, number: int, own: int = 0, at: int = 1) -> Any:
    """Store a config; return the result."""
    return cache.put(ENTRY, base, own, Entry(at, f'"{number}"', config(number)), f"tag{number}").result


def test_of_two_nodes_that_store_over_the_same_config_one_is_refused(store: Any) -> None:
    """It has not seen what the other one has stored."""
    a, b = (DirectPostgresCache(store, name) for name in "ab")
    first = put(a, None, 1).place
    assert Stored(Place(2, '"2"', 1)) == put(a, first, 2)
    assert Refused() == put(b, first, 3)
    assert Stored(Place(2, '"2"', 1)) == put(b, first, 2)  # the same config is no conflict
    found = b.look(ENTRY, first, lease=False, max_bytes=1024).result.found
    assert (2, config(2), True) == (found.place.version, found.entry.body, found.accepted)


def test_versions_go_on_from_the_highest_that_a_node_has_seen(store: Any) -> None:
    """A server that comes back empty, or with an older backup, makes no version fall."""
    cache = DirectPostgresCache(store, "a")
    assert 8 == put(cache, None, 1, own=7).place.version
    assert 20 == cache.look(ENTRY, Place(20, '"1"', 1), lease=False, max_bytes=1024).result.place.version
    assert 20 == put(cache, Place(20, '"1"', 1), 1, own=20).place.version


def test_a_config_is_never_dated_in_the_future(store: Any) -> None:
    """The clock of a node may be ahead."""
    cache = DirectPostgresCache(store, "a")
    stored = put(cache, None, 1, at=4_000_000_000_000)
    assert stored.place.fetched_at < 3_000_000_000_000
    assert cache.touch(ENTRY, '"1"').result.fetched_at >= stored.place.fetched_at
    assert cache.touch(ENTRY, '"other"').result is None


def test_one_node_has_the_lease_until_it_gives_it_up(store: Any) -> None:
    """A renewal keeps the epoch, another holder counts it up."""
    a, b = (DirectPostgresCache(store, name) for name in "ab")

    def holds(cache: Any) -> tuple[str, bool]:
        reading = cache.look(ENTRY, None, lease=True, max_bytes=1024).result
        return reading.poller, reading.mine

    assert [("a", True), ("a", True), ("a", False)] == [holds(a), holds(a), holds(b)]
    a.give_up_lease(ENTRY)
    assert [("b", True), ("b", False)] == [holds(b), holds(a)]
    assert [(2,)] == store.rows("SELECT epoch FROM leases WHERE name LIKE 'poller:%'")


def test_tags_of_the_last_configs_are_kept_and_bodies_of_some(store: Any) -> None:
    """Clients come with old tags after a rolling restart; bodies are needed until they are recorded."""
    cache, place = DirectPostgresCache(store, "a"), None
    for number in range(40):
        place = put(cache, place, number).place
    tags = cache.look(ENTRY, place, lease=False, max_bytes=1024, tags=True).result.tags
    assert [f"tag{number}" for number in range(8, 40)] == list(tags)
    assert [(16,)] == store.rows("SELECT count(*) FROM shared_configs WHERE body IS NOT NULL")


def test_a_config_beyond_the_limit_is_not_taken(store: Any) -> None:
    """``upstream.max_bytes`` holds for the cache too."""
    cache = DirectPostgresCache(store, "a")
    put(cache, None, 1)
    reading = cache.look(ENTRY, None, lease=False, max_bytes=10).result
    assert ("the config JSON is larger than upstream.max_bytes", None) == (reading.damage, reading.found)


def test_nodes_see_each_others_reports(store: Any) -> None:
    """A report that is too old is dropped, and a node that leaves takes its own with it."""
    a, b = (DirectPostgresCache(store, name) for name in "ab")
    assert ({"a": "1"}, "") == (a.meet("1", 15).result.reports, a.meet("1", 15).result.before and "")
    met = b.meet("2", 15).result
    assert ({"a": "1", "b": "2"}, "") == (dict(met.reports), met.before)
    store.run(lambda connection: connection.execute("UPDATE reports SET seen = seen - make_interval(secs => 60)"))
    assert {"b": "3"} == dict(b.meet("3", 15).result.reports)
    assert {} == dict(b.meet("", 15).result.reports)


def test_changes_reach_the_other_nodes_and_one_polls(scene: Any) -> None:
    """Without a Redis."""
    cdn, start = scene
    a, b = start("a"), start("b")
    assert (True, False) == (a.source.polls, b.source.polls)
    cdn.number = 1
    b.sdk.refresh()
    a.hear()
    assert (1, 1) == (a.number, b.number)
    assert a.source.have == b.source.have
    assert (ENTRY, 2) == a.registry.placed("one", etag_of(config(1)))
    cdn.down = True
    c = start("c")
    assert 1 == c.number


def test_redis_gets_the_official_entry_at_the_version_of_postgresql(both: Any, redis: Any) -> None:
    """ConfigCat SDKs and ConfigCat Proxies read it; there is one number for a config."""
    cdn, start = both
    a, b = start("a"), start("b")
    for cdn.number in (1, 2):
        b.sdk.refresh()
        a.hear()
    assert (2, 2, 3, 3) == (a.number, b.number, a.source.have.version, version_in(redis))
    assert config(2) == unpack(redis.get(ENTRY)).body


@pytest.mark.parametrize("fault", ["empty", "damaged", "hash lost"])
def test_redis_is_repaired_by_the_node_that_polls(both: Any, redis: Any, fault: str) -> None:
    """It may come back empty, also while the upstream is down."""
    cdn, start = both
    a, _ = start("a"), start("b")
    cdn.number = 1
    a.sdk.refresh()
    cdn.down = True
    if fault == "empty":
        redis.flushall()
    elif fault == "damaged":
        redis.set(ENTRY, b"garbage")
    else:
        redis.delete(f"test:{{{ENTRY}}}")
    a.clock.advance(5)
    assert (config(1), 2) == (unpack(redis.get(ENTRY)).body, version_in(redis))


def test_another_programs_entry_makes_the_upstream_decide(both: Any, redis: Any) -> None:
    """It may be newer or older: only the upstream has the answer, and no node takes the entry by itself."""
    cdn, start = both
    a, b = start("a"), start("b")
    cdn.number = 7
    redis.set(ENTRY, pack(Entry(now_of(redis), etag_of(config(7)), config(7))))
    a.clock.advance(5)
    b.hear()
    assert (7, 7, 2) == (a.number, b.number, version_in(redis))
    redis.set(ENTRY, pack(Entry(now_of(redis), etag_of(config(3)), config(3))))  # a slow writer
    a.clock.advance(5)
    b.hear()
    assert ([0, 7], [0, 7]) == (a.served, b.served)
    assert config(7) == unpack(redis.get(ENTRY)).body


def test_a_version_that_redis_had_before_postgresql_was_used_is_no_hindrance(both: Any, redis: Any) -> None:
    """Of the two numbers the higher one goes on."""
    cdn, start = both
    redis.set(ENTRY, pack(Entry(1, '"old"', config(0))))
    redis.hset(f"test:{{{ENTRY}}}", mapping={"v": 57, "etag": '"old"', "t": 1, "at": 1, "by": "z"})
    a = start("a")
    cdn.number = 1
    a.sdk.refresh()
    assert 1 == a.number
    assert a.source.have.version <= version_in(redis)
    a.clock.advance(5)
    assert config(1) == unpack(redis.get(ENTRY)).body
    assert a.source.have.version == version_in(redis) >= 57


def test_without_redis_nothing_is_missing(both: Any, server: Any) -> None:
    """It serves other programs only."""
    cdn, start = both
    a, b = start("a"), start("b")
    for node in (a, b):
        node.cache._redis.cut = True
    cdn.number = 1
    b.sdk.refresh()
    a.hear()
    assert (1, 1) == (a.number, b.number)
