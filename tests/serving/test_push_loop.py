"""The push loop: slices, paced events, and the duration of a push."""

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
from gateway.streams.sse import HEARTBEAT
from gateway.telemetry import Metrics
from gateway.web.server import PlainWriter


class Client:
    """An outlet that keeps the times of its events."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.times: list[float] = []
        self.heartbeats = 0
        self.ended = False

    def write(self, data: bytes) -> None:
        """Keep the time of an event; ``recovered`` needs no action."""
        self.heartbeats += data == HEARTBEAT
        if b"data:" in data and b"event: recovered" not in data:
            self.times.append(self.clock.seconds())

    def finish(self) -> None:
        """Keep that the stream has ended."""
        self.ended = True

    abort = finish


class MeasuredPushes(Metrics):
    """Keeps the duration of each push."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0, "test")
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


def test_paced_events_are_sent_at_their_times_and_no_timer_is_left(clock: Clock) -> None:
    """OFREP events are sent over time, others at once; the duration of the push is reported once."""
    metrics = MeasuredPushes()
    push_loop = PushLoop(clock, random.Random(1), metrics, Sse())
    push_loop.add("shop", config(True))
    clock.advance(60)
    plain = Client(clock)
    push_loop.hubs["shop"].subscribe(None, None, plain)
    ofrep = [Client(clock) for _ in range(400)]
    for number, client in enumerate(ofrep):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": str(number)}), client, StreamOptions("ofrep"))
    push_loop.publish("shop", config(False))
    run(clock, 1)
    assert [60, pytest.approx(60.001)] == plain.times
    times = sorted(time for client in ofrep for time in client.times)
    assert (400, True) == (len(times), 60 < times[200] < 60.15 < times[-1] < 60.25)
    assert [pytest.approx(0.001)] == metrics.pushes
    assert [] == clock.getDelayedCalls()


def test_a_stop_cancels_paced_events(clock: Clock) -> None:
    """After a stop no timer is left."""
    push_loop = PushLoop(clock, random.Random(1), Metrics(lambda: 0.0, "test"), Sse())
    push_loop.add("shop", config(True))
    push_loop.start()
    clock.advance(60)
    for number in range(10):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": str(number)}), Client(clock), StreamOptions("ofrep"))
    push_loop.publish("shop", config(False))
    clock.advance(0)
    push_loop.stop()
    assert [] == clock.getDelayedCalls()


def test_removing_an_sdk_cancels_its_paced_events(clock: Clock) -> None:
    """The loop continues without an error when they would have been due."""
    push_loop = PushLoop(clock, random.Random(1), Metrics(lambda: 0.0, "test"), Sse())
    push_loop.add("shop", config(True))
    clock.advance(60)
    client = Client(clock)
    push_loop.hubs["shop"].subscribe(None, None, client, StreamOptions("ofrep"))
    push_loop.publish("shop", config(False))
    clock.advance(0)
    push_loop.remove("shop")
    run(clock, 0.1)
    assert ([], []) == (client.times, clock.getDelayedCalls())


class Broken(Client):
    """An outlet that raises on all writes but the first."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.aborted = False
        self.open = False

    def write(self, data: bytes) -> None:
        """Raise once the first frame is written."""
        if self.open:
            raise RuntimeError("out of order")
        self.open = True

    def abort(self) -> None:
        """Record the call."""
        self.aborted = True


def test_an_outlet_that_raises_is_dropped_and_all_others_are_served(clock: Clock, logged_errors: Any) -> None:
    """A fault of one connection stops neither its cohort nor the push."""
    push_loop = PushLoop(clock, random.Random(1), Metrics(lambda: 0.0, "test"), Sse())
    push_loop.add("shop", config(True))
    outlets: list[Client] = [Broken(clock) if number == 2 else Client(clock) for number in range(5)]
    for number, outlet in enumerate(outlets):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": str(number // 3)}), outlet)
    push_loop.publish("shop", config(False))
    run(clock, 0.1)
    assert [2, 2, 0, 2, 2] == [len(outlet.times) for outlet in outlets]
    assert outlets[2].aborted  # type: ignore[attr-defined]
    assert 1 == len(logged_errors.flush())


class OutOfOrder(Client):
    """An outlet that raises whatever is done with it, once it is open."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.open = False

    def write(self, data: bytes) -> None:
        """Raise once the first frame is written."""
        if self.open:
            raise RuntimeError("out of order")
        self.open = True

    def finish(self) -> None:
        """Raise."""
        raise RuntimeError("out of order")

    abort = finish


