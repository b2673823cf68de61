"""The evaluation results that are reported for events of streams."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest

from gateway.flags import Result, Snapshot, User, load
from gateway.streams import ExposureRecorder, HeartbeatWheel, Hub, StreamOptions, Subscriber
from web_memory import NoMetrics

ANNA = User({"Identifier": "anna"})
Reports = list[tuple[list[str], int]]  # results as text, and the number of subscribers


def config(**flags: bool) -> Snapshot:
    """A config of boolean flags."""
    body = {"f": {key: {"t": 0, "v": {"b": value}, "i": f"v-{value}"} for key, value in flags.items()}}
    return load(json.dumps(body).encode(), "")


class Discarding:
    """An outlet that discards everything, or raises."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken

    def write(self, data: bytes) -> None:
        """Discard."""
        if self.broken and b"data" in data:
            raise OSError

    def finish(self) -> None:
        """Nothing to end."""

    abort = finish


class Scene:
    """A hub that reports to the test."""

    def __init__(self, *, all_flags: bool = True) -> None:
        self.hub = Hub(
            "sdk", config(a=True, b=True), wheel=HeartbeatWheel(20, 60, lambda _: None), now=lambda: 0.0,
            rng=random.Random(1), metrics=NoMetrics(), on_write_error=lambda *_: None,
        )  # fmt: skip
        self.hub.exposures = ExposureRecorder(self._record, all_flags=all_flags)
        self._reports: Reports = []

    def _record(self, results: Sequence[Result], user: User | None, times: int) -> None:
        assert user == ANNA
        self._reports.append((sorted(f"{result.key}={result.value}" for result in results), times))

    def open(self, key: str | None = None, mode: str = "plain", **outlet: bool) -> Subscriber:
        """Open a stream."""
        return self.hub.subscribe(key, ANNA, Discarding(**outlet), StreamOptions(mode))

    def publish(self, **flags: bool) -> None:
        """Push a new config to all streams."""
        self.hub.publish(config(**flags))
        assert self.hub.work(lambda: False)

    def reports(self) -> Reports:
        """Return the reports since the last call."""
        reports, self._reports = self._reports, []
        return reports


def test_an_event_to_several_subscribers_is_reported_once_with_their_number() -> None:
    """The first event of each stream is reported for itself."""
    scene = Scene()
    for _ in range(3):
        scene.open("a")
    assert [(["a=True"], 1)] * 3 == scene.reports()
    scene.publish(a=False, b=True)
    assert [(["a=False"], 3)] == scene.reports()


def test_a_patch_reports_the_changed_flags() -> None:
    """A deleted flag has no result."""
    scene = Scene()
    scene.open(None, "delta")
    assert [(["a=True", "b=True"], 1)] == scene.reports()
    scene.publish(b=False)
    assert [(["b=False"], 1)] == scene.reports()
    scene.publish()
    assert [] == scene.reports()


def test_a_paused_subscriber_is_reported_with_what_it_gets_on_resuming() -> None:
    """The values that it missed are not reported."""
    scene = Scene()
    clients = [scene.open(None, "delta"), scene.open("a")]
    scene.reports()
    for client in clients:
        client.pause()
    scene.publish(a=False, b=True)
    scene.publish(a=False, b=False)
    assert [] == scene.reports()
    for client in clients:
        client.resume()
    assert [(["a=False", "b=False"], 1), (["a=False"], 1)] == scene.reports()


def test_a_subscriber_whose_write_fails_is_not_counted() -> None:
    """The others are."""
    scene = Scene()
    scene.open("a")
    broken = scene.open("a")
    scene.reports()
    broken.outlet.broken = True
    scene.publish(a=False, b=True)
    assert [(["a=False"], 1)] == scene.reports()


@pytest.mark.parametrize(("key", "mode"), [(None, "plain"), (None, "delta"), (None, "ofrep")])
def test_streams_of_all_flags_are_reported_only_if_configured(key: str | None, mode: str) -> None:
    """OFREP events never are."""
    scene = Scene(all_flags=False)
    scene.open(key, mode)
    scene.publish(a=False, b=True)
    assert [] == scene.reports()
