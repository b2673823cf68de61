"""The heartbeat wheel, in virtual time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gateway.streams import HeartbeatWheel
from gateway.streams.heartbeat import MAX_LAP_SECONDS, MIN_INTERVAL_SECONDS
from gateway.streams.sse import HEARTBEAT


class Stream:
    """The part of a subscriber that the wheel looks at."""

    def __init__(self) -> None:
        self.active = False
        self.slot = 0
        self.paused_since: float | None = None
        self.written: list[bytes] = []
        self.outlet = SimpleNamespace(write=self.written.append)


def ignore(_: object) -> None:
    """Stand in for a stall callback that must not matter."""


def whole_turn(wheel: HeartbeatWheel, interval: float, now: float = 0) -> None:
    """Turn the wheel once around."""
    for _ in range(round(interval / wheel.tick)):
        wheel.turn(now)


def test_each_idle_stream_beats_once_per_interval() -> None:
    """One comment per stream and round, never two, never none."""
    wheel = HeartbeatWheel(20, 60, ignore)
    streams = [Stream() for _ in range(500)]
    for stream in streams:
        wheel.add(stream)  # type: ignore[arg-type]
    whole_turn(wheel, 20)
    assert all(stream.written == [HEARTBEAT] for stream in streams)


def test_beats_are_spread_over_the_interval() -> None:
    """No tick carries more than its even share of the beats."""
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


def test_activity_skips_the_next_beat_and_keeps_the_phase() -> None:
    """A stream that was written to is skipped once and then beats in its old slot."""
    wheel = HeartbeatWheel(20, 60, ignore)
    stream = Stream()
    wheel.add(stream)  # type: ignore[arg-type]
    stream.active = True
    whole_turn(wheel, 20)
    assert stream.written == []
    wheel.turn(20)
    assert stream.written == [HEARTBEAT]


def test_a_paused_reader_gets_no_heartbeat() -> None:
    """What is paused is not written to."""
    wheel = HeartbeatWheel(20, 60, ignore)
    stream = Stream()
    stream.paused_since = 0
    wheel.add(stream)  # type: ignore[arg-type]
    whole_turn(wheel, 20, now=10)
    assert stream.written == []


def test_a_reader_stalled_for_the_timeout_is_reported() -> None:
    """The callback gets the stalled stream, not before its time."""
    stalled: list[object] = []
    wheel = HeartbeatWheel(20, 60, stalled.append)
    stream = Stream()
    stream.paused_since = 100
    wheel.add(stream)  # type: ignore[arg-type]
    whole_turn(wheel, 20, now=159)
    assert stalled == []
    whole_turn(wheel, 20, now=160)
    assert stalled == [stream]


def test_an_interval_of_zero_sends_no_beats_but_still_finds_stalls() -> None:
    """Heartbeats off is a choice about comments only."""
    stalled: list[object] = []
    wheel = HeartbeatWheel(0, 60, stalled.append)
    idle, stuck = Stream(), Stream()
    stuck.paused_since = 0
    for stream in (idle, stuck):
        wheel.add(stream)  # type: ignore[arg-type]
    whole_turn(wheel, 20, now=61)
    assert (idle.written, stalled) == ([], [stuck])


@pytest.mark.parametrize("interval", [90, 3_600, 1e15])
def test_a_long_interval_costs_nothing_and_hides_no_stall(interval: float) -> None:
    """However rare the beats are, the wheel stays small and a stall is noticed within one lap of it."""
    stalled: list[object] = []
    wheel = HeartbeatWheel(interval, 60, stalled.append)
    stream = Stream()
    stream.paused_since = 0
    wheel.add(stream)  # type: ignore[arg-type]
    whole_turn(wheel, MAX_LAP_SECONDS, now=60)
    assert stream in stalled


def test_a_long_interval_is_beaten_once_and_evenly() -> None:
    """Several laps make one interval; each stream beats in one of them, and every tick has its share."""
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
    """A nonsensically short interval is taken for the shortest there is."""
    assert HeartbeatWheel(1e-9, 60, ignore).tick == MIN_INTERVAL_SECONDS


def test_a_discarded_stream_is_left_alone() -> None:
    """Leaving the wheel is final, and doing it twice is harmless."""
    wheel = HeartbeatWheel(20, 60, ignore)
    stream = Stream()
    wheel.add(stream)  # type: ignore[arg-type]
    wheel.discard(stream)  # type: ignore[arg-type]
    wheel.discard(stream)  # type: ignore[arg-type]
    whole_turn(wheel, 20)
    assert (stream.written, len(wheel)) == ([], 0)
