"""Streams that end at a time of their own."""

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.streams import ExpiryWheel


class Stream:
    """Stands for a subscriber; the wheel only keeps it."""


def test_streams_end_in_order_and_in_portions():
    wheel = ExpiryWheel()
    streams = [Stream() for _ in range(5)]
    for stream, ends in zip(streams, (30.0, 10.2, 20.0, 10.9, 10.5), strict=True):
        wheel.add(stream, ends)
    assert ([], 5) == (wheel.take(10.95, 10), len(wheel))
    early = wheel.take(11.0, 2)
    assert 2 == len(early)
    early += wheel.take(11.0, 2)
    assert {streams[1], streams[3], streams[4]} == set(early)
    assert [] == wheel.take(19.9, 10)
    assert [streams[2], streams[0]] == wheel.take(1000.0, 10)
    assert (0, []) == (len(wheel), wheel.take(2000.0, 10))


def test_a_stream_that_has_left_is_not_kept():
    wheel = ExpiryWheel()
    stream, other = Stream(), Stream()
    wheel.add(stream, 10)
    wheel.add(other, 10)
    wheel.discard(stream)
    wheel.discard(stream)
    wheel.discard(Stream())
    assert (1, [other]) == (len(wheel), wheel.take(10, 10))
    wheel.add(stream, 2.0**53)
    assert [] == wheel.take(1e10, 10)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 9)), max_size=80), st.randoms())
def test_each_stream_ends_once_and_not_early(steps: list[tuple[bool, int, int]], chance: random.Random):
    """As a list that is searched each time."""
    wheel = ExpiryWheel()
    expected: dict[Stream, int] = {}
    now = 0
    for adds, number, limit in steps:
        if adds:
            stream = Stream()
            expected[stream] = number
            wheel.add(stream, number)
        elif expected and number % 2:
            gone = chance.choice(list(expected))
            del expected[gone]
            wheel.discard(gone)
        else:
            now = max(now, number)
            taken = wheel.take(now, limit)
            due = [stream for stream, ends in expected.items() if ends <= now]
            assert min(limit, len(due)) == len(taken)
            assert sorted(expected[stream] for stream in due)[: len(taken)] == [expected[stream] for stream in taken]
            for stream in taken:
                del expected[stream]
        assert len(expected) == len(wheel)
