"""Flushes of the exporter, with a fake clock: when batches are sent, sent again, and sent for the last time."""

from __future__ import annotations

import hmac
import json
import random

from twisted.internet.task import Clock

from gateway.export import Parcel
from gateway.export.batch_sender import LAST_SECONDS, BatchSender
from gateway.export.spool import EventSpool
from gateway.http_client.attempt import TIMED_OUT, Attempt
from gateway.settings import Exporter
from outbox_memory import DirectStore, ExportCounts, FakeSender, now


class Scene:
    """An exporter with a fake receiver, flushing every ten seconds."""

    def __init__(self, store: DirectStore | None = None, **options) -> None:
        self.clock = Clock()
        self.clock.advance(600.0)
        self.store = store or DirectStore()
        self.bodies: list[tuple[str, bytes]] = []
        self.status: int | None = 200
        self.sender = FakeSender(self._answer)
        settings = Exporter(**{"endpoint_url": "http://x", "secret": "s", "flush_interval": 10_000, **options})
        self.metrics = ExportCounts()
        self.batches = BatchSender(
            self.clock, self.clock.seconds, random.Random(3 + len(self.store.rows("SELECT * FROM batches"))), settings,
            EventSpool(self.store, settings.max_bytes), self.sender, "host", self.metrics,
        )  # fmt: skip
        self.batches.start()

    def _answer(self, headers: dict[str, str], body: bytes) -> Attempt | None:
        if self.status is None:
            return None
        self.bodies.append((headers["X-Flaggateway-Delivery"], body))
        return Attempt(self.status, "", 0.5)

    def write(self, count: int) -> None:
        """Write so many events."""
        assert now(self.batches.write([Parcel(b"\n".join([b"{}"] * count), count)])) == 0

    def sizes(self) -> list[int]:
        """How many events each call had."""
        return [len(json.loads(body)["events"]) for _, body in self.bodies]

    def left(self) -> int:
        """How many events are on disk."""
        return self.store.rows("SELECT count FROM spooled")[0][0]


def test_what_is_on_disk_is_sent_at_the_flush_signed_and_deleted() -> None:
    """A batch has the headers of all messages, and those of the settings."""
    scene = Scene(headers={"Authorization": ["Bearer t"]}, meta={"app": "shop"})
    scene.write(3)
    assert scene.bodies == []
    scene.clock.advance(10)
    ((_, body),) = scene.bodies
    (headers,) = scene.sender.sent
    assert {"hostname": "host", "app": "shop"} == json.loads(body)["meta"]
    assert "sha256=" + hmac.new(b"s", body, "sha256").hexdigest() == headers["X-Hub-Signature-256"]
    assert ("Bearer t", "1") == (headers["Authorization"], headers["X-Flaggateway-Sequence"])
    assert 0 == scene.left()


def test_the_count_flushes_before_the_interval() -> None:
    """``max_event_in_memory`` events start a flush; events of an earlier run count too."""
    scene = Scene(max_event_in_memory=5)
    scene.write(4)
    assert [] == scene.sizes()
    scene.write(4)
    assert [4, 4] == scene.sizes()
    scene.write(4)
    after = Scene(scene.store, max_event_in_memory=5)
    after.write(1)
    assert [5] == after.sizes()


def test_a_batch_that_was_not_accepted_is_sent_again_unchanged_at_the_next_flush() -> None:
    """It has the same id and bytes, also after a restart; later events are in other batches."""
    scene = Scene()
    scene.status = 503
    scene.write(3)
    for _ in range(2):
        scene.clock.advance(10)
        scene.write(1)
    after = Scene(scene.store)
    after.clock.advance(10)
    first = scene.bodies[0]
    assert [first, first, first] == [*scene.bodies, after.bodies[0]]
    assert [3, 2] == after.sizes()
    assert ["1", "1"] == [headers["X-Flaggateway-Sequence"] for headers in scene.sender.sent]


def test_an_attempt_that_hangs_does_not_block_writes() -> None:
    """No second attempt starts meanwhile."""
    scene = Scene()
    scene.status = None
    scene.write(1)
    scene.clock.advance(10)
    scene.write(1)
    scene.clock.advance(10)
    assert (1, 2) == (len(scene.sender.flying), scene.left())


def test_stop_sends_what_is_on_disk() -> None:
    """The counts of the current minute are included."""
    scene = Scene()
    scene.write(4)
    now(scene.batches.write([Parcel(counts=[(int(scene.clock.seconds()), b'"key":"on"}', 7)])]))
    assert scene.batches.stop(last=True).called
    assert [5] == scene.sizes()
    assert scene.sender.closed


def test_stop_cancels_a_slow_attempt() -> None:
    """Its events are sent after the next start."""
    scene = Scene()
    scene.status = None
    scene.write(4)
    stopped = scene.batches.stop(last=True)
    assert not stopped.called
    scene.clock.advance(LAST_SECONDS)
    assert stopped.called
    assert 4 == scene.left()


def test_a_successor_takes_over_what_was_not_sent() -> None:
    """After a reload the running attempt ends, and no other one starts."""
    scene = Scene()
    scene.status = None
    scene.write(1)
    scene.clock.advance(10)
    scene.write(1)
    stopped = scene.batches.stop(last=False)
    scene.sender.flying[0].callback(Attempt(204, "", 0.1))
    assert stopped.called
    assert (1, 1) == (len(scene.sender.sent), scene.left())


def test_a_receiver_that_fails_is_a_trouble_from_its_first_failure_to_its_first_success() -> None:
    """Each attempt is counted by its result."""
    scene = Scene()
    scene.status = 503
    scene.write(1)
    assert scene.batches.trouble is None
    for _ in range(2):
        scene.clock.advance(10)
    assert 610.0 == scene.batches.trouble.since
    scene.status = 200
    scene.clock.advance(10)
    assert scene.batches.trouble is None
    assert ["refused", "refused", "delivered"] == scene.metrics.attempts
    assert 1 == scene.metrics.sum("exported")


def test_a_timeout_and_a_broken_connection_have_labels() -> None:
    """The metrics distinguish them."""
    scene = Scene()
    faults = iter([TIMED_OUT, "the connection was lost"])
    scene.sender.answer = lambda headers, body: Attempt(None, next(faults), 0.1)
    scene.write(1)
    for _ in range(2):
        scene.clock.advance(10)
    assert ["timeout", "broken"] == scene.metrics.attempts


def test_a_database_that_cannot_be_read_is_tried_again_at_the_next_flush() -> None:
    """Its events are sent then."""
    scene = Scene()
    scene.write(2)
    scene.store.connection.execute("PRAGMA query_only = 1")
    scene.clock.advance(10)
    assert [] == scene.sizes()
    scene.store.connection.execute("PRAGMA query_only = 0")
    scene.clock.advance(10)
    assert [2] == scene.sizes()
