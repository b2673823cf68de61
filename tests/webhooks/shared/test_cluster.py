"""What a node shows of the leases: who delivers to which endpoint, takeovers, losses, and endpoints without a node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from gateway.webhooks.cluster import UNSERVED_SECONDS, Cluster
from outbox_memory import WebhookCounts

TTL = 30.0


class Store:
    """What a ``Cluster`` needs of a store and of its shared part; ``away`` has its transactions fail."""

    ttl = TTL

    def __init__(self, direct: Any, clock: Clock, node: str) -> None:
        """Be the node of this name."""
        self._direct = direct
        self._clock = clock
        self.node = node

    def run(self, work: Any) -> Any:
        """Run it at once."""
        return self._direct.run(work)

    def wall(self) -> float:
        """Return the time of the database."""
        return float(self._clock.seconds())

    def set_wall(self, _now: float, _asked: float) -> None:
        """Keep the time of the test."""

    def listen(self, _look: Any) -> None:
        """Call nothing."""


class Courier:
    """Takes the endpoints that are assigned to it."""

    def assign(self, _names: Any) -> Deferred[None]:
        """Finish at once."""
        return succeed(None)

    def wake_all(self) -> None:
        """Nothing is due."""

    def restore_failing(self, _failing: Any) -> None:
        """No endpoint fails."""

    def failing(self) -> Deferred[dict[str, float]]:
        """Be the outbox, too."""
        return succeed({})


class Node:
    """A cluster with its fakes."""

    def __init__(self, direct: Any, clock: Clock, name: str, endpoints: list[str]) -> None:
        """Configure, and renew for the first time."""
        self.metrics = WebhookCounts()
        store: Any = Store(direct, clock, name)
        self.cluster = Cluster(clock, store, store, lambda: succeed(None), f"host of {name}", "1", self.metrics)
        self.cluster.courier = self.cluster.outbox = Courier()
        self.cluster.configure(endpoints, "same")
        self.renew()

    def renew(self) -> None:
        """Renew as once a second."""
        self.cluster._renewed()

    def holders(self) -> dict[str, str | None]:
        """Return who delivers to each endpoint, as it is shown."""
        return {name: lease["node"] for name, lease in self.cluster.document()["leases"].items()}


@pytest.fixture
def scene(postgres_server: Any, outbox_schema: str) -> Iterator[Any]:
    """The tables, and a way to start nodes."""
    from outbox_postgres import PostgresDirectStore

    store, clock = PostgresDirectStore(postgres_server, outbox_schema), Clock()
    yield store, clock, lambda name, *endpoints: Node(store, clock, name, list(endpoints or ("x", "y")))
    store.close()


def expire(store: Any, node: str) -> None:
    """Let the leases of a node run out, as after it died."""
    store.run(lambda c: c.execute("UPDATE leases SET until = clock_timestamp() WHERE node = ?", (node,)))
    old = "UPDATE nodes SET seen = clock_timestamp() - make_interval(secs => 60) WHERE node = ?"
    store.run(lambda c: c.execute(old, (node,)))


def test_each_node_shows_who_delivers_to_which_endpoint(scene: Any) -> None:
    """The one that holds the leases, and one that has none."""
    _, _, start = scene
    a, b = start("a"), start("b")
    assert {"x": "a", "y": "a"} == a.holders() == b.holders()
    shown = b.cluster.document()
    assert ("b", "a") == (shown["node"], shown["upkeep"])
    assert [("a", "host of a"), ("b", "host of b")] == [(each["node"], each["host"]) for each in shown["nodes"]]
    assert ({"x": True, "y": True}, {"x": False, "y": False}) == (a.metrics.delivering, b.metrics.delivering)


def test_a_handover_and_a_takeover_are_counted(scene: Any) -> None:
    """The planned one is no loss; the node that died cannot count its own."""
    store, _, start = scene
    a, b = start("a"), start("b")
    a.renew()
    a.renew()
    b.renew()
    assert {"a", "b"} == set(b.holders().values())
    moved = next(name for name, node in b.holders().items() if node == "b")
    assert 1 == a.metrics.leases[moved, "handed_over"] == b.metrics.leases[moved, "taken"]
    expire(store, "a")
    b.renew()
    assert {"x": "b", "y": "b"} == b.holders()
    assert {("x", "taken"): 1, ("y", "taken"): 1} == dict(b.metrics.leases)
    a.renew()
    kept = "y" if moved == "x" else "x"
    assert 1 == a.metrics.leases[kept, "lost"]
    assert {"x": False, "y": False} == a.metrics.delivering
    assert {"x": "b", "y": "b"} == a.holders()


def test_a_lease_that_ran_out_is_a_loss_even_if_no_node_has_taken_it(scene: Any) -> None:
    """This node stood still: what it had begun is not recorded."""
    store, _, start = scene
    a = start("a")
    store.run(lambda c: c.execute("UPDATE leases SET until = clock_timestamp() WHERE node = 'a'"))
    a.renew()
    assert {("x", "taken"): 2, ("y", "taken"): 2, ("x", "lost"): 1, ("y", "lost"): 1} == dict(a.metrics.leases)


def test_an_endpoint_that_no_node_delivers_to_is_a_problem_after_some_seconds(scene: Any) -> None:
    """As where every node but this one is gone, and this one drains."""
    store, clock, start = scene
    a = start("a")
    a.cluster.drain()
    store.run(lambda c: c.execute("UPDATE leases SET until = clock_timestamp() WHERE node = 'a'"))
    b = start("b", "z")
    assert {"x": None, "y": None, "z": "b"} == b.holders()
    assert [] == b.cluster.problems()
    clock.advance(UNSERVED_SECONDS)
    b.renew()
    assert ["x", "y"] == [text.split()[5] for text in b.cluster.problems()]
