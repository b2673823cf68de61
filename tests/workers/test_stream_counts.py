"""Counting for the whole service: streams for the caps, tallies for the metrics."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.telemetry import REQUEST_BUCKETS, PrometheusMetrics
from gateway.web.context import OpenStreams
from gateway.workers.ledger import Ledger
from gateway.workers.protocol import Tally, decode_up, encode
from gateway.workers.relay import Relay
from gateway.workers.stream_counts import Census, SharedStreams

ADDRESSES = ("a", "b")


class Service:
    """Three workers' counts and the leader's census; reports travel when told to."""

    def __init__(self) -> None:
        self.due: set[int] = set()
        self.workers = [SharedStreams(lambda number=number: self.due.add(number)) for number in range(3)]
        self.census = Census()

    def settle(self) -> None:
        """Let every report that is due, and what follows from it, arrive."""
        while self.due:
            number = self.due.pop()
            report = self.workers[number].report()
            self.census.take(number, report)
            for other, streams in enumerate(self.workers):
                if other != number:
                    streams.told(self.census.others(other, list(report.addresses)))

    def replace(self, number: int) -> None:
        """A worker dies, and another takes its place."""
        self.due.discard(number)
        gone = self.census.forget(number)
        self.workers[number] = SharedStreams(lambda: self.due.add(number))
        for other, streams in enumerate(self.workers):
            streams.told(self.census.others(other, None if other == number else gone))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 2), st.sampled_from(ADDRESSES)),
        st.tuples(st.just("close"), st.integers(0, 2), st.sampled_from(ADDRESSES)),
        st.tuples(st.just("settle"), st.just(0), st.just("")),
        st.tuples(st.just("replace"), st.integers(0, 2), st.just("")),
        st.tuples(st.just("retell"), st.integers(0, 2), st.just("")),
    ),
    max_size=60,
)


@given(STEPS)
def test_every_worker_knows_the_whole_service_once_reports_have_arrived(steps: list[tuple[str, int, str]]) -> None:
    """Whatever opened, closed and died meanwhile; and its own part is exact all the time."""
    service = Service()
    own = [OpenStreams() for _ in range(3)]
    for what, number, address in steps:
        if what == "open":
            own[number].opened(address)
            service.workers[number].opened(address)
        elif what == "close" and own[number].by_address.get(address):
            own[number].closed(address)
            service.workers[number].closed(address)
        elif what == "settle":
            service.settle()
        elif what == "retell":
            service.settle()
            service.workers[number].told(service.census.others(number))
        elif what == "replace":
            own[number] = OpenStreams()
            service.replace(number)
        assert [each.total for each in own] == [each.own for each in service.workers]
    service.settle()
    total = sum(each.total for each in own)
    sums = {address: sum(each.by_address.get(address, 0) for each in own) for address in ADDRESSES}
    expected = {address: count for address, count in sums.items() if count}
    assert total == service.census.total
    assert [(total, expected)] * 3 == [(each.total, each.by_address) for each in service.workers]


def test_a_burst_of_streams_is_one_report() -> None:
    """The leader hears once of what opens in one go, and again of what comes after its report."""
    due: list[None] = []
    streams = SharedStreams(lambda: due.append(None))
    for _ in range(5):
        streams.opened("a")
    assert 1 == len(due)
    report = streams.report()
    assert (5, {"a": 5}) == (report.total, report.addresses)
    streams.closed("a")
    assert 2 == len(due)
    assert {"a": 4} == streams.report().addresses


def values(registry: CollectorRegistry) -> dict[str, float]:
    """Return the samples that are neither about the process nor about time."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in registry.collect()
        for sample in family.samples
        if family.name.startswith(("configcat", "flaggateway")) and not sample.name.endswith("_created")
    }


def busy(metrics: PrometheusMetrics | Relay) -> None:
    """Count some of everything that a worker counts."""
    for flag in (None, "banner", None):
        metrics.stream_opened("shop", flag)
    metrics.frames_sent("shop", None, 4)
    metrics.frames_sent("shop", "banner", 1)
    metrics.stream_closed("shop", "banner")
    metrics.stream_refused("address")
    metrics.stream_dropped("stalled")
    metrics.stream_dropped("stalled")
    metrics.pushed("shop", 0.02)
    for seconds in (0.001, 0.005, REQUEST_BUCKETS[3], 99.0):
        metrics.answered("/api/{sdkId}/eval", "POST", 200, seconds)
    metrics.answered("/api/{sdkId}/eval", "POST", 404, 0.2)
    metrics.answered("", "BREW", 405, 0.2)
    metrics.loop_lag(0.3)


def test_tallies_come_to_the_same_as_counting_in_one_process() -> None:
    """Whatever a worker counts, and however its tallies cut it, the leader shows what one process would."""
    one, leader = PrometheusMetrics(lambda: 0.0, "1"), PrometheusMetrics(lambda: 0.0, "1")
    ledgers = [Ledger(leader, lambda _: True) for _ in range(2)]
    for ledger in ledgers:
        relay = Relay()
        busy(one)
        busy(relay)
        ledger.enter(relay.take())
        ledger.enter(relay.take())  # nothing happened since
        one.stream_closed("shop", None)
        relay.stream_closed("shop", None)
        ledger.enter(relay.take())
    assert values(one.registry) == values(leader.registry)


def test_a_flag_with_an_impossible_key_is_counted_under_a_possible_one() -> None:
    """A lone surrogate has no UTF-8; it must not end the worker's reports."""
    one, leader, relay = PrometheusMetrics(lambda: 0.0, "1"), PrometheusMetrics(lambda: 0.0, "1"), Relay()
    for metrics in (one, relay):
        metrics.stream_opened("shop", "odd\ud800")
        metrics.frames_sent("shop", "odd\ud800", 2)
    tally = decode_up(encode(relay.take()))
    assert isinstance(tally, Tally)
    Ledger(leader, lambda _: True).enter(tally)
    assert values(one.registry) == values(leader.registry)


def test_the_streams_of_a_dead_worker_are_taken_off_and_its_events_stay() -> None:
    """Open streams are a gauge, sent events a counter."""
    leader = PrometheusMetrics(lambda: 0.0, "1")
    ledgers = [Ledger(leader, lambda _: True) for _ in range(2)]
    for ledger in ledgers:
        relay = Relay()
        busy(relay)
        ledger.enter(relay.take())
    ledgers[0].close()
    text = leader.render().decode()
    assert 'configcat_stream_connections{flag="[ALL]",sdk="shop",type="sse"} 2.0' in text
    assert 'configcat_stream_msg_sent_total{flag="[ALL]",sdk="shop",type="sse"} 8.0' in text


def test_a_push_that_is_reported_late_does_not_bring_a_removed_sdk_back() -> None:
    """A series that was ended with its SDK stays ended."""
    leader = PrometheusMetrics(lambda: 0.0, "1")
    relay = Relay()
    relay.pushed("gone", 0.1)
    Ledger(leader, lambda _: None).enter(relay.take())
    assert '"gone"' not in leader.render().decode()
