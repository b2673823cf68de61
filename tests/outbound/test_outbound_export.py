"""The exporter's disk and its flushes, in virtual time."""

from __future__ import annotations

import json
import random

from twisted.internet.task import Clock

from gateway.exporter import Collector, encode_batch
from gateway.flags import User, load
from gateway.outbound.attempt import Attempt
from gateway.outbound.export import Export
from gateway.outbound.spool import DROPPED, EventSpool
from gateway.settings import Exporter
from outbound_memory import DirectStore, FakeSender

FLAGS = load(b'{"p":{"s":"x"},"f":{"on":{"t":0,"v":{"b":true},"i":"v-on"}}}', '"1"')
ON, ANNA = FLAGS.evaluate("on", None), User({"Identifier": "anna"})


class Scene:
    """An exporter with a fake receiver."""

    def __init__(self, store: DirectStore | None = None, **options) -> None:
        self.clock = Clock()
        self.store = store or DirectStore()
        self.bodies: list[tuple[str, bytes]] = []
        self.status = 200
        self.sender = FakeSender(self._answer)
        settings = Exporter(**{"endpoint_url": "http://x", "secret": "s", "flush_interval": 10_000, **options})
        self.collector = Collector(now=self.clock.seconds, chance=lambda: 0.0)
        self.spool = EventSpool(self.store, settings.max_bytes)
        rng = random.Random(3 + len(self.store.rows("SELECT * FROM batches")))
        self.export = Export(
            self.clock, self.clock.seconds, rng, settings, self.collector, self.spool, self.sender, encode_batch, "host"
        )
        self.export.start()

    def _answer(self, headers: dict[str, str], body: bytes) -> Attempt:
        self.bodies.append((headers["X-Flaggateway-Delivery"], body))
        return Attempt(self.status, "", 0.0)

    def evaluate(self, count: int) -> None:
        """Take note of so many evaluations."""
        for _ in range(count):
            self.collector(ON, ANNA)

    def sizes(self) -> list[int]:
        """How many events each call had."""
        return [len(json.loads(body)["events"]) for _, body in self.bodies]


def test_events_are_on_disk_within_a_second_and_sent_at_the_flush() -> None:
    """Signed, with an id, and gone from the disk when they have arrived."""
    scene = Scene()
    scene.evaluate(3)
    scene.clock.advance(1)
    assert scene.store.rows("SELECT count FROM spool") == [(3,)]
    assert scene.bodies == []
    scene.clock.advance(9)
    assert scene.sizes() == [3]
    assert "X-Hub-Signature-256" in scene.sender.sent[0]
    assert scene.store.rows("SELECT * FROM spool UNION ALL SELECT id, body, count FROM batches") == []


def test_the_count_flushes_before_the_interval() -> None:
    """``max_event_in_memory`` events make a batch."""
    scene = Scene(max_event_in_memory=5)
    scene.evaluate(12)
    scene.clock.advance(1)
    assert sum(scene.sizes()) == 12


def test_a_batch_that_did_not_arrive_is_sent_again_unaltered_at_the_next_flush() -> None:
    """The same id and the same bytes, also after a restart; later events make batches of their own."""
    scene = Scene()
    scene.status = 503
    scene.evaluate(3)
    for _ in range(2):
        scene.clock.advance(1)
        scene.clock.advance(9)
        scene.evaluate(1)
    scene.export.stop()
    after = Scene(scene.store)
    after.clock.advance(10)
    first = scene.bodies[0]
    assert [first, first, first] == [*scene.bodies, after.bodies[0]]
    assert sum(after.sizes()) == 5


def test_a_stop_puts_everything_on_disk() -> None:
    """Nothing that was answered is lost by an orderly end."""
    scene = Scene()
    scene.evaluate(4)
    assert scene.export.stop().called
    assert scene.store.rows("SELECT sum(count) FROM spool") == [(4,)]
    assert scene.sender.closed


def test_at_the_cap_the_oldest_go_and_are_counted() -> None:
    """The spool stays below ``max_bytes``."""
    scene = Scene(max_bytes=2000)
    for _ in range(30):
        scene.evaluate(1)
        scene.clock.advance(0.3)
        scene.export.commit()
    (dropped,) = scene.store.rows("SELECT count FROM drops WHERE reason = ?", DROPPED)[0]
    (left,) = scene.store.rows("SELECT sum(count) FROM spool")[0]
    assert dropped + left == 30
    assert scene.store.rows("SELECT sum(length(events)) FROM spool")[0][0] <= 2000


def test_a_full_disk_keeps_events_in_memory_until_it_has_room() -> None:
    """Trouble is logged, and nothing is lost within the bound."""
    scene = Scene()
    scene.store.connection.execute("PRAGMA query_only = 1")
    scene.evaluate(3)
    scene.clock.advance(1)
    scene.evaluate(2)
    scene.clock.advance(1)
    scene.store.connection.execute("PRAGMA query_only = 0")
    scene.clock.advance(1)
    assert scene.store.rows("SELECT sum(count) FROM spool") == [(5,)]