def streams_with_one_out_of_order(clock: Clock, sse: Sse) -> tuple[PushLoop, list[Client]]:
    """Return a loop with three streams in one slot of the wheel's first turn each, the second out of order."""
    push_loop = PushLoop(clock, random.Random(1), Metrics(lambda: 0.0, "test"), sse)
    push_loop.start()
    push_loop.add("shop", config(True))
    outlets: list[Client] = [Client(clock), OutOfOrder(clock), Client(clock)]
    for number, outlet in enumerate(outlets):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": str(number)}), outlet)
    return push_loop, outlets


def test_heartbeats_go_on_beside_a_connection_that_raises(clock: Clock, logged_errors: Any) -> None:
    """It is dropped; as even that fails it is forgotten, so that it costs two lines in the log and not one per lap."""
    push_loop, outlets = streams_with_one_out_of_order(clock, Sse(heart_beat_interval=0.25))
    run(clock, 2)
    assert 2 == push_loop.stream_count
    assert outlets[0].heartbeats > 4
    assert outlets[2].heartbeats > 4
    assert 2 == len(logged_errors.flush())
    push_loop.stop()


def test_a_stalled_connection_that_cannot_be_dropped_is_forgotten(clock: Clock, logged_errors: Any) -> None:
    """The other streams of its slot have their heartbeats."""
    push_loop, outlets = streams_with_one_out_of_order(clock, Sse(heart_beat_interval=0.25, stall_timeout=1))
    push_loop.hubs["shop"].subscribers()[1].pause()
    run(clock, 3)
    assert 2 == push_loop.stream_count
    assert outlets[2].heartbeats > 6
    assert 1 == len(logged_errors.flush())
    push_loop.stop()


def test_a_drain_ends_the_streams_behind_one_that_raises(clock: Clock, logged_errors: Any) -> None:
    """Also where all are ended at once."""
    push_loop, outlets = streams_with_one_out_of_order(clock, Sse(heart_beat_interval=0))
    push_loop.drain(0)
    run(clock, 0.1)
    assert [True, True] == [outlets[0].ended, outlets[2].ended]
    assert 1 == len(logged_errors.flush())
    push_loop.stop()


def test_removing_an_sdk_ends_the_streams_behind_one_that_raises(clock: Clock, logged_errors: Any) -> None:
    """A reload without the SDK is complete."""
    push_loop, outlets = streams_with_one_out_of_order(clock, Sse(heart_beat_interval=0))
    push_loop.remove("shop")
    assert [True, True] == [outlets[0].ended, outlets[2].ended]
    assert 1 == len(logged_errors.flush())
    push_loop.stop()


