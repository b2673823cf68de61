"""Real gateways with one outbox on a real PostgreSQL: nodes that die, stop, are deployed; a database that does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventually import eventually
from outbox_nodes import CONCURRENCY, OutboxNodes, in_background, stopped, wait

LIMIT = 60.0
MANY = 300  # changes of the runs that are measured


def recorded_once(scene: OutboxNodes, values: range) -> None:
    """Each change has one record, and they form one chain."""
    changes = scene.rows("SELECT old_etag, new_etag, round FROM changes ORDER BY id")
    assert len(values) == len(changes)
    assert [row[1] for row in changes[:-1]] == [row[0] for row in changes[1:]]
    assert {1} == {row[2] for row in changes}


def delivered_all(scene: OutboxNodes, changes: int) -> int:
    """Every endpoint has taken each message, with equal bodies if repeated; returns how often one came again."""
    eventually(
        scene.all_delivered, lambda: f"{scene.rows('SELECT endpoint, state, count(*) FROM messages GROUP BY 1, 2')}"
        f"\n{scene.logs()}", limit=20,
    )  # fmt: skip
    ids = set(scene.rows("SELECT endpoint, id FROM messages WHERE state = 'delivered'"))
    assert len(scene.receivers) * changes == len(ids)
    assert ids <= {(name, call.id) for name, receiver in scene.receivers.items() for call in receiver.taken}
    assert [] == scene.bodies_differ()
    return scene.repeats().total()


@pytest.fixture(scope="module")
def three(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three nodes with five endpoints; each test leaves them running."""
    with OutboxNodes(postgres_server, tmp_path_factory.mktemp("three")) as scene:
        yield scene


def test_nodes_record_once_share_the_deliveries_and_survive_a_kill(three: OutboxNodes) -> None:
    """A node is killed among the changes, another leaves in an orderly way; nothing is lost, little is repeated."""
    before = len(three.rows("SELECT 1 FROM changes"))
    first = 1000 + before
    for value in range(first, first + 5):
        three.change(value)
        eventually(lambda value=value: three.recorded(value), three.logs)
    victim = three.nodes[1]
    with in_background(victim.kill):
        three.change(first + 5)
    for value in range(first + 6, first + 10):
        three.change(value)
    eventually(lambda: three.recorded(first + 9), three.logs)
    repeats = delivered_all(three, before + 10)
    assert repeats <= CONCURRENCY * len(three.receivers)
    three.wait_for_leases(2)
    recorded_once(three, range(before + 10))
    # A planned stop hands the endpoints over without a repeated message.
    assert 0 == three.nodes[2].stop()
    eventually(lambda: len(set(three.holders().values())) == 1 and len(three.holders()) == 5, three.logs)
    three.change(first + 10)
    eventually(lambda: three.recorded(first + 10), three.logs)
    assert repeats == delivered_all(three, before + 11)
    for node in (victim, three.nodes[2]):
        node.start()
    three.wait_for_leases()


def test_a_database_that_is_away_holds_up_no_flag(three: OutboxNodes, postgres_server: Any) -> None:
    """Changes of the outage are recorded afterwards, as one; the status shows the problem and its end."""
    before = len(three.rows("SELECT 1 FROM changes"))
    first = 2000 + before
    postgres_server.kill()
    three.change(first)
    three.change(first + 1)
    for node in three.nodes:
        eventually(lambda node=node: _value(node) == first + 1, three.logs)
        eventually(lambda node=node: b"the outbox cannot be written" in node.get("/status", diag=True)[1], three.logs)
    postgres_server.start()
    eventually(lambda: three.recorded(first + 1), three.logs, limit=LIMIT)
    assert before + 1 == len(three.rows("SELECT 1 FROM changes"))
    delivered_all(three, before + 1)
    for node in three.nodes:
        eventually(lambda node=node: b"cannot be written" not in node.get("/status", diag=True)[1], three.logs)
    three.wait_for_leases()


