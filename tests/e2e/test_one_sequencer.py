"""Real gateways with a Redis and a PostgreSQL: one of them, PostgreSQL, decides the order of configs and changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cdn_stand_in import SDK_KEY
from eventually import eventually
from gateway.upstream.config_cache import cache_key, unpack
from gateway_process import GatewayProcess
from outbox_nodes import ALLOWED, OutboxNodes, config
from redis_server import RedisServer, redis_server

ENTRY = cache_key(SDK_KEY)
HASH = f"flaggateway:{{{ENTRY}}}"
WAIT = 60.0


class BothNodes(OutboxNodes):
    """Three nodes that have both, and two endpoints."""

    def __init__(self, server: Any, home: Path, redis: RedisServer) -> None:
        """Begin with nothing running."""
        super().__init__(server, home, 3, ("envelope", "environment"))
        self.redis = redis
        self._numbers = count()

    def settings(self, *names: str) -> dict[str, Any]:
        """Each call is for another node."""
        redis = {"redis": {"enabled": True, "addresses": [self.redis.address]}, "file": {"enabled": False}}
        http = {"api": {"auth_headers": ALLOWED}, "webhook": {"auth_headers": ALLOWED}}
        name = f"n{next(self._numbers)}"
        return super().settings(*names) | {"cache": redis, "cluster": {"node": name}, "http": http}

    def value(self, node: GatewayProcess) -> Any:
        """Return the flag's value at a node."""
        code, body = node.post("/api/shop/eval", b'{"key": "flag"}', headers=ALLOWED)
        return json.loads(body)["value"] if code == 200 else None

    def change_by(self, node: GatewayProcess, value: int, author: str) -> None:
        """Change the flag, and call the hook of one node only."""
        self.cdn.set(config(value))
        body = json.dumps({"changedBy": author, "changeNotes": f"to {value}"}).encode()
        code, text = node.post("/hook/shop", body, headers=ALLOWED)
        assert 200 == code, text

    def all_have(self, value: int) -> None:
        """Wait until every node serves this value."""
        eventually(lambda: {value} == {self.value(node) for node in self.nodes}, self.logs, limit=WAIT)

    def versions(self) -> dict[str, Any]:
        """Return every number that a config has: at the nodes, in PostgreSQL, in the record and in Redis."""
        shown = self.status(self.nodes[0])["gateway"]["cluster"]["nodes"]
        with self.redis.client() as client:
            copied = client.hget(HASH, "v")
        return {
            **{f"node {each['node']}": each["sdks"]["shop"]["version"] for each in shown if each["sdks"]},
            "stored": self.rows("SELECT max(version) FROM shared_configs")[0][0],
            "recorded": self.rows("SELECT place FROM configs")[0][0],
            "copied": None if copied is None else int(copied),
        }

    def one_version(self) -> None:
        """Wait until all of them are the same number."""
        eventually(lambda: len(self.versions()) == 6 and len(set(self.versions().values())) == 1,
                   lambda: f"{self.versions()}", limit=WAIT)  # fmt: skip

    def status(self, node: GatewayProcess) -> dict[str, Any]:
        """Return a node's status page."""
        return json.loads(node.get("/status", diag=True)[1])

    def entry(self) -> bytes:
        """Return the config JSON of the official entry."""
        with self.redis.client() as client:
            found = client.get(ENTRY)
        return b"" if found is None else unpack(found).body


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """One Redis for this file; a test that stops it brings it back."""
    with redis_server() as running:
        yield running


@pytest.fixture(scope="module")
def scene(postgres_server: Any, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BothNodes]:
    """Three nodes; each test begins with another value."""
    with BothNodes(postgres_server, tmp_path_factory.mktemp("both"), redis) as running:
        yield running


