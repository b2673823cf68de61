"""Flushes of the exporter, with a fake clock: when batches are sent, sent again, and sent for the last time."""

from __future__ import annotations

import hmac
import json
import random

import pytest
from twisted.internet.task import Clock

from gateway.export import Parcel
from gateway.export.batch_sender import LAST_SECONDS, REFUSED_SECONDS, SET_ASIDE_AT_ONCE, BatchSender
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
        self.refuses = lambda events: None  # returns a status, or None to answer ``status``
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
        return Attempt(self.refuses(json.loads(body)["events"]) or self.status, "", 0.5)

    def write(self, count: int) -> None:
        """Write so many events."""
        assert now(self.batches.write([Parcel(b"\n".join([b"{}"] * count), count)])) == 0

    def write_numbers(self, *numbers: int) -> None:
        """Write one event per number."""
        assert now(self.batches.write([Parcel(b"\n".join(b"%d" % number for number in numbers), len(numbers))])) == 0

    def aside(self) -> list[int]:
        """The events that are set aside."""
        return [json.loads(event) for (event,) in self.store.rows("SELECT event FROM refused ORDER BY id")]

    def accepted(self) -> list[int]:
        """The events that the receiver accepted, in order."""
        batches = [json.loads(body)["events"] for _, body in self.bodies]
        return [event for events in batches if self.refuses(events) is None for event in events]

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


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_event_that_is_refused_for_good_holds_up_no_other(status: int) -> None:
    """Its batch is divided in the same flush; the rest arrives in order, and every new body has an id of its own."""
    scene = Scene()
    scene.refuses = lambda events: status if 17 in events else None
    scene.write_numbers(*range(30))
    scene.write_numbers(*range(30, 60))
    scene.clock.advance(10)
    assert ([17], 0) == (scene.aside(), scene.left())
    assert [number for number in range(60) if number != 17] == scene.accepted()
    assert len(scene.bodies) == len({name for name, _ in scene.bodies}) <= (25 if status == 413 else 12)
    assert (59, 1) == (scene.metrics.sum("exported"), scene.metrics.sum("refused"))
    assert scene.batches.trouble is None
    assert (f"answered {status}", 610.0) == (scene.batches.refused.text, scene.batches.refused.since)
    scene.write_numbers(60)
    scene.clock.advance(10)
    assert 60 == scene.accepted()[-1]


def test_an_event_that_was_set_aside_is_sent_once_more_after_a_restart() -> None:
    """The receiver, or its address, may be another one."""
    scene = Scene()
    scene.refuses = lambda events: 413 if 1 in events else None
    scene.write_numbers(0, 1, 2)
    scene.clock.advance(10)
    after = Scene(scene.store)
    assert [] == after.aside()
    after.clock.advance(10)
    assert ([1], 0) == (after.accepted(), after.left())


def test_a_crash_between_the_parts_of_a_batch_loses_and_repeats_nothing() -> None:
    """After any number of requests, the next process goes on with what is on disk."""
    for crash_after in range(1, 14):
        scene = Scene()
        scene.refuses = lambda events: 400 if 5 in events else None
        answer = scene.sender.answer
        requests = iter(range(crash_after))
        scene.sender.answer = lambda headers, body, left=requests, go=answer: (
            go(headers, body) if next(left, None) is not None else None
        )
        scene.write_numbers(*range(20))
        scene.clock.advance(10)
        after = Scene(scene.store)
        after.refuses = scene.refuses
        after.clock.advance(10)
        assert [*range(5), *range(6, 20)] == scene.accepted() + after.accepted()
        assert ([5], 0) == (after.aside(), after.left())


def test_a_receiver_that_refuses_everything_gets_few_events_set_aside() -> None:
    """It has a fault of its own: all events but eight, and one more per flush, wait for its repair."""
    scene = Scene()
    scene.refuses = lambda events: 400
    scene.write_numbers(*range(100))
    for flushes in range(3):
        scene.clock.advance(10)
        assert list(range(SET_ASIDE_AT_ONCE + flushes)) == scene.aside()
    scene.refuses = lambda events: None
    scene.bodies.clear()
    scene.clock.advance(10)
    assert ([list(range(10, 100))], 0) == ([json.loads(body)["events"] for _, body in scene.bodies], scene.left())
    scene.refuses = lambda events: 400 if min(events) < 110 else None
    scene.write_numbers(*range(100, 110))
    scene.clock.advance(10)
    assert 10 + SET_ASIDE_AT_ONCE == len(scene.aside())


def test_a_receiver_with_a_smaller_limit_gets_smaller_batches() -> None:
    """What it accepts is learned for the next flush."""
    scene = Scene()
    scene.refuses = lambda events: 413 if len(events) > 30 else None
    for _ in range(2):
        scene.bodies.clear()
        scene.write_numbers(*range(100, 200))
        scene.clock.advance(10)
        assert list(range(100, 200)) == scene.accepted()
    assert [] == scene.aside()
    assert len(scene.bodies) <= 12


@pytest.mark.parametrize(
    ("status", "lasting"), [(401, True), (403, True), (404, True), (405, True), (415, True), (301, False), (408, False),
                            (425, False), (429, False), (500, False)],
)  # fmt: skip
def test_a_fault_of_the_settings_or_the_receiver_divides_no_batch(status: int, lasting: bool) -> None:
    """The batch is sent again as it is; a status that lasts until an operator acts is a problem at once."""
    scene = Scene()
    scene.status = status
    scene.write_numbers(1, 2)
    for _ in range(3):
        scene.clock.advance(10)
    assert 1 == len(set(scene.bodies))
    assert (3, 2, []) == (len(scene.bodies), scene.left(), scene.aside())
    assert (f"answered {status}", lasting) == (scene.batches.trouble.text, scene.batches.trouble.lasting)


def test_a_batch_keeps_to_the_largest_body() -> None:
    """``max_batch_bytes`` includes ``meta``; an event that is larger is sent alone."""
    scene = Scene(max_batch_bytes=1024, meta={"app": "x" * 300})
    big = b'"%b"' % (b"y" * 2000)
    events = [b"%d" % number for number in range(1000, 1300)] + [big] + [b"1"]
    now(scene.batches.write([Parcel(b"\n".join(events), len(events))]))
    scene.clock.advance(10)
    assert 302 == sum(scene.sizes())
    assert [1] == [len(json.loads(body)["events"]) for _, body in scene.bodies if len(body) > 1024]
    assert max(scene.sizes()) > 100


def test_a_refusal_is_a_problem_for_a_day() -> None:
    """From the last one."""
    scene = Scene(flush_interval=1e9)
    scene.refuses = lambda events: 422
    for _ in range(2):
        scene.write_numbers(1)
        scene.batches.flush()
        scene.clock.advance(REFUSED_SECONDS - 1)
    assert 600.0 == scene.batches.refused.since
    scene.clock.advance(1)
    assert scene.batches.refused is None
