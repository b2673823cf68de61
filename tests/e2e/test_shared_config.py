"""Three gateways with one Redis: changes reach all of them at once, and Redis may go away, hang, or come back empty."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway.upstream.config_cache import cache_key, unpack
from gateway_process import GatewayProcess, pause
from outbox_nodes import stopped
from redis_server import RedisServer, redis_server
from shop import GERMAN, shop
from streams import Streams, stream_path

EVAL = json.dumps({"key": "banner", "user": GERMAN}).encode()
ENTRY = cache_key(SDK_KEY)
WAIT = 60.0  # seconds; what is awaited takes about one on an idle machine
ALLOWED = {"X-Test": "yes"}
POLL_SECONDS = 3  # of every node that cannot use Redis


class Fleet:
    """Gateways that share a Redis, behind one CDN."""

    def __init__(self, home: Path, redis: RedisServer, cdn: CdnStandIn) -> None:
        self.redis = redis
        self.cdn = cdn
        self.nodes: list[GatewayProcess] = []
        self._home = home

    def settings(self, name: str, **more: Any) -> dict[str, Any]:
        return {
            "sdks": {"shop": {"key": SDK_KEY, "base_url": self.cdn.url, "poll_interval": POLL_SECONDS}},
            "http": {"sse": {"drain_window": 0}, "webhook": {"auth_headers": ALLOWED}},
            "cache": {"redis": {"enabled": True, "addresses": [self.redis.address]}, "file": {"enabled": False}},
            "cluster": {"node": name},
        } | more

    def add(self, name: str, **more: Any) -> GatewayProcess:
        home = self._home / name
        home.mkdir(parents=True)
        node = GatewayProcess(self.settings(name, **more), home)
        self.nodes.append(node)
        node.start()
        return node

    def publish(self, banner: str, at: GatewayProcess) -> None:
        """Change the config, and have one node fetch it."""
        self.cdn.set(shop(banner))
        code, body = at.post("/api/shop/refresh")
        assert 200 == code, body

    def close(self) -> None:
        for node in self.nodes:
            node.kill()


def banner(node: GatewayProcess) -> str:
    code, body = node.post("/api/shop/eval", EVAL)
    return str(json.loads(body)["value"]) if code == 200 else str(code)


def status(node: GatewayProcess) -> dict[str, Any]:
    with urllib.request.urlopen(node.diag + "/status", timeout=15) as answer:
        return json.load(answer)


def problems(node: GatewayProcess) -> str:
    return " ".join(status(node)["gateway"]["problems"])


def all_have(fleet: Fleet, value: str) -> None:
    """Wait until every node serves this value."""
    eventually(lambda: {value} == {banner(node) for node in fleet.nodes}, limit=WAIT)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One Redis for this file; a test that kills or stops it brings it back."""
    with redis_server() as running:
        yield running


