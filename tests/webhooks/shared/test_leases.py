"""Which node delivers to which endpoint: shares, takeover, handover and fences, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.storage import LeaseLost
from gateway.webhooks.store import leases
from gateway.webhooks.store.leases import NodeState

FIVE = ["a", "b", "c", "d", "e"]
TTL = 30.0


class Nodes:
    """Nodes that renew by hand; the database's clock is moved by changing what it is compared with."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.held: dict[str, set[str]] = {}

    def renew(self, node: str, endpoints: list[str] | None = None, **state: Any) -> leases.Renewed:
        """Renew as this node does, with what it held before."""
        known = NodeState("same", FIVE if endpoints is None else endpoints, sorted(self.held.get(node, ())), **state)
        found = leases.renew(self.connection, node, known, TTL)
        self.held[node] = set(found.held)
        return found

    def expire(self, node: str) -> None:
        """Let this node's leases run out, and its row be old."""
        self.connection.execute("UPDATE leases SET until = clock_timestamp() WHERE node = ?", (node,))
        old = "UPDATE nodes SET seen = clock_timestamp() - make_interval(secs => 60) WHERE node = ?"
        self.connection.execute(old, (node,))


@pytest.fixture
def nodes(postgres_server: Any, outbox_schema: str) -> Iterator[Nodes]:
    """No node, no lease."""
    from outbox_postgres import PostgresDirectStore

    store = PostgresDirectStore(postgres_server, outbox_schema)
    yield Nodes(store.connection)
    store.close()


def test_one_node_delivers_to_all_endpoints(nodes: Nodes) -> None:
    """And does the upkeep."""
    first = nodes.renew("one")
    assert (set(FIVE), True, []) == (set(first.held), first.upkeep, first.surplus)


def test_a_further_node_gets_its_share_by_a_handover(nodes: Nodes) -> None:
    """The first one is asked to give up what is more than half, and the second takes exactly that."""
    nodes.renew("one")
    second = nodes.renew("two")
    assert ({}, False) == (second.held, second.upkeep)
    surplus = nodes.renew("one").surplus
    assert 2 == len(surplus)
    leases.give_up(nodes.connection, "one", surplus)
    assert set(surplus) == set(nodes.renew("two").held)
    again = nodes.renew("one")
    assert (set(FIVE) - set(surplus), []) == (set(again.held), again.surplus)


def test_the_leases_of_a_node_that_died_are_taken_over(nodes: Nodes) -> None:
    """Under a higher epoch, so the old node's results are refused."""
    epoch = nodes.renew("one").held["a"]
    leases.check(nodes.connection, "a", "one", epoch)
    nodes.expire("one")
    second = nodes.renew("two")
    assert (set(FIVE), True) == (set(second.held), second.upkeep)
    assert epoch + 1 == second.held["a"]
    leases.check(nodes.connection, "a", "two", epoch + 1)
    for node, old in (("one", epoch), ("one", epoch + 1), ("two", epoch)):
        with pytest.raises(LeaseLost):
            leases.check(nodes.connection, "a", node, old)
    assert {} == nodes.renew("one").held


def test_a_lease_that_ran_out_is_renewed_by_nobody_else_and_gets_a_new_epoch(nodes: Nodes) -> None:
    """Its holder may have been passed over meanwhile, so it takes the lease again instead of extending it."""
    epoch = nodes.renew("one").held["a"]
    nodes.expire("one")
    with pytest.raises(LeaseLost):
        leases.check(nodes.connection, "a", "one", epoch)
    assert epoch + 1 == nodes.renew("one").held["a"]


def test_a_node_that_drains_keeps_its_leases_and_takes_none(nodes: Nodes) -> None:
    """Attempts in flight may be recorded, and other nodes take what it gives up."""
    nodes.renew("one", ["a", "b"])
    assert {"a", "b"} == set(nodes.renew("one", FIVE, draining=True).held)
    assert {"c", "d", "e"} == set(nodes.renew("two").held)
    leases.give_up(nodes.connection, "one")
    assert ["two"] == list(nodes.renew("two").nodes)
    assert set(FIVE) == set(nodes.renew("two").held)


def test_an_endpoint_of_new_settings_is_not_left_without_a_node(nodes: Nodes) -> None:
    """In a rolling deploy only the new node has it, which may have its share already."""
    nodes.renew("old", ["a", "b"])
    nodes.renew("new", ["a", "b", "c"])
    nodes.connection.execute("UPDATE leases SET until = clock_timestamp() + make_interval(secs => 9)")
    assert {"c"} == set(nodes.renew("new", ["a", "b", "c"]).held)
    surplus = nodes.renew("old", ["a", "b"]).surplus
    assert ["b"] == surplus
    leases.give_up(nodes.connection, "old", surplus)
    for _ in range(3):  # nothing moves between the two any more
        assert {"b", "c"} == set(nodes.renew("new", ["a", "b", "c"]).held)
        assert ({"a"}, []) == (set((last := nodes.renew("old", ["a", "b"])).held), last.surplus)


def test_an_endpoint_that_no_other_node_takes_goes_to_a_node_that_has_its_share(nodes: Nodes) -> None:
    """After three lifetimes of a lease, as long as the nodes with room might need to take it."""
    nodes.renew("old", ["a", "b"])
    leases.give_up(nodes.connection, "old", ["b"])
    nodes.renew("new", ["b", "c"])
    assert {"b"} == set(nodes.renew("new", ["b", "c"]).held)
    nodes.connection.execute(
        "UPDATE leases SET until = clock_timestamp() - make_interval(secs => 3.1 * 30) WHERE name = 'endpoint:c'"
    )
    assert {"b", "c"} == set(nodes.renew("new", ["b", "c"]).held)


def test_nodes_with_different_settings_are_seen(nodes: Nodes) -> None:
    """Each node sees the digests of all that live."""
    nodes.renew("one")
    leases.renew(nodes.connection, "two", NodeState("other", FIVE), TTL)
    assert {"one": "same", "two": "other"} == {name: state.settings for name, state in nodes.renew("one").nodes.items()}
