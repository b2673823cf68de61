"""Several nodes with one cache: real registries and scripts on a real Redis, in an order that the test decides."""

from __future__ import annotations

import msgspec
import pytest

from gateway.flags import load
from gateway.settings import Redis
from gateway.upstream.config_cache import Entry, cache_key, pack, unpack
from gateway.upstream.outcome import etag_of
from gateway.upstream.shared.redis_client import RedisClient
from redis_server import redis_server
from shared_nodes import KEY, Cdn, DirectCache, Node, config

ENTRY = cache_key(KEY)


@pytest.fixture(scope="module")
def server():
    """One Redis for all tests of this file."""
    with redis_server() as running:
        yield running


@pytest.fixture
def redis(server):
    """An empty Redis."""
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def client(server, redis):
    """What the nodes run scripts with."""
    made = RedisClient(Redis(addresses=[server.address]))
    yield made
    made.drop()


@pytest.fixture
def scene(client, redis):
    """A CDN and a way to start nodes, which end with the test."""
    cdn, nodes = Cdn(), []

    def start(name, **sdk):
        nodes.append(Node(DirectCache(client, name), cdn, **sdk))
        return nodes[-1]

    yield cdn, start
    for node in nodes:
        node.stop()


def foreign(redis, number, at):
    """Write an entry as another program does."""
    redis.set(ENTRY, pack(Entry(at, etag_of(config(number)), config(number))))


def now_of(redis):
    seconds, microseconds = redis.time()
    return seconds * 1000 + microseconds // 1000


def test_the_entry_is_the_official_one(scene, redis):
    """ConfigCat SDKs and ConfigCat Proxies read it: fetch time, ETag and body, without an expiry."""
    _, start = scene
    start("a")
    entry = unpack(redis.get(ENTRY))
    assert (etag_of(config(0)), config(0)) == (entry.etag, entry.body)
    assert 0 <= now_of(redis) - entry.fetched_at
    assert -1 == redis.ttl(ENTRY)


def test_one_node_polls_and_the_others_follow(scene):
    """A fleet sends one conditional request per interval."""
    cdn, start = scene
    nodes = [start("a"), start("b"), start("c")]
    assert [True, False, False] == [node.source.polls for node in nodes]
    before = cdn.fetches
    cdn.number = 1
    for node in nodes:
        node.clock.pump([1.0] * 62)
    assert [1, 1, 1] == [node.number for node in nodes]
    assert 1 == cdn.fetches - before


def test_a_refresh_at_any_node_reaches_the_others(scene):
    """Whichever node a balancer gives the hook to, it fetches itself."""
    cdn, start = scene
    a, b = start("a"), start("b")
    cdn.number = 1
    b.sdk.refresh()
    a.hear()
    assert (1, 1) == (a.number, b.number)


def test_a_stale_writer_is_refused_and_adopts(scene, redis):
    """A node that fetched before another one, and stores after it, publishes what is stored."""
    cdn, start = scene
    a, b = start("a"), start("b")
    cdn.number = 2
    a.sdk.refresh()
    stale = Entry(1, etag_of(config(1)), config(1))
    refused = b.cache.put(ENTRY, b.source.have, 0, stale, "tag").result
    assert "Refused" == type(refused).__name__
    b.hear()
    assert 2 == b.number
    assert config(2) == unpack(redis.get(ENTRY)).body


def test_an_empty_cache_gets_what_the_nodes_serve(scene, redis):
    """A Redis that restarted without its data needs no fetch, which may be impossible at that time."""
    cdn, start = scene
    a, b = start("a"), start("b")
    cdn.number = 1
    a.sdk.refresh()
    b.hear()
    cdn.down = True
    redis.flushall()
    b.hear()
    assert config(1) == unpack(redis.get(ENTRY)).body
    version = int(redis.hget(f"test:{{{ENTRY}}}", "v"))
    assert version > 1
    assert (1, 1) == (a.number, b.number)


def test_a_start_without_upstream_serves_the_cache(scene):
    """What another node has stored is enough for an answer."""
    cdn, start = scene
    a = start("a")
    a.stop()
    cdn.down = True
    b = start("b")
    assert 0 == b.number
    assert b.sdk.snapshot is not None


def test_the_poller_that_cannot_reach_the_upstream_lets_another_one_poll(scene):
    """A node whose own network is broken must not keep the fleet from the upstream."""
    cdn, start = scene
    a, b = start("a"), start("b")
    assert a.source.polls
    cdn.down = True
    a.clock.advance(70)
    cdn.down = False
    b.clock.advance(5)
    assert b.source.polls
    a.clock.advance(5)
    assert not a.source.polls


