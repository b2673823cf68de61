"""Carrying evaluations away: a few times a second, and no more at once than is taken."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gateway.export import Collector, Parcel
from gateway.export.forwarder import TICK_SECONDS, WINDOW_BYTES, Haul
from gateway.flags import User, load

FLAGS = load(b'{"p":{"s":"x"},"f":{"on":{"t":0,"v":{"b":true},"i":"v-on"}}}', '"1"')
ON = FLAGS.evaluate("on", None)
LONG = User({"Identifier": "x" * 100_000})


class Scene:
    """A haul whose parcels are kept when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.collector = Collector(self.clock.seconds, lambda: 0.5)
        self.taken: list[tuple[Parcel, Deferred[None]]] = []
        self.haul = Haul(self.clock, self.collector, self._deliver)
        self.haul.start()

    def _deliver(self, parcel: Parcel) -> Deferred[None]:
        kept: Deferred[None] = Deferred()
        self.taken.append((parcel, kept))
        return kept

    def evaluate(self, count: int, user: User) -> None:
        """Evaluate so many times."""
        for _ in range(count):
            self.collector.one(ON, user)


def test_what_was_evaluated_leaves_within_a_tick() -> None:
    """And only once."""
    scene = Scene()
    scene.evaluate(3, User({"Identifier": "anna"}))
    scene.clock.advance(TICK_SECONDS)
    scene.clock.advance(TICK_SECONDS)
    assert [3] == [parcel.count for parcel, _ in scene.taken]


def test_no_more_is_under_way_than_the_window() -> None:
    """The rest waits, bounded, and goes when there is room."""
    scene = Scene()
    count = 2 * WINDOW_BYTES // 100_000
    scene.evaluate(count, LONG)
    scene.clock.advance(TICK_SECONDS)
    flying = sum(parcel.size for parcel, _ in scene.taken)
    assert WINDOW_BYTES <= flying < WINDOW_BYTES + 512 * 1024
    scene.clock.advance(TICK_SECONDS)
    assert flying == sum(parcel.size for parcel, _ in scene.taken)
    for _ in range(3):
        for _, kept in scene.taken:
            if not kept.called:
                kept.callback(None)
        scene.clock.advance(TICK_SECONDS)
    assert count == sum(parcel.count for parcel, _ in scene.taken)


def test_a_parcel_that_is_not_taken_stops_nobody(logged_errors) -> None:
    """It is logged, and its room is free again."""
    scene = Scene()
    scene.evaluate(1, LONG)
    scene.clock.advance(TICK_SECONDS)
    scene.taken[0][1].errback(RuntimeError("no"))
    assert 1 == len(logged_errors.flush(RuntimeError))
    scene.evaluate(1, LONG)
    scene.clock.advance(TICK_SECONDS)
    assert 2 == len(scene.taken)


def test_at_the_end_everything_leaves_at_once() -> None:
    """Whatever is under way."""
    scene = Scene()
    scene.evaluate(2 * WINDOW_BYTES // 100_000, LONG)
    scene.haul.stop()
    scene.haul.empty()
    assert scene.collector.take() is None
    assert 2 * WINDOW_BYTES // 100_000 == sum(parcel.count for parcel, _ in scene.taken)
