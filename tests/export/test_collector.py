"""Evaluations in memory: samples, counts per minute, parcels, and what happens at each bound."""

from __future__ import annotations

import json

import pytest

from gateway.export import MEMORY, TOO_LARGE, Collector, Parcel, counted, merged
from gateway.export.collector import EVENT_BYTES, MEMORY_BYTES, MEMORY_EVENTS, PARCEL_BYTES, PARCEL_EVENTS
from gateway.flags import Result, User, load

BODY = b'{"p":{"s":"x"},"f":{"on":{"t":0,"v":{"b":true},"i":"v-on"},"off":{"t":0,"v":{"b":false},"i":"v-off"}}}'
FLAGS = load(BODY, '"1"')
ON, OFF = FLAGS.evaluate_all(None)[::-1]
ANNA = User({"Identifier": "anna"})


def collector(now=lambda: 130.9, chance=lambda: 0.5, **options) -> Collector:
    """A collector at a fixed time and chance."""
    made = Collector(now, chance)
    made.configure(**{"sampling": 1.0, "aggregate": False, "batch": 100_000, **options})
    return made


def parcels(source: Collector) -> list[Parcel]:
    """All that it holds."""
    taken = []
    while (parcel := source.take()) is not None:
        taken.append(parcel)
    return taken


def events(source: Collector) -> list[dict]:
    """All events that it holds, decoded; counts in the form in which they are told."""
    taken = parcels(source)
    lines = [line for parcel in taken if parcel.count for line in parcel.lines.split(b"\n")]
    assert sum(parcel.count for parcel in taken) == len(lines)
    lines += [counted(minute, told, count) for (minute, told), count in merged(taken).items()]
    return [json.loads(line) for line in lines]


def test_each_evaluation_is_an_event_in_order() -> None:
    """Of one flag, or of several at once for one user."""
    source = collector()
    source.one(ON, ANNA)
    source.many([ON, OFF], None)
    told = events(source)
    assert ["on", "on", "off"] == [each["key"] for each in told]
    assert ["user", "anonymousUser", "anonymousUser"] == [each["contextKind"] for each in told]
    assert source.take() is None


def test_each_event_has_the_second_of_its_evaluation() -> None:
    """Of one flag and of several, and of a clock that was put back."""
    now = [0.0]
    source = collector(now=lambda: now[0])
    moments = (10.0, 10.999, 11.0, 12.5, 12.0, 9.5)
    for now[0] in moments:
        source.one(ON, ANNA)
        source.many([ON, OFF], ANNA)
    assert [int(moment) for moment in moments for _ in range(3)] == [each["creationDate"] for each in events(source)]


def test_an_event_of_a_stream_counts_for_each_reader() -> None:
    """Five readers of one cohort are five evaluations."""
    source = collector()
    source.many([ON], ANNA, 5)
    assert 5 == len(events(source))


def test_sampling_keeps_its_share_of_single_and_of_many() -> None:
    """Below the share an evaluation counts, from it on it does not."""
    chances = iter([0.0, 0.24, 0.25, 0.9, 0.1, 0.3, 0.5, 0.5])
    source = collector(chance=lambda: next(chances), sampling=0.25)
    for _ in range(4):
        source.one(ON, ANNA)
    source.many([ON, OFF], ANNA, 2)
    assert ["on", "on", "on"] == [each["key"] for each in events(source)]


def test_aggregate_counts_per_flag_variation_and_minute() -> None:
    """Whoever asked, and by the time of the evaluation."""
    now = [125.0]
    source = collector(now=lambda: now[0], aggregate=True)
    for moment in (125.0, 130.0, 179.9, 180.0):
        now[0] = moment
        source.one(ON, ANNA)
    source.many([ON, OFF], None, 2)
    told = {(each["creationDate"], each["key"]): (each["count"], each["userKey"]) for each in events(source)}
    assert {(120, "on"): (3, ""), (180, "on"): (3, ""), (180, "off"): (2, "")} == told


