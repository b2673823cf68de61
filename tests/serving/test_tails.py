"""Tails of streams in one process: which events, and why."""

from __future__ import annotations

import json
import random
from typing import Any

from twisted.internet.task import Clock

from gateway.flags import Snapshot, User, load
from gateway.serving.push_loop import PushLoop
from gateway.serving.tails import Tails
from gateway.settings import Sse
from gateway.streams import ExposureRecorder, StreamOptions, TailEvent
from gateway.streams.tail import FLAGS, PENDING
from gateway.telemetry import Metrics


class Client:
    """An outlet that drops everything."""

    def write(self, data: bytes) -> None:
        """Drop the data."""

    finish = abort = lambda self: None


def config(german: str, **flags: Any) -> Snapshot:
    """Return a config whose flag ``a`` has this value for Germans."""
    rule = {"c": [{"u": {"a": "Country", "c": 28, "s": "DE"}}], "s": {"v": {"s": german}}}
    return load(json.dumps({"f": {"a": {"t": 1, "v": {"s": "x"}, "r": [rule]}, **flags}}).encode(), german)


class Scene:
    """A push loop with two streams of Anna, from Germany, and one of Zoe, from France."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = PushLoop(self.clock, random.Random(1), Metrics(lambda: 0.0, "test"), Sse())
        self.tails = Tails(self.clock, self.loop)
        self.events: list[TailEvent] = []
        self.loop.add("shop", config("one"))
        self.subscribe("anna", "DE")
        self.subscribe("anna", "DE")
        self.subscribe("zoe", "FR")

    def subscribe(self, name: str, country: str, key: str | None = None, mode: Any = "plain") -> None:
        """Open a stream."""
        user = User({"Identifier": name, "Country": country})
        self.loop.hubs["shop"].subscribe(key, user, Client(), StreamOptions(mode))

    def tail(self, key: str | None = None, **criteria: str) -> Any:
        """Open a tail, and return what closes it."""
        close = self.tails.open("shop", criteria, key, self.events.append)
        self.clock.pump([0] * 10)
        return close

    def publish(self, snapshot: Snapshot) -> None:
        """Publish a config."""
        self.loop.publish("shop", snapshot)
        self.clock.pump([0] * 200)

    def kinds(self) -> list[tuple[str, int]]:
        """Return kind and streams of the events."""
        return [(each.kind, each.streams) for each in self.events]


def test_an_event_has_values_and_rules_before_and_after() -> None:
    """Only of the user's streams; a change that does not concern the user has no event."""
    scene = Scene()
    scene.tail(Identifier="anna")
    second = config("two")
    scene.publish(second)
    scene.publish(config("two", other={"t": 0, "v": {"b": True}}))
    assert [("open", 2), ("changes", 2), ("changes", 2)] == scene.kinds()
    event = scene.events[1]
    (flag,) = event.flags
    assert (second.tag, None, "plain", 0, 0) == (event.tag, event.flag, event.mode, event.more, event.missed)
    assert ("a", "one", "two") == (
        flag.key, json.loads(flag.before or b"")["value"], json.loads(flag.after or b"")["value"],
    )  # fmt: skip
    assert flag.decided_before == flag.decided_after == "rule 1: User.Country EQUALS 'DE'"
    (created,) = scene.events[2].flags
    assert ("other", None, None, "default value") == (
        created.key, created.before, created.decided_before, created.decided_after,
    )  # fmt: skip
    scene.tail(Identifier="zoe")
    scene.publish(config("three", other={"t": 0, "v": {"b": True}}))
    assert [("open", 1), ("changes", 2)] == scene.kinds()[3:]


def test_a_stream_that_opens_is_sent_all_values() -> None:
    """With what decided each of them."""
    scene = Scene()
    scene.tail(Country="DE")
    scene.subscribe("berta", "DE")
    scene.clock.pump([0] * 10)
    assert [("open", 2), ("values", 1)] == scene.kinds()
    assert [("a", None, "rule 1: User.Country EQUALS 'DE'")] == [
        (each.key, each.before, each.decided_after) for each in scene.events[1].flags
    ]


def test_a_tail_of_one_flag_and_other_modes() -> None:
    """Streams of all flags are not followed with a flag; OFREP streams show what causes their call."""
    scene = Scene()
    scene.subscribe("anna", "DE", "a", "delta")
    scene.subscribe("anna", "DE", "b")
    scene.tail("a", Identifier="anna")
    scene.publish(config("two"))
    assert [("open", 1), ("changes", 1)] == scene.kinds()
    assert ("a", "delta") == (scene.events[1].flag, scene.events[1].mode)
    scene.subscribe("olga", "DE", None, "ofrep")
    scene.tail(Identifier="olga")
    scene.publish(config("three"))
    scene.clock.pump([0.01] * 20)
    assert ("changes", "ofrep") == (scene.events[-1].kind, scene.events[-1].mode)


def test_queue_and_flags_are_bounded() -> None:
    """What does not fit is counted, in the event that follows and in the event itself."""
    scene = Scene()
    scene.tail(Country="DE")
    for number in range(PENDING + 5):
        scene.subscribe(str(number), "DE")
    scene.clock.pump([0] * 1000)
    scene.subscribe("last", "DE")
    scene.clock.pump([0] * 10)
    assert (1 + PENDING + 1, 5) == (len(scene.events), sum(each.missed for each in scene.events))
    flags = {f"flag-{number}": {"t": 0, "v": {"b": True}} for number in range(FLAGS + 10)}
    scene.tail(Identifier="anna")
    scene.publish(config("two", **flags))
    event = scene.events[-1]
    assert (FLAGS, 11) == (len(event.flags), event.more)


def test_a_closed_tail_observes_nothing() -> None:
    """The hub has no observer but the exporter's, if there is one; an SDK that comes back is observed."""
    scene = Scene()
    close = scene.tail(Identifier="anna")
    hub = scene.loop.hubs["shop"]
    assert hub.exposures is not None
    scene.loop.remove("shop")
    scene.loop.add("shop", config("one"))
    scene.subscribe("anna", "DE")
    scene.clock.pump([0] * 10)
    assert ("values", 1) == scene.kinds()[-1]
    seen: list[Any] = []
    recorder = ExposureRecorder(lambda *arguments: seen.append(arguments), all_flags=True)
    scene.loop.record_exposures(recorder)
    scene.publish(config("two"))
    assert ("changes", 1) == scene.kinds()[-1]
    assert 1 == len(seen)
    close()
    assert scene.loop.hubs["shop"].exposures is recorder
    scene.loop.record_exposures(None)
    assert scene.loop.hubs["shop"].exposures is None
    count = len(scene.events)
    scene.publish(config("three"))
    assert count == len(scene.events)


def test_a_value_that_is_long_is_described() -> None:
    """An event stays small."""
    scene = Scene()
    scene.tail(Identifier="anna")
    scene.publish(config("x" * 2_000))
    (flag,) = scene.events[-1].flags
    assert json.loads(flag.after or b"")["value"].endswith(" bytes)")
