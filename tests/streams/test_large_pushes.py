"""Pushes of a config with very many flags: evaluated in steps, with the frames of an evaluation at once."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import pytest

from gateway.flags import Snapshot, User, finish, load
from gateway.streams import HeartbeatWheel, Hub, Mode, StreamOptions, Subscriber, modes
from gateway.streams.cohort import DeltaCohort
from gateway.streams.impact import impact_of

FLAGS = 1_100
ANNA = User({"Identifier": "anna", "Email": "anna@example.org"})
BERT = User({"Identifier": "bert", "Email": "bert@example.com"})


class Client:
    """An outlet that keeps the events that are written to it."""

    def __init__(self) -> None:
        self.raw = b""

    def write(self, data: bytes) -> None:
        """Keep the bytes."""
        self.raw += data

    def finish(self) -> None:
        """Do nothing."""

    abort = finish

    @property
    def events(self) -> list[Any]:
        """The data of all events."""
        lines = self.raw.decode().split("\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


class NoMetrics:
    """Counts nothing."""

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Do nothing."""

    stream_closed = stream_opened

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Do nothing."""


@cache
def config(value: str, count: int = FLAGS) -> Snapshot:
    """Return a config whose flags serve ``value``, and another text to Anna; made once for all tests."""
    previous = None if (value, count) == ("one", FLAGS) else config("one")
    rule = {"c": [{"u": {"a": "Email", "c": 28, "s": "anna@example.org"}}], "s": {"v": {"s": f"{value} a"}, "i": "a"}}
    flags = {f"flag{n:05}": {"t": 1, "v": {"s": value}, "i": "v", "r": [rule]} for n in range(count)}
    return load(json.dumps({"p": {"s": "salt"}, "f": flags}).encode(), f'"{value}"', previous)


class Scene:
    """A hub with a large config."""

    def __init__(self) -> None:
        self.now = 0.0
        self.first = config("one")
        wheel = HeartbeatWheel(20, 60, lambda subscriber: subscriber.outlet.abort())
        self.hub = Hub("shop", self.first, wheel=wheel, now=lambda: self.now, rng=random.Random(1), metrics=NoMetrics())

    def watch(self, user: User, mode: Mode = "plain") -> tuple[Client, Subscriber]:
        """Open a stream of all flags."""
        client = Client()
        return client, self.hub.subscribe(None, user, client, StreamOptions(mode))

    def publish(self, snapshot: Snapshot) -> None:
        """Publish a config as the push loop does."""
        finish(self.hub.prepare_in_steps(snapshot))
        self.hub.publish(snapshot)

    def work(self, calls: int = 100_000) -> int:
        """Call ``work``, which is out of time after its first step; return how many calls it took."""
        for call in range(1, calls + 1):
            if self.hub.work(lambda: True):
                self.now += 10  # beyond the delay of OFREP events
                if self.hub.next_due() is None:
                    return call
        return calls


def test_every_mode_gets_its_event_after_many_short_calls() -> None:
    """Plain streams get all values, delta streams the changes, OFREP streams their call, each one event."""
    scene = Scene()
    plain, delta, ofrep = (scene.watch(ANNA, mode)[0] for mode in ("plain", "delta", "ofrep"))
    bert = scene.watch(BERT)[0]
    new = config("two")
    scene.publish(new)
    assert scene.work() >= 6
    assert [2, 2, 2] == [len(client.events) for client in (plain, delta, bert)]
    assert json.loads(new.evaluate_all(ANNA).json()) == plain.events[-1] == delta.events[-1]["changed"]
    assert json.loads(new.evaluate_all(BERT).json()) == bert.events[-1]
    assert "refetchEvaluation" == ofrep.events[-1]["type"]


def test_a_change_during_the_evaluation_replaces_its_target() -> None:
    """The values of the config in between are not sent."""
    scene, user = Scene(), User({"Identifier": "carl"})  # not evaluated by another test
    client, _ = scene.watch(user)
    second = config("two")
    scene.publish(second)
    scene.work(3)
    third = config("three")
    scene.publish(third)
    scene.work()
    assert [json.loads(each.evaluate_all(user).json()) for each in (scene.first, third)] == client.events


def test_a_stream_that_ends_during_its_evaluation_is_left_out() -> None:
    """The other streams get their events."""
    scene, leaving, staying = Scene(), User({"Identifier": "dora"}), User({"Identifier": "emil"})
    gone, subscriber = scene.watch(leaving)
    client, _ = scene.watch(staying)
    new = config("two")
    scene.publish(new)
    scene.work(3)
    subscriber.close()
    scene.work()
    assert json.loads(new.evaluate_all(staying).json()) == client.events[-1]
    assert 1 == len(gone.events)


def test_a_change_to_few_flags_has_the_removed_ones_in_its_patch() -> None:
    """The config before is large, the new one is not."""
    scene = Scene()
    plain, delta = scene.watch(ANNA)[0], scene.watch(ANNA, "delta")[0]
    new = config("one", 10)
    scene.publish(new)
    scene.work()
    assert json.loads(new.evaluate_all(ANNA).json()) == plain.events[-1]
    assert ({}, FLAGS - 10) == (delta.events[-1]["changed"], len(delta.events[-1]["removed"]))


def test_what_was_prepared_for_another_config_is_not_used() -> None:
    """A config that is published without its own preparation has the right events all the same."""
    scene = Scene()
    delta, _ = scene.watch(ANNA, "delta")
    finish(scene.hub.prepare_in_steps(config("three")))
    new = config("two")
    scene.hub.publish(new)
    scene.work()
    assert json.loads(new.evaluate_all(ANNA).json()) == delta.events[-1]["changed"]


def test_a_patch_is_collected_in_steps_for_its_own_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """The update has the frame of one without preparation; what was collected for one user is not sent to another."""
    monkeypatch.setattr(modes, "CHANGES_PER_STEP", 100)
    old, new = config("one"), config("two")
    impact = impact_of(old, new)
    prepared, direct = modes.DeltaEvents("shop"), modes.DeltaEvents("shop")
    anna, bert = (DeltaCohort(None, user) for user in (ANNA, BERT))
    assert FLAGS // 100 <= sum(1 for _ in prepared.evaluate_in_steps(impact, new, anna))
    for cohort in (bert, anna, bert):
        digest, _ = direct.full(old, cohort)
        update = prepared.update(impact, new, cohort, digest)
        assert direct.update(impact, new, cohort, digest) == update
        assert direct.full(new, cohort)[0] == update[0]
