"""Evaluations in the leader: gathered, written and acknowledged, with full disks and reloads."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs

from gateway.export import DropReason, ExporterUnusable, ExportPipeline, Parcel
from gateway.export.pipeline import GATHER_SECONDS, OUTAGE_SECONDS, RETRY_SECONDS
from gateway.http_client import Attempt, TrustError, load_trust
from gateway.settings import Exporter, Settings
from gateway.storage import LockFile
from gateway.telemetry.exporter_metrics import REASONS
from outbox_memory import DirectStore, ExportCounts, FakeSender

HOOK = {"endpoint_url": "http://x"}


def parcel(count: int = 1, **more) -> Parcel:
    """A parcel of ``count`` events."""
    return Parcel(b"\n".join([b"{}"] * count), count, **more)


class Scene:
    """A pipeline over a database in memory and a fake receiver."""

    def __init__(self, reactor=None, **options) -> None:
        self.clock = reactor or Clock()
        self.store = DirectStore()
        self.metrics = ExportCounts()
        self.status = 200
        self.urls: list[str] = []
        self.senders: list[FakeSender] = []
        self.pipeline = ExportPipeline(
            self.clock, self.clock.seconds, random.Random(1), "host", self.metrics, self._sender
        )
        self.configure(**options)

    def _sender(self, _reactor, route) -> FakeSender:
        self.urls.append(route.url)
        self.senders.append(FakeSender(lambda headers, body: Attempt(self.status, "", 0.0)))
        return self.senders[-1]

    def configure(self, **options) -> None:
        """Go over to these options of the exporter."""
        settings = Settings(exporter=Exporter(**options))
        trust = load_trust("", "") if settings.exporter.on else None
        self.pipeline.configure(settings, self.store, trust)

    def waiting(self) -> int:
        """How many events are on disk."""
        return self.store.rows("SELECT count FROM spooled")[0][0]

    def broken(self, broken: bool) -> None:
        """Have the disk take nothing."""
        self.store.connection.execute(f"PRAGMA query_only = {int(broken)}")


def test_parcels_are_gathered_written_and_then_acknowledged() -> None:
    """All parcels of 0.2 s are written in one transaction."""
    scene = Scene(**HOOK)
    written = [scene.pipeline.write(parcel(2)), scene.pipeline.write(parcel(3))]
    runs = scene.store.runs
    assert [False, False] == [done.called for done in written]
    scene.clock.advance(GATHER_SECONDS)
    assert [True, True] == [done.called for done in written]
    assert (5, 1) == (scene.waiting(), scene.store.runs - runs)
    assert 5 == scene.metrics.sum("collected")


def test_without_an_exporter_nothing_is_written_and_that_is_counted() -> None:
    """A worker may still send before it has applied a reload."""
    scene = Scene()
    assert scene.pipeline.write(parcel(2)).called
    assert 2 == scene.metrics.sum(f"dropped {DropReason.UNWANTED}")


def test_evaluations_dropped_by_a_worker_are_counted() -> None:
    """They are counted by reason, and as collected."""
    scene = Scene(**HOOK)
    assert scene.pipeline.write(Parcel(dropped={DropReason.MEMORY: 4})).called
    assert (4, 4) == (scene.metrics.sum("collected"), scene.metrics.sum(f"dropped {DropReason.MEMORY}"))


def test_a_full_disk_keeps_events_in_memory_until_it_has_room(logged_errors) -> None:
    """It is logged, acknowledged late, and nothing is lost or written twice."""
    scene = Scene(**HOOK)
    scene.broken(True)
    written = scene.pipeline.write(parcel(3))
    scene.clock.advance(GATHER_SECONDS)
    (problem,) = scene.pipeline.problems()
    assert problem.startswith("evaluations cannot be written: ")
    scene.pipeline.write(parcel(2))
    scene.clock.advance(RETRY_SECONDS)
    assert not written.called
    assert 1 == len(logged_errors.flush())
    scene.broken(False)
    scene.clock.advance(RETRY_SECONDS)
    assert written.called
    assert 5 == scene.waiting()
    assert [] == scene.pipeline.problems()


def test_memory_for_a_disk_that_does_not_keep_up_is_bounded(logged_errors) -> None:
    """Beyond the bound evaluations are dropped and counted."""
    scene = Scene(**HOOK)
    scene.broken(True)
    big = Parcel(b"x" * 30 * 1024 * 1024, 1)
    for _ in range(5):
        scene.pipeline.write(big)
    assert 2 == scene.metrics.sum(f"dropped {DropReason.MEMORY}")
    scene.clock.advance(GATHER_SECONDS)
    logged_errors.flush()


def test_what_is_dropped_at_the_cap_is_counted() -> None:
    """The oldest are dropped first, and logged once per minute, not at each write."""
    scene = Scene(**HOOK, max_bytes=1024)
    scene.status = 500
    with capturedLogs() as lines:
        for _ in range(5):
            scene.pipeline.write(Parcel(b"x" * 500, 10))
            scene.clock.advance(GATHER_SECONDS)
        scene.clock.advance(60)
        scene.pipeline.write(Parcel(b"x" * 500, 10))
        scene.clock.advance(GATHER_SECONDS)
    logged = [event["count"] for event in lines if "the spool is full" in event["log_format"]]
    assert [10, 40] == logged  # the last time a batch of twenty goes, as a whole
    assert 50 == scene.metrics.sum(f"dropped {DropReason.SPOOL_FULL}")


def test_many_bytes_are_written_in_several_transactions() -> None:
    """Changes of flags, which the same thread writes, do not wait long."""
    scene = Scene(**HOOK)
    written = [scene.pipeline.write(Parcel(b"x" * 3 * 1024 * 1024, 1)) for _ in range(5)]
    scene.clock.advance(GATHER_SECONDS)
    assert [True, True, True, False, False] == [done.called for done in written]
    scene.clock.advance(GATHER_SECONDS)
    assert all(done.called for done in written)


def test_wrong_credentials_are_a_problem_at_once() -> None:
    """Nothing but a change by an operator ends it, so there is no reason to wait; it is resolved by a success."""
    scene = Scene(**HOOK, flush_interval=60_000)
    scene.status = 401
    scene.pipeline.write(parcel())
    scene.clock.pump([60.0] * 3)
    since = "1970-01-01T00:01:00.000Z"
    assert [f"the exporter's receiver refuses every batch since {since}: answered 401"] == scene.pipeline.problems()
    scene.status = 200
    scene.clock.advance(60)
    assert [] == scene.pipeline.problems()


def test_refused_events_are_a_problem() -> None:
    """While all others arrive."""
    scene = Scene(**HOOK, flush_interval=60_000)
    scene.status = 422
    scene.pipeline.write(parcel())
    scene.clock.pump([60.0] * 2)
    since = "1970-01-01T00:01:00.000Z"
    expected = [f"evaluations that the exporter's receiver refuses are set aside since {since}"]
    assert expected == scene.pipeline.problems()
    scene.status = 200
    scene.pipeline.write(parcel())
    scene.clock.advance(120)
    assert expected == scene.pipeline.problems()


def test_a_receiver_that_fails_for_ten_minutes_is_a_problem() -> None:
    """The problem is resolved when it accepts a batch."""
    scene = Scene(**HOOK, flush_interval=60_000)
    scene.status = 500
    scene.pipeline.write(parcel())
    scene.clock.pump([60.0] * int(OUTAGE_SECONDS / 60 + 1))
    assert [] == scene.pipeline.problems()
    scene.clock.advance(60)
    assert ["the exporter's receiver has accepted nothing since 1970-01-01T00:01:00.000Z"] == scene.pipeline.problems()
    scene.status = 200
    scene.clock.advance(60)
    assert [] == scene.pipeline.problems()


def test_a_reload_to_the_same_settings_changes_nothing() -> None:
    """Connections stay open."""
    scene = Scene(**HOOK)
    scene.configure(**HOOK)
    assert ["http://x"] == scene.urls


def test_a_reload_to_another_receiver_sends_waiting_events_there() -> None:
    """Connections to the old receiver are closed."""
    scene = Scene(**HOOK)
    scene.pipeline.write(parcel(2))
    scene.clock.advance(GATHER_SECONDS)
    scene.pipeline.write(parcel(3))
    scene.configure(endpoint_url="http://y", flush_interval=1000)
    scene.clock.advance(GATHER_SECONDS)
    scene.clock.advance(1)
    assert ["http://x", "http://y"] == scene.urls
    assert (True, 0, 1) == (scene.senders[0].closed, len(scene.senders[0].sent), len(scene.senders[1].sent))
    assert 5 == scene.metrics.sum("exported")


def test_a_receiver_that_hangs_delays_its_successor_but_loses_nothing() -> None:
    """The same batch is never sent twice at one time."""
    scene = Scene(**HOOK, flush_interval=1000)
    scene.senders[0].answer = lambda headers, body: None
    scene.pipeline.write(parcel(2))
    scene.clock.advance(GATHER_SECONDS)
    scene.clock.advance(1)
    scene.configure(endpoint_url="http://y", flush_interval=1000)
    scene.pipeline.write(parcel(1))
    assert ["http://x"] == scene.urls
    scene.clock.pump([1.0] * 5)
    assert ["http://x", "http://y"] == scene.urls
    assert 3 == scene.metrics.sum("exported")


def test_an_exporter_that_is_removed_leaves_its_events_on_disk() -> None:
    """They are sent when an exporter is configured again."""
    scene = Scene(**HOOK, flush_interval=1000)
    scene.pipeline.write(parcel(2))
    scene.clock.advance(GATHER_SECONDS)
    scene.configure()
    scene.clock.advance(5)
    assert 2 == scene.waiting()
    scene.configure(**HOOK, flush_interval=1000)
    scene.clock.advance(1)
    assert 2 == scene.metrics.sum("exported")


def test_stop_writes_and_sends_waiting_events() -> None:
    """A regular stop loses no evaluation."""
    scene = Scene(**HOOK)
    scene.pipeline.write(parcel(4))
    assert Deferred.fromCoroutine(scene.pipeline.stop()).called
    assert (4, 0) == (scene.metrics.sum("exported"), scene.waiting())


@pytest_twisted.ensureDeferred
async def test_a_reload_from_file_to_webhook_loses_nothing(tmp_path: Path) -> None:
    """Events are written to the file before the webhook starts."""
    from twisted.internet import reactor  # noqa: TID251 - a real thread

    path = tmp_path / "events.jsonl"
    scene = Scene(reactor, kind="file", path=str(path))
    first = scene.pipeline.write(parcel(2))
    await first
    last = scene.pipeline.write(Parcel(counts=[(60, b'"key":"on"}', 2)]))
    await last
    scene.pipeline.write(parcel(2))
    scene.configure(**HOOK, flush_interval=100)
    scene.pipeline.write(parcel(4))
    for _ in range(100):
        if scene.metrics.sum("exported") >= 9:
            break
        await deferLater(reactor, 0.02)
    await scene.pipeline.stop()
    in_file = [json.loads(line) for line in path.read_text().splitlines()]
    assert 5 == len(in_file)
    assert 9 == scene.metrics.sum("exported")


def test_an_exporter_that_is_removed_while_its_disk_is_full_drops_what_waits(logged_errors) -> None:
    """It is counted, and its sender stops waiting."""
    scene = Scene(**HOOK)
    scene.broken(True)
    written = scene.pipeline.write(parcel(2))
    scene.configure()
    assert written.called
    assert 2 == scene.metrics.sum(f"dropped {DropReason.UNWANTED}")
    logged_errors.flush()


def test_check_reports_what_cannot_work(tmp_path: Path) -> None:
    """A file in a missing folder, a file in use, and a CA file without certificates."""
    scene = Scene()
    scene.pipeline.check(Settings())
    scene.pipeline.check(Settings(exporter=Exporter(kind="file", path=str(tmp_path / "new"))))
    with pytest.raises(ExporterUnusable, match=r"exporter\.path: .*No such file"):
        scene.pipeline.check(Settings(exporter=Exporter(kind="file", path=str(tmp_path / "no" / "file"))))
    used = r"exporter\.path: .*new is in use by another gateway"
    with LockFile(tmp_path / "new", hidden=True), pytest.raises(ExporterUnusable, match=used):
        scene.pipeline.check(Settings(exporter=Exporter(kind="file", path=str(tmp_path / "new"))))
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(TrustError, match=r"exporter\.ca_file holds no certificate"):
        scene.pipeline.check(Settings(exporter=Exporter(**HOOK, ca_file=str(tmp_path / "ca.pem"))))


def test_the_metrics_have_a_series_for_each_reason() -> None:
    """An alert on dropped evaluations has all labels from the start."""
    assert set(REASONS) == set(DropReason)
