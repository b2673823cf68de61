"""Evaluations in memory: samples, counts per minute, parcels, and what happens at each bound."""

from __future__ import annotations

import json

import pytest

from evaluate_each import evaluate_each
from gateway.export import Collector, DropReason, Parcel
from gateway.export.collector import EVENT_BYTES, MEMORY_BYTES, MEMORY_EVENTS, PARCEL_BYTES, PARCEL_EVENTS
from gateway.export.event import encode_count
from gateway.export.parcel import merge_counts
from gateway.flags import Result, User, load

BODY = b'{"p":{"s":"x"},"f":{"on":{"t":0,"v":{"b":true},"i":"v-on"},"off":{"t":0,"v":{"b":false},"i":"v-off"}}}'
FLAGS = load(BODY, '"1"')
ON, OFF = evaluate_each(FLAGS, None)[::-1]
ANNA = User({"Identifier": "anna"})


def collector(now=lambda: 130.9, chance=lambda: 0.5, **options) -> Collector:
    """A collector with a fixed clock and fixed random numbers."""
    made = Collector(now, chance)
    made.configure(**{"sampling": 1.0, "aggregate": False, "batch_events": 100_000, **options})
    return made


def parcels(source: Collector) -> list[Parcel]:
    """All parcels of a collector."""
    taken = []
    while (parcel := source.take()) is not None:
        taken.append(parcel)
    return taken


def events(source: Collector) -> list[dict]:
    """All events of a collector, decoded; counts as the events that they become."""
    taken = parcels(source)
    lines = [line for parcel in taken if parcel.count for line in parcel.lines.split(b"\n")]
    assert sum(parcel.count for parcel in taken) == len(lines)
    lines += [encode_count(*key, count) for key, count in merge_counts(taken).items()]
    return [json.loads(line) for line in lines]


def test_each_evaluation_is_an_event_in_order() -> None:
    """Evaluations of one flag, or of several for one user, are taken in the order in which they were recorded."""
    source = collector()
    source.record(ON, ANNA)
    source.record_all([ON, OFF], None)
    found = events(source)
    assert ["on", "on", "off"] == [each["key"] for each in found]
    assert ["user", "anonymousUser", "anonymousUser"] == [each["contextKind"] for each in found]
    assert source.take() is None


def test_each_event_has_the_second_of_its_evaluation() -> None:
    """Also when several flags are recorded, and when the clock was set back."""
    now = [0.0]
    source = collector(now=lambda: now[0])
    moments = (10.0, 10.999, 11.0, 12.5, 12.0, 9.5)
    for now[0] in moments:
        source.record(ON, ANNA)
        source.record_all([ON, OFF], ANNA)
    assert [int(moment) for moment in moments for _ in range(3)] == [each["creationDate"] for each in events(source)]


def test_an_event_of_a_stream_counts_for_each_subscriber() -> None:
    """Five subscribers of one cohort are five evaluations."""
    source = collector()
    source.record_all([ON], ANNA, 5)
    assert 5 == len(events(source))


def test_sampling_keeps_its_share_of_single_and_of_many() -> None:
    """An evaluation is recorded when its random number is below the share."""
    chances = iter([0.0, 0.24, 0.25, 0.9, 0.1, 0.3, 0.5, 0.5])
    source = collector(chance=lambda: next(chances), sampling=0.25)
    for _ in range(4):
        source.record(ON, ANNA)
    source.record_all([ON, OFF], ANNA, 2)
    assert ["on", "on", "on"] == [each["key"] for each in events(source)]


def test_aggregate_counts_per_flag_variation_and_minute() -> None:
    """For all users together, by the time of the evaluation."""
    now = [125.0]
    source = collector(now=lambda: now[0], aggregate=True)
    for moment in (125.0, 130.0, 179.9, 180.0):
        now[0] = moment
        source.record(ON, ANNA)
    source.record_all([ON, OFF], None, 2)
    counts = {(each["creationDate"], each["key"]): (each["count"], each["userKey"]) for each in events(source)}
    assert {(120, "on"): (3, ""), (180, "on"): (3, ""), (180, "off"): (2, "")} == counts