def _value(node: Any) -> Any:
    import json

    from outbox_nodes import ALLOWED

    status, body = node.post("/api/shop/eval", b'{"key": "flag"}', headers=ALLOWED)
    return json.loads(body)["value"] if status == 200 else None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_hundred_changes_and_a_kill(postgres_server: Any, tmp_path: Path) -> None:
    """1,500 messages: recorded once, all delivered, repeats within what was in flight."""
    with OutboxNodes(postgres_server, tmp_path) as scene:
        for value in range(1, MANY + 1):
            if value == MANY // 2:
                with in_background(scene.nodes[0].kill):
                    scene.change(value)
            else:
                scene.change(value)
            eventually(lambda value=value: scene.recorded(value), scene.logs)
        repeats = delivered_all(scene, MANY)
        recorded_once(scene, range(MANY))
        print(f"kill: repeats {repeats}, longest silence {scene.silence():.1f} s")
        assert repeats <= CONCURRENCY * len(scene.receivers)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_hundred_changes_and_a_node_that_stands_still(postgres_server: Any, tmp_path: Path) -> None:
    """For 8 s, while it records: its session is ended, its endpoints go over, and it repeats nothing of its window."""
    with OutboxNodes(postgres_server, tmp_path) as scene:
        values = iter(range(1, MANY + 1))
        for value in values:
            scene.change(value)
            eventually(lambda value=value: scene.recorded(value), scene.logs)
            if value == MANY // 3:
                break
        with stopped(scene.nodes[0]), in_background(lambda: wait(8)):
            for value in values:
                scene.change(value, *scene.nodes[1:])
                eventually(lambda value=value: scene.recorded(value), scene.logs)
        repeats = delivered_all(scene, MANY)
        recorded_once(scene, range(MANY))
        print(f"stopped: repeats {repeats}, longest silence {scene.silence():.1f} s")
        assert repeats <= CONCURRENCY * len(scene.receivers)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_node_that_stands_still_inside_a_transaction(postgres_server: Any, tmp_path: Path) -> None:
    """It holds the record lock; the server ends its session, and another node records."""
    import psycopg

    with OutboxNodes(postgres_server, tmp_path, 2) as scene, psycopg.connect(postgres_server.url()) as blocker:
        blocker.execute(f"LOCK TABLE {scene.schema}.numbers IN ACCESS EXCLUSIVE MODE")
        first, second = scene.nodes
        scene.change(1, first)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%numbers%'"
        eventually(lambda: postgres_server.execute(waiting), scene.logs)
        with stopped(first):
            blocker.rollback()
            scene.change(2, second)
            eventually(lambda: scene.recorded(2), scene.logs)
        eventually(scene.all_delivered, scene.logs, limit=LIMIT)
        assert scene.rows("SELECT count(*) FROM changes") in ([(1,)], [(2,)])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_hundred_changes_and_a_crash_of_the_database(postgres_server: Any, tmp_path: Path) -> None:
    """For 4 s; what changed meanwhile is one change, and nothing that was recorded is lost."""
    with OutboxNodes(postgres_server, tmp_path) as scene:
        for value in range(1, MANY + 1):
            if value == MANY // 2:
                postgres_server.kill()
                with in_background(lambda: wait(4)):
                    scene.change(value)
                postgres_server.start()
            else:
                scene.change(value)
            eventually(lambda value=value: scene.recorded(value), scene.logs, limit=LIMIT)
        changes = len(scene.rows("SELECT 1 FROM changes"))
        repeats = delivered_all(scene, changes)
        print(f"crash: {changes} changes, repeats {repeats}, longest silence {scene.silence():.1f} s")
        recorded_once(scene, range(changes))
        assert changes == MANY
        assert repeats <= CONCURRENCY * len(scene.receivers)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_database_that_hangs_and_one_that_comes_back_empty(postgres_server: Any, tmp_path: Path) -> None:
    """Flags go on while it hangs; an empty one is filled again."""
    with OutboxNodes(postgres_server, tmp_path, 2) as scene:
        with postgres_server.hung():
            scene.change(1)
            for node in scene.nodes:
                eventually(lambda node=node: _value(node) == 1, scene.logs)
            wait(4)
        eventually(lambda: scene.recorded(1), scene.logs, limit=LIMIT)
        delivered_all(scene, 1)
        postgres_server.execute(f"DROP SCHEMA {scene.schema} CASCADE")
        # The connections have seen the schema; a restart of the server lets the nodes look again.
        postgres_server.kill()
        postgres_server.start()
        scene.wait_for_leases()
        scene.change(2)
        eventually(lambda: scene.rows("SELECT etag FROM configs") == [(scene.cdn.etag,)], scene.logs, limit=LIMIT)
        scene.change(3)
        eventually(lambda: scene.recorded(3), scene.logs, limit=LIMIT)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_rolling_deploy_with_other_settings_skips_no_message(postgres_server: Any, tmp_path: Path) -> None:
    """The old node does not know the new endpoint, whose messages must wait for the new node all the same."""
    with OutboxNodes(postgres_server, tmp_path, 2, ("envelope", "slack")) as scene:
        old, new = scene.nodes
        for node in (old, new):
            assert 0 == node.stop()
        old.settings = scene.settings("envelope")
        new.settings = scene.settings("envelope", "slack")
        new.start()
        eventually(lambda: set(scene.holders()) == {"envelope", "slack"}, scene.logs)
        scene.receivers["slack"].behave = lambda _: 503
        scene.change(1, new)
        eventually(lambda: scene.recorded(1), scene.logs)
        old.start()
        eventually(lambda: len(scene.live()) == 2, scene.logs)
        assert 0 == new.stop()  # the old node is alone with a message that is not for its settings
        wait(3)
        assert [("slack", "pending")] == scene.rows("SELECT endpoint, state FROM messages WHERE endpoint = 'slack'")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_pooler_in_transaction_mode_may_be_in_front(postgres_server: Any, tmp_path: Path) -> None:
    """Each transaction may be on another server connection; only notifications need one of their own."""
    from postgres_server import PgBouncer

    scene = OutboxNodes(postgres_server, tmp_path, 2, ("envelope", "environment"))
    with PgBouncer(postgres_server) as pooler:
        scene.outbox |= {"url": pooler.url, "listen_url": postgres_server.url()}
        with scene:
            for value in range(1, 21):
                scene.change(value)
                eventually(lambda value=value: scene.recorded(value), scene.logs)
            assert 0 == delivered_all(scene, 20)
            recorded_once(scene, range(20))
