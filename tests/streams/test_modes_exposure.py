"""What is told of events of streams: the outcomes they show, for each reader that got them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest

from gateway.flags import Result, Snapshot, User, load
from gateway.streams import ExposureRecorder, HeartbeatWheel, Hub, StreamOptions, Subscriber
from web_memory import NoMeter

ANNA = User({"Identifier": "anna"})
Shown = list[tuple[list[str], int]]


def config(**flags: bool) -> Snapshot:
    """A config of boolean flags."""
    body = {"f": {key: {"t": 0, "v": {"b": value}, "i": f"v-{value}"} for key, value in flags.items()}}
    return load(json.dumps(body).encode(), "")


class Nowhere:
    """An outlet that swallows everything, or breaks."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken

    def write(self, data: bytes) -> None:
        """Swallow."""
        if self.broken and b"data" in data:
            raise OSError

    def finish(self) -> None:
        """Nothing to end."""

    abort = finish


class Scene:
    """A hub whose exposures are noted: keys and readers."""

    def __init__(self, *, all_flags: bool = True) -> None:
        self.hub = Hub(
            "sdk", config(a=True, b=True), wheel=HeartbeatWheel(20, 60, lambda _: None), now=lambda: 0.0,
            rng=random.Random(1), metrics=NoMeter(), on_write_error=lambda *_: None,
        )  # fmt: skip
        self.hub.exposures = ExposureRecorder(self._tell, all_flags=all_flags)
        self._told: Shown = []

    def _tell(self, results: Sequence[Result], user: User | None, times: int) -> None:
        assert user == ANNA
        self._told.append((sorted(f"{result.key}={result.value}" for result in results), times))

    def open(self, key: str | None = None, mode: str = "plain", **outlet: bool) -> Subscriber:
        """Open a stream."""
        return self.hub.subscribe(key, ANNA, Nowhere(**outlet), StreamOptions(mode))

    def publish(self, **flags: bool) -> None:
        """Push a new config to everybody."""
        self.hub.publish(config(**flags))
        assert self.hub.work(lambda: False)

    def told(self) -> Shown:
        """What was told since last asked."""
        told, self._told = self._told, []
        return told


def test_one_event_for_several_readers_is_told_once_with_their_number() -> None:
    """The first event of each is its own."""
    scene = Scene()
    for _ in range(3):
        scene.open("a")
    assert [(["a=True"], 1)] * 3 == scene.told()
    scene.publish(a=False, b=True)
    assert [(["a=False"], 3)] == scene.told()


def test_patches_tell_what_they_hold() -> None:
    """A flag that is gone has no outcome."""
    scene = Scene()
    scene.open(None, "delta")
    assert [(["a=True", "b=True"], 1)] == scene.told()
    scene.publish(b=False)
    assert [(["b=False"], 1)] == scene.told()
    scene.publish()
    assert [] == scene.told()


def test_a_reader_that_was_paused_is_told_of_what_it_got_in_the_end() -> None:
    """Not of what it missed."""
    scene = Scene()
    readers = [scene.open(None, "delta"), scene.open("a")]
    scene.told()
    for reader in readers:
        reader.pause()
    scene.publish(a=False, b=True)
    scene.publish(a=False, b=False)
    assert [] == scene.told()
    for reader in readers:
        reader.resume()
    assert [(["a=False", "b=False"], 1), (["a=False"], 1)] == scene.told()


def test_who_could_not_be_written_to_does_not_count() -> None:
    """The others do."""
    scene = Scene()
    scene.open("a")
    broken = scene.open("a")
    scene.told()
    broken.outlet.broken = True
    scene.publish(a=False, b=True)
    assert [(["a=False"], 1)] == scene.told()


@pytest.mark.parametrize(("key", "mode"), [(None, "plain"), (None, "delta"), (None, "ofrep")])
def test_streams_of_all_flags_count_only_where_that_is_asked_for(key: str | None, mode: str) -> None:
    """Calls to ask again never do."""
    scene = Scene(all_flags=False)
    scene.open(key, mode)
    scene.publish(a=False, b=True)
    assert [] == scene.told()
