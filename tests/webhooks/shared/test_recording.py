"""Recorders of two nodes over one PostgreSQL: each change is recorded once, and never backwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from gateway.storage import shared_configs
from recorder_scene import ON, RecorderScene, config

BLUE, RED, GREEN = config("blue"), config("red"), config("green")
KEY = "0" * 40


class Node(RecorderScene):
    """A recorder that confirms by ``fetched``, the config that its CDN edge serves; ``places`` are by ETag."""

    def __init__(self, store: Any) -> None:
        """Begin with nothing known."""
        super().__init__(store=store)
        self.fetched: Any = None
        self.fetches = 0
        self.works = True
        self.places: dict[str, tuple[str, int]] = {}
        self.recorder._order = self

    def placed(self, _sdk_id: str, etag: str) -> tuple[str, int] | None:
        """Return where a config stands in the order of all nodes."""
        return self.places.get(etag)

    def confirm(self, _sdk_id: str) -> Deferred[bool]:
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


def store(node: Node, *snapshots: Any, credit: str = "") -> None:
    """Store configs in the order of all nodes, as the node that fetched them."""
    for snapshot in snapshots:

        def put(connection: Any, snapshot: Any = snapshot) -> Any:
            newest = shared_configs.look(connection, KEY, "n", 0.0, (0, ""), tags=False).newest
            base = (0, "") if newest is None else (newest.version, newest.etag)
            entry = (1, snapshot.etag, snapshot.body)
            return shared_configs.put(connection, KEY, base, 0, entry, snapshot.tag, "n", credit)

        stored: list[Any] = []
        node.store.run(put).addCallback(stored.append)
        node.places[snapshot.etag] = (KEY, stored[0][0])


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


def test_configs_with_a_place_are_recorded_in_their_order(pair: tuple[Node, Node]) -> None:
    """A node that has seen the later one only records the earlier one as well, with its author, and nothing twice."""
    one, other = pair
    store(one, ON)
    one.see(ON)
    store(one, BLUE, credit='{"changedBy":"Jane","changeNotes":"sale"}')
    other.places = {}
    store(other, RED)
    other.see(RED)
    one.see(BLUE)
    one.places |= other.places
    one.see(RED)
    assert [(ON.etag, BLUE.etag), (BLUE.etag, RED.etag)] == etags(one)
    authors = one.store.rows("SELECT author LIKE '%Jane%', notes FROM changes ORDER BY id")
    assert [(True, "sale"), (None, "")] == authors
    assert (0, 0) == (one.fetches, other.fetches)
    assert [(KEY, 3)] == one.store.rows("SELECT key, place FROM configs")


def test_an_earlier_place_is_never_recorded_over_a_later_one(pair: tuple[Node, Node]) -> None:
    """A node that was stopped for a while still holds the config that it had: nothing is fetched to find that out."""
    one, stopped = pair
    store(one, ON, BLUE, RED)
    stopped.places = dict(one.places)
    for snapshot in (ON, BLUE, RED):
        one.see(snapshot)
    stopped.see(BLUE)
    assert [(ON.etag, BLUE.etag), (BLUE.etag, RED.etag)] == etags(one)
    assert 0 == stopped.fetches
    store(stopped, ON)
    stopped.see(ON)
    assert (RED.etag, ON.etag) == etags(one)[-1]


def test_a_place_that_is_given_late_needs_no_record_of_another_node(pair: tuple[Node, Node]) -> None:
    """After an outage of the server the config is stored first, and recorded with its place by the next try."""
    one, _ = pair
    store(one, ON)
    one.see(ON)
    one.recorder._busy = True  # as while the server is away
    one.record(BLUE)
    store(one, BLUE)
    one.recorder._busy = False
    one.recorder._write_next()
    assert [(ON.etag, BLUE.etag)] == etags(one)
    assert [(KEY, 2)] == one.store.rows("SELECT key, place FROM configs")


def test_what_was_stored_long_ago_is_no_change_of_its_own(pair: tuple[Node, Node]) -> None:
    """As after a time without webhooks, whose configs were stored and not recorded."""
    one, _ = pair
    store(one, ON)
    one.see(ON)
    store(one, BLUE)
    one.store.run(lambda connection: connection.execute("UPDATE shared_configs SET stored = stored - 3600000"))
    store(one, RED)
    one.see(RED)
    assert [(ON.etag, RED.etag)] == etags(one)


def test_another_key_begins_an_order_of_its_own(pair: tuple[Node, Node]) -> None:
    """After a change of the SDK key the version of the old one means nothing."""
    one, _ = pair
    store(one, ON, BLUE)
    one.see(BLUE)
    one.places = {RED.etag: ("1" * 40, 1)}
    one.see(RED)
    assert [(BLUE.etag, RED.etag)] == etags(one)
    assert [("1" * 40, 1)] == one.store.rows("SELECT key, place FROM configs")


def test_two_configs_of_one_transaction_that_another_node_has_overtaken_are_both_confirmed(
    pair: tuple[Node, Node],
) -> None:
    """The second one was recorded as a change of a config that was not the last recorded one."""
    one, other = pair
    for node in pair:
        node.see(ON)
    one.see(BLUE)
    other.fetched = GREEN
    other.recorder._busy = True
    other.record(RED)
    other.record(GREEN)
    other.recorder._busy = False
    other.recorder._write_next()
    assert [(ON.etag, BLUE.etag), (BLUE.etag, GREEN.etag)] == etags(one)


def test_a_record_of_an_earlier_version_is_not_taken_back_by_a_place(pair: tuple[Node, Node]) -> None:
    """In a rolling deployment such gateways record without an order, and perhaps a later config than the stored one."""
    old, new = pair
    for snapshot in (ON, RED):
        old.see(snapshot)
    store(new, BLUE)
    new.fetched = RED  # what its fetch to confirm brings
    new.record(BLUE)
    assert [(ON.etag, RED.etag)] == etags(new)
    assert 1 == new.fetches
    store(new, GREEN)
    new.see(GREEN)
    assert [(ON.etag, RED.etag), (RED.etag, GREEN.etag)] == etags(new)
