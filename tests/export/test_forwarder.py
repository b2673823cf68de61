"""Forwarding evaluations: a few times a second, and no more at once than the window."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gateway.export import Collector, Parcel
from gateway.export.forwarder import TICK_SECONDS, WINDOW_BYTES, Forwarder
from gateway.flags import User, load

FLAGS = load(b'{"p":{"s":"x"},"f":{"on":{"t":0,"v":{"b":true},"i":"v-on"}}}', '"1"')
ON = FLAGS.evaluate("on", None)
LONG = User({"Identifier": "x" * 100_000})


class Scene:
    """A forwarder whose parcels are written when the test fires their Deferreds."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.collector = Collector(self.clock.seconds, lambda: 0.5)
        self.taken: list[tuple[Parcel, Deferred[None]]] = []
        self.forwarder = Forwarder(self.clock, self.collector, self._write)
        self.forwarder.start()

    def _write(self, parcel: Parcel) -> Deferred[None]:
        written: Deferred[None] = Deferred()
        self.taken.append((parcel, written))
        return written

    def evaluate(self, count: int, user: User) -> None:
        """Evaluate so many times."""
        for _ in range(count):
            self.collector.record(ON, user)


def test_evaluations_are_forwarded_within_a_tick() -> None:
    """They are forwarded once."""
    scene = Scene()
    scene.evaluate(3, User({"Identifier": "anna"}))
    scene.clock.advance(TICK_SECONDS)
    scene.clock.advance(TICK_SECONDS)
    assert [3] == [parcel.count for parcel, _ in scene.taken]


def test_no_more_than_the_window_is_forwarded_at_once() -> None:
    """The rest waits in the collector until parcels are written."""
    scene = Scene()
    count = 2 * WINDOW_BYTES // 100_000
    scene.evaluate(count, LONG)
    scene.clock.advance(TICK_SECONDS)
    unwritten = sum(parcel.size for parcel, _ in scene.taken)
    assert WINDOW_BYTES <= unwritten < WINDOW_BYTES + 512 * 1024
    scene.clock.advance(TICK_SECONDS)
    assert unwritten == sum(parcel.size for parcel, _ in scene.taken)
    for _ in range(3):
        for _, written in scene.taken:
            if not written.called:
                written.callback(None)
        scene.clock.advance(TICK_SECONDS)
    assert count == sum(parcel.count for parcel, _ in scene.taken)


def test_a_parcel_that_cannot_be_written_does_not_stop_the_others(logged_errors) -> None:
    """It is logged, and no longer counts towards the window."""
    scene = Scene()
    scene.evaluate(1, LONG)
    scene.clock.advance(TICK_SECONDS)
    scene.taken[0][1].errback(RuntimeError("no"))
    assert 1 == len(logged_errors.flush(RuntimeError))
    scene.evaluate(1, LONG)
    scene.clock.advance(TICK_SECONDS)
    assert 2 == len(scene.taken)


def test_flush_forwards_everything_at_once() -> None:
    """The window does not apply."""
    scene = Scene()
    scene.evaluate(2 * WINDOW_BYTES // 100_000, LONG)
    scene.forwarder.stop()
    scene.forwarder.flush()
    assert scene.collector.take() is None
    assert 2 * WINDOW_BYTES // 100_000 == sum(parcel.count for parcel, _ in scene.taken)