def test_parcels_are_cut_by_number_and_by_size() -> None:
    """What crosses the pipe at once is bounded."""
    source = collector()
    for _ in range(2 * PARCEL_EVENTS + 1):
        source.one(ON, ANNA)
    assert [PARCEL_EVENTS, PARCEL_EVENTS, 1] == [parcel.count for parcel in parcels(source)]
    long = User({"Identifier": "x" * 100_000})
    for _ in range(6):
        source.one(ON, long)
    found = parcels(source)
    assert 6 == sum(parcel.count for parcel in found)
    assert all(len(parcel.lines) < PARCEL_BYTES + 101_000 for parcel in found)


def test_parcels_are_no_larger_than_a_batch() -> None:
    """Who asks for small batches gets them."""
    source = collector(batch=10)
    for _ in range(25):
        source.one(ON, ANNA)
    assert [10, 10, 5] == [parcel.count for parcel in parcels(source)]


def test_the_oldest_go_when_nobody_takes_them_and_the_next_parcel_says_how_many() -> None:
    """Memory is bounded, and nothing disappears in silence."""
    source = collector()
    for _ in range(MEMORY_EVENTS + 2500):
        source.one(ON, ANNA)
    found = parcels(source)
    assert {MEMORY: 2 * PARCEL_EVENTS} == found[0].dropped
    assert MEMORY_EVENTS + 2500 == sum(parcel.collected for parcel in found)
    assert all(not parcel.dropped for parcel in found[1:])


def test_memory_is_bounded_in_bytes_too() -> None:
    """However few events fill it."""
    source = collector()
    long = User({"Identifier": "x" * 128 * 1024})
    for _ in range(MEMORY_BYTES // (128 * 1024) + 50):
        source.one(ON, long)
    found = parcels(source)
    assert sum(len(parcel.lines) for parcel in found) <= MEMORY_BYTES + PARCEL_BYTES + 130 * 1024
    assert found[0].dropped[MEMORY] > 0


def test_flags_that_are_large_together_only_are_all_told() -> None:
    """An answer with more than one event's worth of values is told event by event."""
    source = collector()
    source.one(OFF, ANNA)
    source.many([Result(str(number), "x" * 300_000, "") for number in range(6)], ANNA, 2)
    found = parcels(source)
    assert 13 == sum(parcel.count for parcel in found)
    assert not any(parcel.dropped for parcel in found)
    assert all(len(parcel.lines) < PARCEL_BYTES + 301_000 for parcel in found)


@pytest.mark.parametrize("aggregate", [False, True])
def test_an_event_that_is_too_large_is_dropped_alone(aggregate: bool) -> None:
    """A flag's value has no limit of its own; its neighbours are told."""
    source = collector(aggregate=aggregate)
    source.one(Result("big", "x" * EVENT_BYTES, ""), ANNA)
    source.many([Result("big", "x" * EVENT_BYTES, ""), ON], ANNA)
    (found,) = parcels(source)
    assert {TOO_LARGE: 2} == found.dropped
    assert 3 == found.collected


def test_counts_are_bounded_and_the_oldest_minute_goes() -> None:
    """As many different ones as there may be events."""
    now = [0.0]
    source = collector(now=lambda: now[0], aggregate=True)
    source.many([Result(str(number), True, "") for number in range(MEMORY_EVENTS + 2)], ANNA)
    now[0] = 60.0
    source.many([ON, OFF], ANNA)
    found = parcels(source)
    assert {60} == {minute for parcel in found for minute, _, _ in parcel.counts}
    assert {MEMORY: MEMORY_EVENTS + 2} == found[0].dropped


def test_counts_are_taken_some_at_a_time() -> None:
    """Many flags with large values are no large parcel."""
    source = collector(aggregate=True)
    source.many([Result(str(number), "x" * 200_000, "") for number in range(6)], ANNA)
    found = parcels(source)
    assert [2, 2, 2] == [len(parcel.counts) for parcel in found]