def test_another_programs_entry_is_adopted(scene, redis):
    """A ConfigCat Proxy or SDK that shares the cache is noticed."""
    _, start = scene
    a, b = start("a"), start("b")
    foreign(redis, 7, now_of(redis) + 1)
    a.hear()
    b.hear()
    assert (7, 7) == (a.number, b.number)


def test_another_programs_older_entry_is_replaced(scene, redis):
    """SDKs take any entry with another ETag, also an older one, so it must not stay."""
    cdn, start = scene
    cdn.number = 3
    a, b = start("a"), start("b")
    foreign(redis, 2, 1_000)
    a.hear()
    b.hear()
    assert (3, 3) == (a.number, b.number)
    assert config(3) == unpack(redis.get(ENTRY)).body


def test_an_entry_of_the_future_is_reported_and_counts_as_now(scene, redis):
    """A writer whose clock is ahead would keep ConfigCat Proxies from newer configs."""
    cdn, start = scene
    a = start("a")
    foreign(redis, 7, now_of(redis) + 3_600_000)
    a.hear()
    assert 7 == a.number
    assert 3_500 < a.source.ahead < 3_700
    cdn.number = 8
    a.sdk.refresh()
    assert 8 == a.number
    assert unpack(redis.get(ENTRY)).fetched_at <= now_of(redis)


@pytest.mark.parametrize("value", [b"garbage", b"", b"1\n\n{}", b"12345678901234567890\netag\n{}"])
def test_a_damaged_entry_is_replaced(scene, redis, value):
    """The last good config stays in use, and the cache gets it again."""
    _, start = scene
    a = start("a")
    redis.set(ENTRY, value)
    a.hear()
    assert 0 == a.number
    assert config(0) == unpack(redis.get(ENTRY)).body


def test_a_bad_config_of_another_program_does_not_stop_the_node(scene, redis):
    """It is no reason to forget the good one, and the upstream replaces it."""
    cdn, start = scene
    a = start("a")
    redis.set(ENTRY, pack(Entry(now_of(redis), '"bad"', b"{")))
    a.hear()
    assert 0 == a.number
    cdn.number = 1
    a.sdk.refresh()
    assert 1 == a.number
    assert config(1) == unpack(redis.get(ENTRY)).body


def test_a_clock_that_is_ahead_writes_no_future_time(scene, redis):
    """Entries are dated by Redis' own clock at the latest."""
    cdn, start = scene
    a = start("a")
    a.jump = 4_000_000_000.0
    cdn.number = 1
    a.sdk.refresh()
    assert unpack(redis.get(ENTRY)).fetched_at <= now_of(redis)


def test_a_node_that_was_cut_off_returns_without_going_back(scene, redis):
    """It has fetched a config that the cache does not have yet, and asks the upstream which one is later."""
    cdn, start = scene
    a, b = start("a"), start("b")
    b.cache.cut = True
    b.hear()
    cdn.number = 1
    b.sdk.refresh()
    assert (0, 1) == (a.number, b.number)
    b.cache.cut = False
    b.hear()
    a.hear()
    assert (1, 1) == (a.number, b.number)
    assert [0, 1] == b.served


def test_a_follower_needs_no_upstream(scene, redis):
    """As ConfigCat Proxy with ``use_cache``: it reads what a leader stores."""
    cdn, start = scene
    leader = start("a")
    follower = start("b", offline={"enabled": True, "use_cache": True})
    assert 0 == follower.number
    before = cdn.fetches
    follower.sdk.refresh()
    assert before == cdn.fetches
    cdn.number = 1
    leader.sdk.refresh()
    follower.clock.advance(5)
    assert 1 == follower.number


def test_a_follower_without_an_entry_reports_that(scene):
    """The record begins with ConfigCat Proxy's text."""
    _, start = scene
    follower = start("b", offline={"enabled": True, "use_cache": True})
    outcome = []
    follower.sdk.refresh().addCallback(outcome.append)
    assert "the shared cache has no config of this SDK" in outcome[0].error


def many(count, removed=0):
    """A config of ``count`` flags without the first ``removed``."""
    flags = {f"flag{number}": {"t": 1, "v": {"s": "0"}} for number in range(removed, count)}
    return msgspec.json.encode({"f": flags | {"flag": {"t": 1, "v": {"s": str(removed)}}}})


