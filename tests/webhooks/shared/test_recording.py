"""Recorders of two nodes over one PostgreSQL: each change is recorded once, and never backwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from recorder_scene import ON, RecorderScene, config

BLUE, RED = config("blue"), config("red")


class Node(RecorderScene):
    """A recorder that confirms by ``fetched``, the config that its CDN edge serves."""

    def __init__(self, store: Any) -> None:
        """Begin with nothing known."""
        super().__init__(store=store)
        self.fetched: Any = None
        self.fetches = 0
        self.works = True
        self.recorder._confirm = self._confirm

    def _confirm(self, _sdk_id: str) -> Deferred[bool]:
        """Fetch, and record what is new, as the registry does."""
        self.fetches += 1
        if self.works and self.fetched is not self.recorder._newest["one"]:
            self.record(self.fetched)
        return succeed(self.works)

    def see(self, snapshot: Any) -> None:
        """Fetch this config and record it."""
        self.fetched = snapshot
        self.record(snapshot)


@pytest.fixture
def pair(postgres_server: Any, outbox_schema: str) -> Iterator[tuple[Node, Node]]:
    """Two nodes with one store."""
    from outbox_postgres import PostgresDirectStore

    store = PostgresDirectStore(postgres_server, outbox_schema)
    yield Node(store), Node(store)
    store.close()


def etags(node: Node) -> list[tuple[str, str]]:
    """The recorded changes, in order."""
    return node.store.rows("SELECT old_etag, new_etag FROM changes ORDER BY id")


def test_a_change_that_both_see_is_recorded_once(pair: tuple[Node, Node]) -> None:
    """The second node finds it recorded, and does not fetch again."""
    for snapshot in (ON, BLUE, RED):
        for node in pair:
            node.see(snapshot)
    assert [(ON.etag, BLUE.etag), (BLUE.etag, RED.etag)] == etags(pair[0])
    assert [(3,)] == pair[0].store.rows("SELECT version FROM configs")
    assert (0, 0) == (pair[0].fetches, pair[1].fetches)
    assert 2 == len(pair[0].changes) + len(pair[1].changes)


def test_a_node_that_is_behind_does_not_record_backwards(pair: tuple[Node, Node]) -> None:
    """It fetches again before it records anything over what the other node has recorded."""
    fast, slow = pair
    for node in pair:
        node.see(ON)
    fast.see(BLUE)
    fast.see(RED)
    slow.fetched = RED  # what its fetch to confirm brings
    slow.record(BLUE)  # an older answer, which was under way
    assert [(ON.etag, BLUE.etag), (BLUE.etag, RED.etag)] == etags(slow)
    assert 1 == slow.fetches


def test_a_config_that_was_taken_back_is_recorded_by_the_node_that_confirms_it(pair: tuple[Node, Node]) -> None:
    """Its own CDN edge serves the config still, so the record of the other node is not the last word."""
    one, other = pair
    for node in pair:
        node.see(ON)
    one.see(BLUE)
    other.see(RED)
    assert [(ON.etag, BLUE.etag), (BLUE.etag, RED.etag)] == etags(one)
    assert 1 == other.fetches


def test_a_fetch_that_fails_confirms_nothing(pair: tuple[Node, Node]) -> None:
    """It is repeated after five seconds."""
    one, other = pair
    for node in pair:
        node.see(ON)
    one.see(BLUE)
    other.works = False
    other.see(RED)
    assert [(ON.etag, BLUE.etag)] == etags(one)
    other.works = True
    other.clock.advance(5)
    assert [(ON.etag, BLUE.etag), (BLUE.etag, RED.etag)] == etags(one)


def test_a_restart_confirms_what_it_finds_changed(pair: tuple[Node, Node]) -> None:
    """A node that starts with an old config, as from a slow CDN edge, does not record that as a change."""
    one, starting = pair
    one.see(ON)
    one.see(BLUE)
    starting.fetched = BLUE
    starting.record(ON)
    assert [(ON.etag, BLUE.etag)] == etags(one)
    starting.see(RED)
    assert [(ON.etag, BLUE.etag), (BLUE.etag, RED.etag)] == etags(one)


def test_an_outbox_that_comes_back_empty_is_filled_again(pair: tuple[Node, Node]) -> None:
    """The config that is in use is then the first one, about which there is no message."""
    one, _ = pair
    one.see(ON)
    one.see(BLUE)
    one.store.run(lambda connection: connection.execute("DELETE FROM configs"))
    one.see(RED)
    assert [(RED.etag, 1)] == one.store.rows("SELECT etag, version FROM configs")
    one.see(ON)
    assert (RED.etag, ON.etag) == etags(one)[-1]
