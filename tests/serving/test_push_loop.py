"""The loop over the hubs: slices, calls whose turn comes later, and what a push is measured by."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from twisted.internet.task import Clock

from gateway.flags import User, load
from gateway.serving.push_loop import PushLoop
from gateway.settings import Sse
from gateway.streams import StreamOptions
from gateway.telemetry import NoMetrics


class Reader:
    """An outlet that keeps when it was written to."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.times: list[float] = []

    def write(self, data: bytes) -> None:
        """Keep the time of an event."""
        if b"data:" in data:
            self.times.append(self.clock.seconds())

    def finish(self) -> None:
        """Nothing to end."""

    abort = finish


class Measured(NoMetrics):
    """Keeps how long each push took."""

    def __init__(self) -> None:
        self.pushes: list[float] = []

    def pushed(self, sdk: str, seconds: float) -> None:
        """Keep the time."""
        self.pushes.append(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def config(value: bool) -> Any:
    return load(json.dumps({"f": {"a": {"t": 0, "v": {"b": value}}}}).encode(), str(value))


def run(clock: Clock, seconds: float) -> None:
    """Let time pass in small steps."""
    for _ in range(round(seconds / 0.001)):
        clock.advance(0.001)


def test_postponed_calls_leave_in_their_turn_and_no_timer_is_left(clock: Clock) -> None:
    """Calls of OFREP go out over time, others at once; then the loop rests, and a push was measured once."""
    metrics = Measured()
    push_loop = PushLoop(clock, random.Random(1), metrics, Sse())
    push_loop.add("shop", config(True))
    clock.advance(60)
    plain = Reader(clock)
    push_loop.hubs["shop"].subscribe(None, None, plain)
    called = [Reader(clock) for _ in range(400)]
    for number, reader in enumerate(called):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": str(number)}), reader, StreamOptions("ofrep"))
    push_loop.publish("shop", config(False))
    run(clock, 1)
    assert [60, pytest.approx(60.001)] == plain.times
    times = sorted(time for reader in called for time in reader.times)
    assert (400, True) == (len(times), 60 < times[200] < 60.15 < times[-1] < 60.25)
    assert [pytest.approx(0.001)] == metrics.pushes
    assert [] == clock.getDelayedCalls()


def test_a_stop_ends_what_was_postponed(clock: Clock) -> None:
    """After a stop no timer is left, whatever had not been sent."""
    push_loop = PushLoop(clock, random.Random(1), NoMetrics(), Sse())
    push_loop.add("shop", config(True))
    push_loop.start()
    clock.advance(60)
    for number in range(10):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": str(number)}), Reader(clock), StreamOptions("ofrep"))
    push_loop.publish("shop", config(False))
    clock.advance(0)
    push_loop.stop()
    assert [] == clock.getDelayedCalls()


def test_an_sdk_that_is_removed_takes_its_postponed_calls_along(clock: Clock) -> None:
    """Nothing is raised when the time of a removed SDK's calls comes."""
    push_loop = PushLoop(clock, random.Random(1), NoMetrics(), Sse())
    push_loop.add("shop", config(True))
    clock.advance(60)
    reader = Reader(clock)
    push_loop.hubs["shop"].subscribe(None, None, reader, StreamOptions("ofrep"))
    push_loop.publish("shop", config(False))
    clock.advance(0)
    push_loop.remove("shop")
    run(clock, 0.1)
    assert ([], []) == (reader.times, clock.getDelayedCalls())


class Broken(Reader):
    """An outlet that breaks its promise once it is open."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.aborted = False
        self.open = False

    def write(self, data: bytes) -> None:
        """Raise, but for the first frame."""
        if self.open:
            raise RuntimeError("out of order")
        self.open = True

    def abort(self) -> None:
        """Note that the hub gave up."""
        self.aborted = True


def test_an_outlet_that_raises_is_dropped_and_everybody_else_is_served(clock: Clock, logged_errors: Any) -> None:
    """One connection's fault stops neither its cohort nor the push."""
    push_loop = PushLoop(clock, random.Random(1), NoMetrics(), Sse())
    push_loop.add("shop", config(True))
    outlets: list[Reader] = [Broken(clock) if number == 2 else Reader(clock) for number in range(5)]
    for number, outlet in enumerate(outlets):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": str(number // 3)}), outlet)
    push_loop.publish("shop", config(False))
    run(clock, 0.1)
    assert [2, 2, 0, 2, 2] == [len(outlet.times) for outlet in outlets]
    assert outlets[2].aborted  # type: ignore[attr-defined]
    assert 1 == len(logged_errors.flush())


def test_a_user_who_cannot_be_evaluated_does_not_stop_the_push(
    clock: Clock, logged_errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours costs one user an update, not the others."""
    push_loop = PushLoop(clock, random.Random(1), NoMetrics(), Sse())
    push_loop.add("shop", config(True))
    readers = [Reader(clock) for _ in range(4)]
    for number, reader in enumerate(readers):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": str(number)}), reader)
    changed = config(False)
    encode = type(changed).show_all

    def failing(self: Any, user: User) -> tuple[bytes, int]:
        if user.attributes["Identifier"] == "1":
            raise ZeroDivisionError
        return encode(self, user)

    monkeypatch.setattr(type(changed), "show_all", failing)
    push_loop.publish("shop", changed)
    run(clock, 0.1)
    assert [2, 1, 2, 2] == [len(reader.times) for reader in readers]
    assert 1 == len(logged_errors.flush())
    with pytest.raises(ZeroDivisionError):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": "1"}), Reader(clock))
    assert 4 == push_loop.stream_count


@pytest.mark.parametrize(("window", "last"), [(0, 0), (3, 2), (1e15, 1e15 * 2 / 3)])
def test_a_drain_takes_one_timer_per_stream_at_most(clock: Clock, window: float, last: float) -> None:
    """Streams end evenly over the window, and a window without measure costs no more than a short one."""

    class Ending(Reader):
        def finish(self) -> None:
            self.times.append(self.clock.seconds())

    push_loop = PushLoop(clock, random.Random(1), NoMetrics(), Sse())
    push_loop.add("shop", config(True))
    readers = [Ending(clock) for _ in range(3)]
    for reader in readers:
        push_loop.hubs["shop"].subscribe(None, None, reader)
        reader.times.clear()
    push_loop.drain(window)
    assert len(clock.getDelayedCalls()) <= 3
    for _ in range(3):
        clock.advance(window / 3)
    assert [pytest.approx(last)] == sorted(time for reader in readers for time in reader.times)[-1:]
