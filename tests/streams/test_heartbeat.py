"""The heartbeat wheel, in virtual time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gateway.streams import HeartbeatWheel
from gateway.streams.heartbeat import MAX_LAP_SECONDS, MIN_INTERVAL_SECONDS
from gateway.streams.sse import HEARTBEAT


class Stream:
    """The attributes of a subscriber that the wheel uses."""

    def __init__(self) -> None:
        self.active = False
        self.slot = 0
        self.paused_since: float | None = None
        self.written: list[bytes] = []
        self.outlet = SimpleNamespace(write=self.written.append)


def ignore(_: object) -> None:
    """Ignore a stall."""


def whole_turn(wheel: HeartbeatWheel, interval: float, now: float = 0) -> None:
    """Turn the wheel once around."""
    for _ in range(round(interval / wheel.tick)):
        wheel.turn(now)


def test_each_idle_stream_gets_one_heartbeat_per_interval() -> None:
    """Each stream gets exactly one comment per round."""
    wheel = HeartbeatWheel(20, 60, ignore)
    streams = [Stream() for _ in range(500)]
    for stream in streams:
        wheel.add(stream)  # type: ignore[arg-type]
    whole_turn(wheel, 20)
    assert all(stream.written == [HEARTBEAT] for stream in streams)


def test_heartbeats_are_spread_over_the_interval() -> None:
    """Each tick sends an equal share."""
    wheel = HeartbeatWheel(20, 60, ignore)
    streams = [Stream() for _ in range(800)]
    for stream in streams:
        wheel.add(stream)  # type: ignore[arg-type]
    shares = []
    for _ in range(80):
        before = sum(len(stream.written) for stream in streams)
        wheel.turn(0)
        shares.append(sum(len(stream.written) for stream in streams) - before)
    assert set(shares) == {10}


def test_activity_skips_the_next_heartbeat_and_keeps_the_slot() -> None:
    """A stream that was written to is skipped once, and then gets its heartbeat in the same slot."""
    wheel = HeartbeatWheel(20, 60, ignore)
    stream = Stream()
    wheel.add(stream)  # type: ignore[arg-type]
    stream.active = True
    whole_turn(wheel, 20)
    assert stream.written == []
    wheel.turn(20)
    assert stream.written == [HEARTBEAT]


def test_a_paused_subscriber_gets_no_heartbeat() -> None:
    """A paused subscriber is not written to."""
    wheel = HeartbeatWheel(20, 60, ignore)
    stream = Stream()
    stream.paused_since = 0
    wheel.add(stream)  # type: ignore[arg-type]
    whole_turn(wheel, 20, now=10)
    assert stream.written == []


def test_a_subscriber_stalled_for_the_timeout_is_reported() -> None:
    """The callback gets the stalled stream once the timeout is over."""
    stalled: list[object] = []
    wheel = HeartbeatWheel(20, 60, stalled.append)
    stream = Stream()
    stream.paused_since = 100
    wheel.add(stream)  # type: ignore[arg-type]
    whole_turn(wheel, 20, now=159)
    assert stalled == []
    whole_turn(wheel, 20, now=160)
    assert stalled == [stream]


def test_an_interval_of_zero_sends_no_heartbeats_but_still_finds_stalls() -> None:
    """Switching heartbeats off does not switch off the stall timeout."""
    stalled: list[object] = []
    wheel = HeartbeatWheel(0, 60, stalled.append)
    idle, stuck = Stream(), Stream()
    stuck.paused_since = 0
    for stream in (idle, stuck):
        wheel.add(stream)  # type: ignore[arg-type]
    whole_turn(wheel, 20, now=61)
    assert (idle.written, stalled) == ([], [stuck])


@pytest.mark.parametrize("interval", [90, 3_600, 1e15])
def test_with_a_long_interval_the_wheel_stays_small_and_finds_stalls_in_time(interval: float) -> None:
    """A stall is noticed within one lap of at most 20 s."""
    stalled: list[object] = []
    wheel = HeartbeatWheel(interval, 60, stalled.append)
    stream = Stream()
    stream.paused_since = 0
    wheel.add(stream)  # type: ignore[arg-type]
    whole_turn(wheel, MAX_LAP_SECONDS, now=60)
    assert stream in stalled


def test_heartbeats_of_a_long_interval_are_sent_once_and_evenly() -> None:
    """An interval is several laps; each stream has its heartbeat in one of them, and all ticks send equally many."""
    wheel = HeartbeatWheel(90, 60, ignore)
    ticks = round(90 / wheel.tick)
    streams = [Stream() for _ in range(2 * ticks)]
    for stream in streams:
        wheel.add(stream)  # type: ignore[arg-type]
    for count in (1, 2):
        shares = []
        for _ in range(ticks):
            before = sum(len(stream.written) for stream in streams)
            wheel.turn(0)
            shares.append(sum(len(stream.written) for stream in streams) - before)
        assert set(shares) == {2}
        assert all(len(stream.written) == count for stream in streams)


def test_no_interval_keeps_the_process_busy() -> None:
    """Shorter intervals are replaced by the minimum."""
    assert HeartbeatWheel(1e-9, 60, ignore).tick == MIN_INTERVAL_SECONDS


def test_a_discarded_stream_is_left_alone() -> None:
    """It gets no heartbeat; a second discard has no effect."""
    wheel = HeartbeatWheel(20, 60, ignore)
    stream = Stream()
    wheel.add(stream)  # type: ignore[arg-type]
    wheel.discard(stream)  # type: ignore[arg-type]
    wheel.discard(stream)  # type: ignore[arg-type]
    whole_turn(wheel, 20)
    assert (stream.written, len(wheel)) == ([], 0)