def test_a_user_who_cannot_be_evaluated_does_not_stop_the_push(
    clock: Clock, logged_errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in the evaluation for one user costs this user the update, not the others."""
    push_loop = PushLoop(clock, random.Random(1), Metrics(lambda: 0.0, "test"), Sse())
    push_loop.add("shop", config(True))
    clients = [Client(clock) for _ in range(4)]
    for number, client in enumerate(clients):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": str(number)}), client)
    changed = config(False)
    evaluate_all = type(changed).evaluate_all

    def failing(self: Any, user: User, *, remember: bool = False) -> Any:
        if user.attributes["Identifier"] == "1":
            raise ZeroDivisionError
        return evaluate_all(self, user, remember=remember)

    monkeypatch.setattr(type(changed), "evaluate_all", failing)
    push_loop.publish("shop", changed)
    run(clock, 0.1)
    assert [2, 1, 2, 2] == [len(client.times) for client in clients]
    assert 1 == len(logged_errors.flush())
    with pytest.raises(ZeroDivisionError):
        push_loop.hubs["shop"].subscribe(None, User({"Identifier": "1"}), Client(clock))
    assert 4 == push_loop.stream_count


@pytest.mark.parametrize(("window", "last"), [(0, 0), (3, 2), (1e15, 1e15 * 2 / 3)])
def test_a_drain_uses_one_timer_per_stream_at_most(clock: Clock, window: float, last: float) -> None:
    """Streams end evenly over the window; an extremely long window needs no more timers than a short one."""

    class Ending(Client):
        def finish(self) -> None:
            self.times.append(self.clock.seconds())

    push_loop = PushLoop(clock, random.Random(1), Metrics(lambda: 0.0, "test"), Sse())
    push_loop.add("shop", config(True))
    clients = [Ending(clock) for _ in range(3)]
    for client in clients:
        push_loop.hubs["shop"].subscribe(None, None, client)
        client.times.clear()
    push_loop.drain(window)
    assert len(clock.getDelayedCalls()) <= 3
    for _ in range(3):
        clock.advance(window / 3)
    assert [pytest.approx(last)] == sorted(time for client in clients for time in client.times)[-1:]


class Reader(Client):
    """An outlet that keeps what it is sent."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.sent = b""

    def write(self, data: bytes) -> None:
        """Keep the data of a stream that is open."""
        assert not self.ended
        self.sent += data


def test_streams_end_with_their_tokens(clock: Clock) -> None:
    """Each gets an event first, and keeps its last event id; the others stay open, and no timer is left for them."""
    dropped: list[str] = []
    metrics = Metrics(lambda: 0.0, "test")
    metrics.stream_dropped = dropped.append  # type: ignore[method-assign]
    push_loop = PushLoop(clock, random.Random(1), metrics, Sse())
    push_loop.add("shop", config(True))
    push_loop.start()
    hub = push_loop.hubs["shop"]
    lasting, *ending = (Reader(clock) for _ in range(4))
    hub.subscribe(None, None, lasting)
    for client, mode in zip(ending, ("plain", "delta", "ofrep"), strict=True):
        hub.subscribe(None, User({"Identifier": mode}), client, StreamOptions(mode, ends=10.0))
    left = hub.subscribe(None, None, Reader(clock), StreamOptions(ends=10.0))
    left.close()
    run(clock, 9.9)
    assert not any(client.ended for client in ending)
    for _ in range(4):
        clock.advance(0.25)
    for client in ending:
        assert client.ended
        assert client.sent.endswith(b'event: expired\ndata: {"type":"expired"}\n\n')
    assert (False, ["expired"] * 3) == (lasting.ended, dropped)


def test_many_streams_that_end_together_are_ended_in_several_turns(clock: Clock) -> None:
    """A turn ends 100, so that requests are answered in between."""
    clients = [Reader(clock) for _ in range(250)]
    ended: list[int] = []

    class Writer(PlainWriter):
        """Notes at the end of each turn how many streams have ended."""

        def release(self) -> None:
            super().release()
            ended.append(sum(client.ended for client in clients))

    push_loop = PushLoop(clock, random.Random(1), Metrics(lambda: 0.0, "test"), Sse(), Writer())
    push_loop.add("shop", config(True))
    push_loop.start()
    for client in clients:
        push_loop.hubs["shop"].subscribe(None, None, client, StreamOptions(ends=1.0))
    for _ in range(4):
        clock.advance(0.25)
    assert [100, 200, 250] == [count for count in ended if count]