def test_a_config_that_one_guard_holds_is_not_stored_and_once_accepted_serves_all(scene, redis, monkeypatch):
    """An operator accepts it at one node; at the others it is not held again."""
    cdn, start = scene
    monkeypatch.setattr("shared_nodes.config", lambda number: many(20, number))
    a, b = (start(name, guard={"max_removed_percent": 50}) for name in "ab")
    cdn.number = 15
    a.sdk.refresh()
    assert a.sdk.guard.held is not None
    b.hear()
    assert (0, 0) == (a.number, b.number)
    assert many(20) == unpack(redis.get(ENTRY)).body
    a.sdk.accept()
    b.hear()
    assert (15, 15) == (a.number, b.number)
    assert b.sdk.guard.held is None


def test_a_config_of_another_program_can_be_held(scene, redis, monkeypatch):
    """No guard has seen it."""
    _, start = scene
    monkeypatch.setattr("shared_nodes.config", lambda number: many(20, number))
    a = start("a", guard={"max_removed_percent": 50})
    redis.set(ENTRY, pack(Entry(now_of(redis) + 1, '"theirs"', many(20, 15))))
    a.hear()
    assert 0 == a.number
    assert a.sdk.guard.held is not None


def test_a_config_beyond_the_limit_is_not_taken(scene, redis):
    """``upstream.max_bytes`` holds for the cache too; the upstream's config replaces it."""
    _, start = scene
    a = start("a")
    a.source._max_bytes = 100
    redis.set(ENTRY, pack(Entry(now_of(redis) + 1, '"large"', b"{" + b" " * 1000 + b"}")))
    a.hear()
    assert 0 == a.number
    assert "the config JSON is larger than upstream.max_bytes" == a.source._damaged
    a.clock.pump([1.0] * 62)
    assert config(0) == unpack(redis.get(ENTRY)).body


def test_a_single_node_retries_a_failing_upstream_as_without_a_cache(scene):
    """It gives the lease up after each failure, and no other node takes it."""
    cdn, start = scene
    a = start("a")
    cdn.down = True
    a.clock.pump([1.0] * 62)
    before = cdn.fetches
    a.clock.pump([1.0] * 62)
    assert cdn.fetches > before
    cdn.down, cdn.number = False, 1
    a.clock.pump([1.0] * 62)
    assert 1 == a.number
    assert a.source.polls


def test_an_idle_node_sends_few_commands(scene, monkeypatch):
    """A look every four seconds, which also renews the lease, and a renewed date for each poll that confirms."""
    _, start = scene
    nodes = [start("a"), start("b")]
    sent = []
    run = RedisClient.run
    monkeypatch.setattr(RedisClient, "run", lambda *arguments: sent.append(1) or run(*arguments))
    for node in nodes:
        node.clock.pump([1.0] * 120)
    assert len(sent) <= 0.3 * 120 * len(nodes)


def test_a_slow_fetch_does_not_replace_what_was_stored_meanwhile(scene, redis):
    """Its answer is from before the change, whatever this node has read since."""
    cdn, start = scene
    a, b = start("a"), start("b")
    cdn.number = 1
    b.upstream.slow = True
    b.sdk.refresh()
    cdn.number = 2
    a.sdk.refresh()
    b.hear()
    b.upstream.deliver()
    a.hear()
    assert (2, 2) == (a.number, b.number)
    assert (sorted(a.served), sorted(b.served)) == (a.served, b.served)
    assert config(2) == unpack(redis.get(ENTRY)).body


def test_a_node_that_was_cut_off_and_is_ahead_does_not_take_what_is_older(scene):
    """The cache got another config meanwhile, but an earlier one than this node has."""
    cdn, start = scene
    a, b = start("a"), start("b")
    b.cache.cut = True
    b.hear()
    cdn.number = 1
    a.sdk.refresh()
    cdn.number = 2
    b.sdk.refresh()
    b.cache.cut = False
    b.hear()
    a.hear()
    assert ([0, 1, 2], [0, 2]) == (a.served, b.served)


def test_the_author_that_a_hook_names_is_known_on_all_nodes(scene):
    """Only the node that got the call has its body; the others get the author with the config."""
    cdn, start = scene
    jane = '{"changedBy":"Jane Doe","changeNotes":"sale"}'
    a, b = start("a", credit=jane), start("b")
    cdn.number = 1
    a.sdk.refresh(credit=b"{}")
    b.hear()
    assert (1, 1) == (a.number, b.number)
    assert (jane, "") == (b.registry.shared_credit("one", etag_of(config(1))), b.registry.shared_credit("one", "other"))
    cdn.number = 2
    b.sdk.refresh()
    a.hear()
    assert "" == a.registry.shared_credit("one", etag_of(config(2)))


