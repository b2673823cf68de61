"""The closed label sets of the metrics are the values that the rooms emit."""

from typing import get_args

from gateway.export import DropReason as EvaluationDrop
from gateway.http_client.attempt import Label
from gateway.serving.push_loop import DropReason as StreamDrop
from gateway.telemetry.exporter_metrics import REASONS
from gateway.telemetry.metrics import DROPS, FETCH_FAILED, FETCH_GOOD, REFUSALS
from gateway.telemetry.webhook_metrics import ATTEMPT_OUTCOMES, DROP_REASONS
from gateway.upstream.outcome import Kind
from gateway.web.ports import RefusalReason
from gateway.webhooks.store import queue_stats


def test_label_sets_are_those_that_are_emitted():
    """A value that is added or removed on one side only would be counted as [OTHER], or never."""
    assert {kind.value for kind in Kind} == set(FETCH_FAILED)
    assert {"changed", "not_modified"} == set(FETCH_GOOD)
    assert set(get_args(RefusalReason)) == set(REFUSALS)
    assert set(get_args(StreamDrop)) == set(DROPS)
    assert set(get_args(Label)) == set(ATTEMPT_OUTCOMES)
    assert set(queue_stats.DROPS.values()) == set(DROP_REASONS)
    assert set(EvaluationDrop) == set(REASONS)