def test_a_config_has_one_number_and_a_change_one_record_with_its_author(scene: BothNodes) -> None:
    """Whichever node got the hook, and whichever has recorded: at the nodes, in both servers, and in the messages."""
    before = len(scene.rows("SELECT 1 FROM changes"))
    for number in range(6):
        scene.change_by(scene.nodes[number % 3], 1000 + number, f"Author {number}")
        scene.all_have(1000 + number)
    eventually(lambda: scene.recorded(1005), scene.logs)
    scene.one_version()
    changes = scene.rows(f"SELECT author, notes, round FROM changes ORDER BY id OFFSET {before}")
    named = [(json.loads(author)["last_name"], notes, round_) for author, notes, round_ in changes]
    assert [(str(number), f"to {1000 + number}", 1) for number in range(6)] == named
    eventually(scene.all_delivered, scene.logs, limit=WAIT)
    calls = [json.loads(call.body) for call in scene.receivers["envelope"].taken][-6:]
    assert {f"Author {number}" for number in range(6)} == {call["data"]["changedBy"] for call in calls}
    assert [] == scene.bodies_differ()


def test_redis_may_be_away_without_any_effect_on_the_nodes(scene: BothNodes) -> None:
    """It serves ConfigCat SDKs and ConfigCat Proxies only; when it is back, and empty, it is filled again."""
    scene.redis.kill()
    try:
        scene.change_by(scene.nodes[1], 2000, "Jane Doe")
        scene.all_have(2000)
        eventually(lambda: any("Redis" in text for text in scene.status(scene.nodes[1])["gateway"]["problems"]),
                   limit=WAIT)  # fmt: skip
    finally:
        scene.redis.start()
    eventually(lambda: scene.entry() == json.dumps(config(2000)).encode(), scene.logs, limit=WAIT)
    scene.one_version()


def test_an_entry_that_another_program_writes_is_confirmed_by_the_upstream(scene: BothNodes) -> None:
    """A ConfigCat Proxy has seen a change first, and another one is behind."""
    scene.change_by(scene.nodes[0], 3000, "Jane Doe")
    scene.all_have(3000)
    scene.cdn.set(config(3001))
    with scene.redis.client() as client:
        seconds, _ = client.time()
        client.set(ENTRY, f"{seconds * 1000}\n{scene.cdn.etag}\n{json.dumps(config(3001))}")
    scene.all_have(3001)
    eventually(lambda: scene.recorded(3001), scene.logs)
    with scene.redis.client() as client:
        seconds, _ = client.time()
        client.set(ENTRY, f'{seconds * 1000}\n"behind"\n{json.dumps(config(3000))}')
    eventually(lambda: scene.entry() == json.dumps(config(3001)).encode(), scene.logs, limit=WAIT)
    scene.all_have(3001)
    scene.one_version()


def test_a_database_that_is_away_is_no_outage(scene: BothNodes, postgres_server: Any) -> None:
    """The node that is called has the change; the others have it once the database is back, or by their own polls."""
    before = len(scene.rows("SELECT 1 FROM changes"))
    postgres_server.kill()
    try:
        scene.change_by(scene.nodes[2], 4000, "Jane Doe")
        assert 4000 == scene.value(scene.nodes[2])
    finally:
        postgres_server.start()
    scene.all_have(4000)
    eventually(lambda: scene.recorded(4000), scene.logs, limit=WAIT)
    assert before + 1 == len(scene.rows("SELECT 1 FROM changes"))
    scene.one_version()


def test_each_node_shows_who_delivers_to_which_endpoint(scene: BothNodes) -> None:
    """On the status page and in the metrics."""
    scene.wait_for_leases()

    def holders(node: GatewayProcess) -> dict[str, str | None]:
        leases = scene.status(node)["gateway"]["outbox"]["leases"]
        return {name: lease["node"] for name, lease in leases.items()}

    for node in scene.nodes:
        eventually(lambda node=node: holders(node) == scene.holders(), limit=WAIT)
    pages = [node.get("/metrics", diag=True)[1].decode() for node in scene.nodes]
    for name in scene.receivers:
        assert 1 == sum(f'flaggateway_outbox_lease{{endpoint="{name}"}} 1.0' in page for page in pages)
    assert any('flaggateway_outbox_lease_changes_total{endpoint="envelope",event="taken"} ' in page for page in pages)
