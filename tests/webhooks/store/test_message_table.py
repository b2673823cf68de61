"""What is purged, and what is skipped."""

from __future__ import annotations

from gateway.webhooks.store import message_table
from recorder_scene import OFF, ON, RecorderScene


def test_purge_deletes_finished_messages_only() -> None:
    """A pending message is never purged, however old it is."""
    scene = RecorderScene("notifier")
    scene.record(OFF, ON, OFF)
    scene.store.connection.execute("UPDATE messages SET state = 'delivered', finished = 10 WHERE sequence = 1")
    with scene.store.connection as connection:
        assert message_table.purge(connection, before=1e12) == 1
    assert scene.store.states() == {"pending": 1}


def test_endpoints_that_left_the_settings_are_skipped_with_the_reason() -> None:
    """Their messages stay listed."""
    scene = RecorderScene("notifier", "slack")
    scene.record(OFF, ON)
    with scene.store.connection as connection:
        assert message_table.skip_orphans(connection, {"slack"}, 7.0) == 1
    rows = scene.messages("endpoint, state, reason")
    assert ("notifier", "skipped", "the endpoint was removed from the settings") in rows
    assert ("slack", "pending", "") in rows
