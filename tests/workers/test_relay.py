"""Metrics of workers in the leader: the same sums as in one process, without the streams of workers that ended."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from gateway.telemetry import REQUEST_BUCKETS, Metrics
from gateway.workers.protocol import MetricsReport, encode, to_leader
from gateway.workers.relay import MetricsReceiver, MetricsSender


def values(registry: CollectorRegistry) -> dict[str, float]:
    """Return the samples that are neither about the process nor about time."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in registry.collect()
        for sample in family.samples
        if family.name.startswith(("configcat", "flaggateway")) and not sample.name.endswith("_created")
    }


def count_some(metrics: Metrics | MetricsSender) -> None:
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


def test_reports_add_up_to_the_same_as_counting_in_one_process() -> None:
    """However the counts are divided into reports."""
    one, leader = Metrics(lambda: 0.0, "1"), Metrics(lambda: 0.0, "1")
    receivers = [MetricsReceiver(leader, lambda _: True) for _ in range(2)]
    for receiver in receivers:
        sender = MetricsSender()
        count_some(one)
        count_some(sender)
        one.log_lines_dropped(3)
        receiver.add(sender.report(dropped_lines=3))
        receiver.add(sender.report())  # nothing happened since
        one.stream_closed("shop", None)
        sender.stream_closed("shop", None)
        receiver.add(sender.report())
    assert values(one.registry) == values(leader.registry)


def test_a_flag_key_that_cannot_be_encoded_is_counted_under_a_replacement() -> None:
    """A lone surrogate cannot be encoded as UTF-8; it must not stop the worker's reports."""
    one, leader = Metrics(lambda: 0.0, "1"), Metrics(lambda: 0.0, "1")
    sender = MetricsSender()
    for metrics in (one, sender):
        metrics.stream_opened("shop", "odd\ud800")
        metrics.frames_sent("shop", "odd\ud800", 2)
    report = to_leader.decode(encode(sender.report()))
    assert isinstance(report, MetricsReport)
    MetricsReceiver(leader, lambda _: True).add(report)
    assert values(one.registry) == values(leader.registry)


def test_the_streams_of_an_ended_worker_are_subtracted_and_its_events_are_not() -> None:
    """Open streams are a gauge, sent events a counter."""
    leader = Metrics(lambda: 0.0, "1")
    receivers = [MetricsReceiver(leader, lambda _: True) for _ in range(2)]
    for receiver in receivers:
        sender = MetricsSender()
        count_some(sender)
        receiver.add(sender.report())
    receivers[0].close()
    text = leader.render().decode()
    assert 'configcat_stream_connections{flag="[ALL]",sdk="shop",type="sse"} 2.0' in text
    assert 'configcat_stream_msg_sent_total{flag="[ALL]",sdk="shop",type="sse"} 8.0' in text


def test_a_push_that_is_reported_late_does_not_restore_the_series_of_a_removed_sdk() -> None:
    """Series that were removed with their SDK stay removed."""
    leader = Metrics(lambda: 0.0, "1")
    sender = MetricsSender()
    sender.pushed("gone", 0.1)
    MetricsReceiver(leader, lambda _: False).add(sender.report())
    assert '"gone"' not in leader.render().decode()