@pytest.fixture(scope="module")
def fleet(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three gateways."""
    with CdnStandIn(shop("before")) as cdn:
        made = Fleet(tmp_path_factory.mktemp("fleet"), server, cdn)
        try:
            for name in "abc":
                made.add(name)
            yield made
        finally:
            made.close()


@pytest.fixture(autouse=True)
def usable(fleet: Fleet) -> None:
    """Begin each test with a Redis that all nodes use."""
    eventually(fleet.redis.answers, limit=WAIT)
    eventually(lambda: not any("Redis" in problems(node) for node in fleet.nodes), limit=WAIT)


@pytest.fixture
def streams() -> Iterator[Streams]:
    with contextlib.closing(Streams()) as group:
        yield group


def test_a_change_at_one_node_is_at_the_clients_of_another(fleet, streams):
    """Without waiting for a poll: a client of each node gets each of ten changes, in order."""
    fleet.publish("start", fleet.nodes[0])
    all_have(fleet, "start")
    clients = [streams.open(node.port, stream_path("shop", GERMAN, "banner")) for node in fleet.nodes]
    streams.read_until(lambda: all(client.payloads for client in clients), WAIT)
    names = [f"change {number}" for number in range(10)]
    for index, name in enumerate(names):
        fleet.publish(name, fleet.nodes[index % 3])
        streams.read_until(lambda: all(name == client.payloads[-1]["value"] for client in clients), WAIT)  # noqa: B023
    for client in clients:
        assert ["start", *names] == [payload["value"] for payload in client.payloads]


def test_the_entry_is_the_official_one(fleet):
    """ConfigCat SDKs and ConfigCat Proxies share it."""
    fleet.publish("official", fleet.nodes[1])
    all_have(fleet, "official")
    with fleet.redis.client() as client:
        entry = unpack(client.get(ENTRY))
    assert (fleet.cdn.etag, json.dumps(shop("official")).encode()) == (entry.etag, entry.body)


def test_the_author_that_a_hook_names_at_one_node_is_shown_by_all(fleet):
    """The other nodes get author and notes with the config, although polls go on beside the hook."""
    fleet.publish("by nobody", fleet.nodes[0])
    all_have(fleet, "by nobody")

    def latest(node: GatewayProcess) -> dict[str, Any]:
        code, page = node.get("/api/v1/changes?sdk=shop&limit=1", diag=True)
        assert 200 == code, page
        return next(iter(json.loads(page)["changes"]), {})

    for node, author in zip(fleet.nodes, ("Jane Doe", "John Doe", "Ann Roe"), strict=True):
        fleet.cdn.set(shop(f"by {author}"))
        body = json.dumps({"changedBy": author, "changeNotes": f"notes of {author}"}).encode()
        assert 200 == node.post("/hook/shop", body, headers=ALLOWED)[0]
        all_have(fleet, f"by {author}")
        for each in fleet.nodes:
            wanted = (author, f"notes of {author}")
            shown = lambda: (latest(each).get("author"), latest(each).get("notes"))  # noqa: B023, E731
            eventually(lambda: wanted == shown(), lambda: str(shown()), limit=WAIT)  # noqa: B023


def test_each_node_shows_the_cluster(fleet):
    """Which nodes there are, what they serve, and which of them polls, on the status page and in the console's API."""
    fleet.publish("shown", fleet.nodes[0])
    all_have(fleet, "shown")

    def sdks(node: GatewayProcess) -> list[dict[str, Any]]:
        nodes = status(node)["gateway"]["cluster"]["nodes"]
        return [each["sdks"]["shop"] for each in nodes if each["sdks"]]  # none before the first config

    def complete(node: GatewayProcess) -> bool:
        shown = sdks(node)
        return (
            3 == len(shown) and 1 == len({sdk["version"] for sdk in shown}) and 1 == sum(sdk["polls"] for sdk in shown)
        )

    for node in fleet.nodes:
        eventually(lambda: complete(node), lambda: str(sdks(node)), limit=WAIT)  # noqa: B023
    eventually(lambda: not problems(fleet.nodes[0]), lambda: problems(fleet.nodes[0]), limit=WAIT)  # of tests before
    eventually(lambda: "healthy" == status(fleet.nodes[0])["cache"]["status"], limit=WAIT)
    shown = status(fleet.nodes[0])
    assert ["a", "b", "c"] == [node["node"] for node in shown["gateway"]["cluster"]["nodes"]]
    assert any("[ok] cache" in record for record in shown["cache"]["records"])
    with urllib.request.urlopen(fleet.nodes[0].diag + "/api/v1/overview", timeout=15) as answer:
        assert ["a", "b", "c"] == [node["node"] for node in json.load(answer)["cluster"]["nodes"]]
    code, page = fleet.nodes[0].get("/metrics", diag=True)
    assert (200, True) == (code, b"flaggateway_cluster_nodes 3.0" in page)


def hop(fleet: Fleet, streams: Streams, seconds: float, name: str) -> list[int]:
    """Have a client go from node to node, with its last id, while the config changes; return the numbers it is shown.

    No other test publishes configs of this ``name``: a node takes one that it has had before for an earlier one.
    """
    values: list[int] = []
    last, rng = "", Random(7)
    path = stream_path("shop", GERMAN, "banner")
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number += 1
        fleet.publish(f"{name} {number}", rng.choice(fleet.nodes))
        for _ in range(3):
            headers = f"Last-Event-ID: {last}\r\n" if last else ""
            stream = streams.open(rng.choice(fleet.nodes).port, path, headers=headers)
            streams.read_until(lambda: stream.payloads, WAIT)  # noqa: B023
            values += [int(payload["value"].split()[1]) for payload in stream.payloads]
            last = stream.ids[-1]
            streams.forget(stream)
    return values


def test_a_client_that_waits_for_a_config_is_not_shown_the_one_before(fleet, streams):
    """Also if the node that it comes to has missed that config, and learns of it together with a later one.

    No other test publishes these configs: a node takes one that it has had before for an earlier one.
    """
    path, older = stream_path("shop", GERMAN, "banner"), []
    ahead, behind, _ = fleet.nodes
    for number in range(0, 15, 3):
        fleet.publish(f"waited for {number}", ahead)
        all_have(fleet, f"waited for {number}")
        with stopped(behind):
            fleet.publish(f"waited for {number + 1}", ahead)
            first = streams.open(ahead.port, path)
            streams.read_until(lambda: first.payloads, WAIT)  # noqa: B023
            fleet.publish(f"waited for {number + 2}", ahead)
            second = streams.open(behind.port, path, headers=f"Last-Event-ID: {first.ids[0]}\r\n")
        streams.read_until(lambda: second.payloads, WAIT)  # noqa: B023
        older += [payload for payload in second.payloads if payload["value"] == f"waited for {number}"]
        streams.forget(first)
        streams.forget(second)
    assert [] == older


@pytest.mark.parametrize("seconds", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_a_client_that_goes_from_node_to_node_never_goes_back(fleet, streams, seconds):
    """It is shown each value at most as often as it connects, and never an older one after a newer one."""
    name = f"hop-{seconds}"
    fleet.publish(f"{name} 0", fleet.nodes[0])
    all_have(fleet, f"{name} 0")
    values = hop(fleet, streams, seconds, name)
    assert len(values) > 3
    assert sorted(values) == values


@pytest.mark.slow
def test_idle_nodes_send_few_commands(fleet):
    """At most two a second, node and SDK; a script is one, since it crosses the network once.

    Those that Redis runs, scripts included, are printed too.
    """
    sent = ("eval", "evalsha", "ping", "subscribe", "client|id", "client|tracking", "select")

    def count() -> tuple[int, int]:
        with fleet.redis.client() as client:
            found = {name: stats["calls"] for name, stats in client.info("commandstats").items()}
        return sum(found.get(f"cmdstat_{name}", 0) for name in sent), sum(found.values())

    before, began = count(), time.monotonic()
    pause(30)
    seconds = time.monotonic() - began
    per_second, run = ((after - earlier) / seconds for after, earlier in zip(count(), before, strict=True))
    print(f"commands per second and node: {per_second / len(fleet.nodes):.2f}, run {run / len(fleet.nodes):.2f}")
    assert per_second <= 2 * len(fleet.nodes)


def test_an_entry_of_another_program_is_noticed(fleet):
    """A ConfigCat Proxy writes it without a message to us."""
    fleet.publish("ours", fleet.nodes[0])
    all_have(fleet, "ours")
    with fleet.redis.client() as client:
        seconds, microseconds = client.time()
        at = seconds * 1000 + microseconds // 1000
        body = json.dumps(shop("theirs"))
        fleet.cdn.set(shop("theirs"))
        client.set(ENTRY, f"{at}\n{fleet.cdn.etag}\n{body}")
    all_have(fleet, "theirs")


def test_redis_that_hangs_stops_nothing(fleet):
    """Evaluations are answered, and each node polls for itself."""
    fleet.publish("before the hang", fleet.nodes[0])
    all_have(fleet, "before the hang")
    fleet.redis.hang()
    try:
        fleet.publish("during the hang", fleet.nodes[0])
        assert "during the hang" == banner(fleet.nodes[0])
        all_have(fleet, "during the hang")
        eventually(lambda: all("Redis" in problems(node) for node in fleet.nodes), limit=WAIT)
    finally:
        fleet.redis.resume()
    eventually(lambda: not any("Redis" in problems(node) for node in fleet.nodes), limit=WAIT)
    fleet.publish("after the hang", fleet.nodes[2])
    all_have(fleet, "after the hang")


def test_redis_that_comes_back_empty_is_filled_again(fleet):
    """What the nodes serve is stored, and no node goes back."""
    fleet.publish("before the loss", fleet.nodes[0])
    all_have(fleet, "before the loss")
    fleet.redis.kill()
    try:
        fleet.publish("during the loss", fleet.nodes[1])
        assert "during the loss" == banner(fleet.nodes[1])
        all_have(fleet, "during the loss")
    finally:
        fleet.redis.start()

    def filled() -> bool:
        with fleet.redis.client() as client:
            stored = client.get(ENTRY)
        return stored is not None and unpack(stored).body == json.dumps(shop("during the loss")).encode()

    eventually(filled, limit=WAIT)
    fleet.publish("after the loss", fleet.nodes[2])
    all_have(fleet, "after the loss")


def test_when_the_poller_is_killed_another_node_polls(fleet):
    """Nobody calls a hook, so a poll has to find the change."""
    key = f"flaggateway:{{{ENTRY}}}:poller"
    fleet.publish("before the kill", fleet.nodes[0])
    all_have(fleet, "before the kill")
    with fleet.redis.client() as client:
        eventually(lambda: client.get(key), limit=WAIT)
        poller = client.get(key).decode()
        node = next(each for each in fleet.nodes if each.settings["cluster"]["node"] == poller)
        node.kill()
        try:
            fleet.cdn.set(shop("after the kill"))
            others = [each for each in fleet.nodes if each is not node]
            eventually(lambda: {"after the kill"} == {banner(each) for each in others}, limit=WAIT)
            # A node that has lost Redis for a moment polls for itself, before the lease of the killed one ends.
            eventually(lambda: client.get(key) not in {None, poller.encode()}, limit=WAIT)
        finally:
            node.start()


def test_a_start_without_upstream_is_served_from_redis(fleet):
    """A node without a disk of its own serves what the others have stored, as a follower and as a node that polls."""
    fleet.publish("kept", fleet.nodes[0])
    all_have(fleet, "kept")
    fleet.cdn.down = True
    try:
        fleet.nodes[1].stop(signal.SIGKILL)
        fleet.nodes[1].start()
        assert "kept" == banner(fleet.nodes[1])
    finally:
        fleet.cdn.down = False


def test_a_node_that_was_stopped_for_seconds_catches_up(fleet):
    """It has missed a change, and a ``SIGSTOP`` is what a virtual machine that is moved looks like."""
    fleet.publish("before the stop", fleet.nodes[0])
    all_have(fleet, "before the stop")
    os.kill(fleet.nodes[2].pid, signal.SIGSTOP)
    try:
        fleet.publish("during the stop", fleet.nodes[0])
    finally:
        os.kill(fleet.nodes[2].pid, signal.SIGCONT)
    all_have(fleet, "during the stop")


def test_redis_is_no_condition_of_the_start(fleet, tmp_path):
    """A gateway starts without it, and uses it once it is there."""
    redis = RedisServer()
    lonely = Fleet(tmp_path, redis, fleet.cdn)
    try:
        node = lonely.add("z")
        fleet.publish("alone", node)
        assert "alone" == banner(node)
        assert redis.address in problems(node)
        redis.start()
        eventually(lambda: "Redis" not in problems(node), limit=WAIT)

        def filled() -> bool:
            with redis.client() as client:
                return client.get(ENTRY) is not None

        eventually(filled, limit=WAIT)
    finally:
        lonely.close()
        redis.close()


def test_a_follower_serves_the_cache_without_requests(fleet, tmp_path):
    """``offline.enabled`` makes every SDK a follower, as in ConfigCat Proxy; status and records are its own."""
    fleet.publish("followed", fleet.nodes[0])
    all_have(fleet, "followed")
    offline = {"enabled": True, "cache_poll_interval": 1}
    sdks = {"shop": {"key": SDK_KEY, "base_url": "http://127.0.0.1:9"}}
    followers = Fleet(tmp_path, fleet.redis, fleet.cdn)
    try:
        node = followers.add("f", offline=offline, sdks=sdks)
        assert "followed" == banner(node)
        shown = status(node)["sdks"]["shop"]
        assert ("offline", "cache") == (shown["mode"], shown["source"]["type"])
        assert "[ok] reload from cache succeeded" in shown["source"]["records"][0]
        fleet.publish("followed again", fleet.nodes[0])
        eventually(lambda: "followed again" == banner(node), limit=WAIT)
        assert 200 == node.post("/api/shop/refresh")[0]
    finally:
        followers.close()