def test_parcels_are_cut_by_number_and_by_size() -> None:
    """One transfer over the pipe is bounded."""
    source = collector()
    for _ in range(2 * PARCEL_EVENTS + 1):
        source.record(ON, ANNA)
    assert [PARCEL_EVENTS, PARCEL_EVENTS, 1] == [parcel.count for parcel in parcels(source)]
    long = User({"Identifier": "x" * 100_000})
    for _ in range(6):
        source.record(ON, long)
    found = parcels(source)
    assert 6 == sum(parcel.count for parcel in found)
    assert all(len(parcel.lines) < PARCEL_BYTES + 101_000 for parcel in found)


def test_parcels_are_no_larger_than_a_batch() -> None:
    """A row of the spool is never split, so a small batch needs small parcels."""
    source = collector(batch_events=10)
    for _ in range(25):
        source.record(ON, ANNA)
    assert [10, 10, 5] == [parcel.count for parcel in parcels(source)]


def test_the_oldest_are_dropped_and_the_next_parcel_has_their_number() -> None:
    """Memory is bounded when no parcel is taken, and each dropped evaluation is counted."""
    source = collector()
    for _ in range(MEMORY_EVENTS + 2500):
        source.record(ON, ANNA)
    found = parcels(source)
    assert {DropReason.MEMORY: 2 * PARCEL_EVENTS} == found[0].dropped
    assert MEMORY_EVENTS + 2500 == sum(parcel.collected for parcel in found)
    assert all(not parcel.dropped for parcel in found[1:])


def test_memory_is_bounded_in_bytes_too() -> None:
    """A few large events reach the bound as well."""
    source = collector()
    long = User({"Identifier": "x" * 128 * 1024})
    for _ in range(MEMORY_BYTES // (128 * 1024) + 50):
        source.record(ON, long)
    found = parcels(source)
    assert sum(len(parcel.lines) for parcel in found) <= MEMORY_BYTES + PARCEL_BYTES + 130 * 1024
    assert found[0].dropped[DropReason.MEMORY] > 0


def test_flags_that_are_only_large_together_are_all_recorded() -> None:
    """The events of an answer that exceed a parcel together are added one by one."""
    source = collector()
    source.record(OFF, ANNA)
    source.record_all([Result(str(number), "x" * 300_000, "") for number in range(6)], ANNA, 2)
    found = parcels(source)
    assert 13 == sum(parcel.count for parcel in found)
    assert not any(parcel.dropped for parcel in found)
    assert all(len(parcel.lines) < PARCEL_BYTES + 301_000 for parcel in found)


@pytest.mark.parametrize("aggregate", [False, True])
def test_an_event_that_is_too_large_is_dropped_alone(aggregate: bool) -> None:
    """A flag's value has no limit of its own; its neighbours are recorded."""
    source = collector(aggregate=aggregate)
    source.record(Result("big", "x" * EVENT_BYTES, ""), ANNA)
    source.record_all([Result("big", "x" * EVENT_BYTES, ""), ON], ANNA)
    (found,) = parcels(source)
    assert {DropReason.TOO_LARGE: 2} == found.dropped
    assert 3 == found.collected


def test_counts_are_bounded_and_the_oldest_minute_is_dropped() -> None:
    """The bound on different counts is that on events."""
    now = [0.0]
    source = collector(now=lambda: now[0], aggregate=True)
    source.record_all([Result(str(number), True, "") for number in range(MEMORY_EVENTS + 2)], ANNA)
    now[0] = 60.0
    source.record_all([ON, OFF], ANNA)
    found = parcels(source)
    assert {60} == {minute for parcel in found for minute, _, _ in parcel.counts}
    assert {DropReason.MEMORY: MEMORY_EVENTS + 2} == found[0].dropped


def test_counts_are_taken_a_bounded_number_of_bytes_at_a_time() -> None:
    """Many flags with large values do not make a large parcel."""
    source = collector(aggregate=True)
    source.record_all([Result(str(number), "x" * 200_000, "") for number in range(6)], ANNA)
    found = parcels(source)
    assert [2, 2, 2] == [len(parcel.counts) for parcel in found]
