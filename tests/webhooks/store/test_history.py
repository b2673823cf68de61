"""Which SDKs are new, and which are gone."""

from __future__ import annotations

from gateway.webhooks.store import history
from outbox_memory import DirectStore


def test_sdks_that_are_added_and_removed_are_returned_once() -> None:
    """A new outbox returns none of its first SDKs."""
    connection = DirectStore().connection
    assert history.update_sdks(connection, ["one"]) == []
    assert history.update_sdks(connection, ["one"]) == []
    assert history.update_sdks(connection, ["one", "two"]) == [("two", "added", 1)]
    assert history.update_sdks(connection, ["one"]) == [("two", "removed", 2)]
    assert history.update_sdks(connection, ["one", "two"]) == [("two", "added", 3)]
