"""The streams that a push reached, and when: per slice, thinned, merged."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from gateway.flags import Snapshot, User, load
from gateway.serving.push_loop import PushLoop
from gateway.settings import Sse
from gateway.streams import Counts, Reach, ReachMeter, StreamOptions, quantile, thinned
from gateway.streams.reach import POINTS
from gateway.telemetry import Metrics

POINT = st.tuples(st.floats(0, 1e4), st.integers(1, 1000))


@given(st.lists(POINT, max_size=1000), st.sampled_from([0.01, 0.5, 0.99, 1.0]))
def test_thinned_points_keep_first_last_count_and_quantiles(points: list[tuple[float, int]], share: float) -> None:
    """The number of points is bounded; a quantile is that of a share which is at most one point larger."""
    found = thinned(points)
    ordered = sorted(points)
    assert sum(count for _, count in found) == sum(count for _, count in points)
    assert len(found) <= POINTS + 1
    if points:
        assert (ordered[0], ordered[-1][0]) == (found[0], found[-1][0])
        least, exact = quantile(found, share), quantile(ordered, share)
        assert least is not None
        assert exact is not None
        assert least >= exact


def test_there_is_no_quantile_of_nothing() -> None:
    """A change that no stream sees has no durations."""
    assert quantile([], 0.5) is None
    assert 1.0 == quantile([(1.0, 1), (2.0, 1)], 0.5)
    assert 2.0 == quantile([(1.0, 1), (2.0, 1)], 0.51)


def test_a_meter_reports_what_was_added() -> None:
    """Once at the end, and what follows by itself; nothing without a reason."""
    meter = ReachMeter("shop", "tag", 10.0, Counts(5, 5, 5))
    meter.slice(10.5, Counts(8, 7, 5))
    meter.slice(11.0, Counts(8, 7, 6))
    assert Reach("shop", "tag", 10.0, [(0.5, 3)], 2, 1, ended=True) == meter.take(ended=True)
    assert meter.take(ended=False) is None
    meter.slice(12.0, Counts(8, 7, 9))
    assert Reach("shop", "tag", 10.0, [], 0, 3, ended=False) == meter.take(ended=False)


class Client:
    """An outlet that drops everything."""

    def write(self, data: bytes) -> None:
        """Drop the data."""

    finish = abort = lambda self: None


def config(value: str) -> Snapshot:
    rule = {"c": [{"u": {"a": "Country", "c": 28, "s": "DE"}}], "s": {"v": {"s": value}}}
    return load(json.dumps({"f": {"a": {"t": 1, "v": {"s": "x"}, "r": [rule]}}}).encode(), value)


class Scene:
    """A push loop of an SDK with German and French users."""

    def __init__(self, tick: float = 0.0) -> None:
        self.clock = Ticking(tick)
        self.loop = PushLoop(self.clock, random.Random(1), Metrics(lambda: 0.0, "test"), Sse())
        self.reaches: list[Reach] = []
        self.loop.on_reached = self.reaches.append
        self.loop.add("shop", config("first"))

    def open(self, country: str, count: int, options: StreamOptions = StreamOptions()) -> None:  # noqa: B008 - frozen
        """Open streams of so many users of a country."""
        for number in range(count):
            user = User({"Identifier": str(number), "Country": country})
            self.loop.hubs["shop"].subscribe(None, user, Client(), options)

    def publish(self, value: str) -> str:
        """Publish a config and return its tag."""
        snapshot = config(value)
        self.loop.publish("shop", snapshot)
        return snapshot.tag


class Ticking(Clock):
    """A clock that goes on by ``tick`` seconds each time it is read."""

    def __init__(self, tick: float) -> None:
        super().__init__()
        self.tick = tick

    def seconds(self) -> float:
        """Return the time."""
        self.rightNow += self.tick
        return self.rightNow


def test_a_push_reports_the_streams_and_users_that_got_an_event() -> None:
    """Not those whose values did not change; two streams of one user are one user."""
    scene = Scene()
    scene.open("DE", 3)
    scene.open("DE", 1)
    scene.open("FR", 5)
    tag = scene.publish("second")
    assert [] == scene.reaches
    scene.clock.advance(0.25)
    assert [Reach("shop", tag, 0.0, [(0.25, 4)], 3, 0, ended=True)] == scene.reaches
    again = scene.publish("second")
    scene.clock.advance(0)
    assert Reach("shop", again, 0.25, [], 0, 0, ended=True) == scene.reaches[-1]


def test_a_long_push_has_a_point_per_slice() -> None:
    """The seconds are those after the slice, when its events were written."""
    scene = Scene(tick=0.0005)
    scene.open("DE", 500)
    scene.publish("second")
    while not scene.reaches:
        scene.clock.advance(0)
    (reach,) = scene.reaches
    assert 500 == sum(count for _, count in reach.points) == reach.users
    assert len(reach.points) > 10
    assert reach.points == sorted(reach.points)


def test_paced_events_are_reported_when_all_are_sent() -> None:
    """They do not prolong the push."""
    scene = Scene()
    scene.open("DE", 2)
    scene.open("DE", 50, StreamOptions("ofrep"))
    tag = scene.publish("second")
    scene.clock.advance(0)
    scene.clock.pump([0.01] * 50)
    assert [(tag, [(0.0, 2)], 2, True), (tag, [], 0, False)] == [
        (each.tag, each.points, each.users, each.ended) for each in scene.reaches
    ]
    assert 50 == sum(each.paced for each in scene.reaches)


def test_a_push_that_is_replaced_reports_what_it_reached() -> None:
    """It has no end; the rest is reached with the newer config."""
    scene = Scene(tick=0.0005)
    scene.open("DE", 100)
    scene.clock.callLater(0.02, scene.publish, "third")  # the clock goes on during the push
    first = scene.publish("second")
    while not (scene.reaches and scene.reaches[-1].ended):
        scene.clock.advance(0)
    assert [(first, False), (config("third").tag, True)] == [(each.tag, each.ended) for each in scene.reaches]
    assert 0 < sum(count for _, count in scene.reaches[0].points) < 100


def test_a_first_config_is_no_change() -> None:
    """A worker that starts gets the config in use, which is not pushed again."""
    scene = Scene()
    scene.loop.add("new", None)
    scene.loop.publish("new", config("first"))
    scene.clock.advance(0)
    assert [] == scene.reaches
    scene.loop.remove("new")
    scene.publish("second")
    scene.clock.advance(0)
    assert pytest.approx(0.0) == scene.reaches[0].started