def test_an_entry_of_another_program_has_no_author(scene, redis):
    """That of the config before is not its author."""
    cdn, start = scene
    a, b = start("a", credit='{"changedBy":"Jane Doe"}'), start("b")
    cdn.number = 1
    a.sdk.refresh()
    foreign(redis, 7, now_of(redis) + 1)
    b.hear()
    assert 7 == b.number
    assert "" == b.registry.shared_credit("one", etag_of(config(7)))


def test_a_poll_waits_for_the_node_that_has_a_caller(scene):
    """Otherwise the poller finds the change first, and does not know who made it."""
    cdn, start = scene
    a, b = start("a"), start("b")
    assert a.source.polls
    a.clock.advance(59)
    a.cache._pass_announcement(ENTRY)
    cdn.number = 1
    before = cdn.fetches
    a.clock.advance(1)
    assert (0, before) == (a.number, cdn.fetches)
    a.clock.advance(1)
    assert (1, before + 1) == (a.number, cdn.fetches)
    assert b.number is not None


def test_an_announcement_is_sent_for_callers_that_may_name_an_author(scene, monkeypatch):
    """Not for anonymous refreshes, of which anyone could send many."""
    _, start = scene
    sent = []
    monkeypatch.setattr("shared_nodes.DirectCache.announce", lambda _self, key: sent.append(key))
    a = start("a")
    a.sdk.refresh()
    a.sdk.refresh(limited=True)
    assert [] == sent
    a.sdk.refresh(credit=b"{}")
    assert [ENTRY] == sent


def test_tags_of_configs_that_were_missed_are_known_and_later_ones_are_not(scene):
    """A client that comes with one of them has an earlier config, and need not wait."""
    cdn, start = scene
    a, b = start("a"), start("b")
    b.cache.cut = True
    for cdn.number in (1, 2, 3):
        a.sdk.refresh()
    tags = [load(config(number), "").tag for number in range(4)]
    b.cache.cut = False
    b.hear()
    assert tags == list(b.registry.tags_until("one", tags[3], first=False))
    assert () == b.registry.tags_until("one", tags[3], first=False)  # only once
    b.source._tags = tags
    assert tags[:2] == list(b.registry.tags_until("one", tags[1], first=False))
    b.source._tags = tags
    assert () == b.registry.tags_until("one", "unknown", first=False)


def test_a_cache_that_was_lost_and_counts_again_makes_no_node_go_back(scene, redis):
    """A node that was not restarted has a higher version, and an earlier config, than what another one has stored."""
    cdn, start = scene
    a, b = start("a"), start("b")
    for cdn.number in (1, 2):
        a.sdk.refresh()
    redis.flushall()
    b.cache.cut = True  # it ends without a word
    b.stop()
    cdn.number = 3
    c = start("c")
    assert (3, 1) == (c.number, c.source.have.version)
    for node in (a, c, a, c):
        node.hear()
    assert ([0, 1, 2, 3], [3]) == (a.served, c.served)
    assert config(3) == unpack(redis.get(ENTRY)).body
    assert a.source.have.version == c.source.have.version == 3


def test_writes_that_redis_has_lost_are_stored_again_if_the_upstream_confirms_them(scene, redis):
    """As in a failover; until then no node takes the older config."""
    cdn, start = scene
    a, b = start("a"), start("b")
    kept, companion = redis.get(ENTRY), redis.hgetall(f"test:{{{ENTRY}}}")
    cdn.number = 1
    a.sdk.refresh()
    b.hear()
    redis.set(ENTRY, kept)
    redis.hset(f"test:{{{ENTRY}}}", mapping=companion)
    cdn.down = True
    a.hear()
    b.hear()
    assert (1, 1) == (a.number, b.number)
    cdn.down = False
    for node in (a, b):
        node.clock.pump([5.0] * 14)
    assert ([0, 1], [0, 1]) == (a.served, b.served)
    assert config(1) == unpack(redis.get(ENTRY)).body


def test_a_node_that_is_behind_does_not_confirm_the_old_entry_of_another_program(scene, redis):
    """Its config is the same, so it looks as if the cache had lost what this node has."""
    cdn, start = scene
    a, b = start("a"), start("b")
    cdn.number = 1
    a.sdk.refresh()
    foreign(redis, 0, 1_000)
    b.hear()
    a.hear()
    assert ([0, 1], [0, 1]) == (a.served, b.served)
    assert config(1) == unpack(redis.get(ENTRY)).body
