"""How many messages wait and were dropped, and since when endpoints fail."""

from __future__ import annotations

from courier_scene import BROKEN, FINE, START, Scene, endpoint, message
from gateway.storage import count_drop
from gateway.webhooks.store import message_table, queue_stats
from gateway.webhooks.store.queue_stats import QueueDepth
from outbox_memory import new_store


def test_stats_hold_queues_and_drops_per_endpoint() -> None:
    """Reasons with the same label are added up, unknown ones are left out."""
    store = new_store()
    messages = [message("ops", 1), message("ops", 2, START + 50), message("chat", 1, START + 70)]
    message_table.add_messages(store.connection, messages, None, room=True)
    message_table.add_messages(store.connection, [message("ops", 9)], None, room=False)
    for reason, count in (("purged", 3), ("purged: older than outbox.keep", 4), ("something else", 5)):
        count_drop(store.connection, "ops", reason, count)
    stats = queue_stats.read(store.connection)
    assert {"ops": QueueDepth(2, START), "chat": QueueDepth(1, START + 70)} == stats.depths
    assert {("ops", "refused"): 1, ("ops", "purged"): 7} == stats.drops


def test_a_restart_restores_since_when_an_endpoint_fails() -> None:
    """From the first failure after its last success; an endpoint that accepted a message later does not fail."""
    scene = Scene(endpoint("ops"))
    scene.deliver(FINE, 1)
    scene.clock.advance(10)
    scene.deliver(BROKEN, 2)
    scene.clock.advance(1)
    scene.deliver(BROKEN, 3)
    assert {"ops": START + 10} == queue_stats.failing(scene.store.connection)
    after = Scene(endpoint("ops"))
    after.courier.restore_failing({"ops": START + 10, "gone": START})
    assert {"ops": START + 10} == after.courier.failing()
    scene.deliver(FINE, 4)
    assert {} == queue_stats.failing(scene.store.connection)


def test_the_query_for_failing_endpoints_does_not_read_all_deliveries() -> None:
    """It costs the same after ten deliveries and after two thousand: a reload runs it in the writer thread."""

    def steps(delivered: int) -> int:
        scene = Scene(endpoint("ops"))
        connection = scene.store.connection
        messages = [message("ops", number) for number in range(10, 10 + delivered)]
        message_table.add_messages(connection, messages, None, room=True)
        connection.execute("UPDATE messages SET state = 'delivered', finished = created - 1")
        scene.deliver(BROKEN, 1)
        counted: list[None] = []
        connection.set_progress_handler(lambda: counted.append(None), 10)
        assert {"ops": START} == queue_stats.failing(connection)
        return len(counted)

    assert steps(2000) <= steps(10) + 10
