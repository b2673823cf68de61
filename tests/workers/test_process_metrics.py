"""Resources of worker processes as metrics."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from gateway.workers.process_metrics import WorkerMetrics, process_usage

METRICS_PAGE = Path(__file__).resolve().parents[2] / "docs/metrics.md"


def samples(*workers: SimpleNamespace, ends: int = 0) -> dict[str, float]:
    """Return what a scrape shows of workers with these states, numbered from 1."""
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(SimpleNamespace(workers=dict(enumerate(workers, 1)), ends=ends)))
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_a_running_process_shows_its_memory_time_and_files() -> None:
    """This process stands for a worker."""
    shown = samples(
        SimpleNamespace(pid=os.getpid(), listening=True, unresponsive=False),
        SimpleNamespace(pid=0, listening=False, unresponsive=False),
        ends=3,
    )
    assert (1, 3) == (shown["flaggateway_workers"], shown["flaggateway_worker_ends_total"])
    assert 10e6 < shown["flaggateway_worker_resident_memory_bytes1"] < 4e9
    assert 0 < shown["flaggateway_worker_cpu_seconds_total1"] < 1e5
    assert len(os.listdir("/proc/self/fd")) == shown["flaggateway_worker_open_fds1"]  # noqa: PTH208 - it counts itself
    assert not [name for name in shown if name.endswith("2")]


def test_a_process_that_has_ended_has_no_usage(tmp_path: Path) -> None:
    """It may end during a scrape."""
    assert process_usage(tmp_path / "1") is None


def test_docs_list_exactly_these_series() -> None:
    """docs/metrics.md and the code name the same series."""
    listed = set(re.findall(r"^\* `(flaggateway_\w+)`", METRICS_PAGE.read_text("utf-8"), re.MULTILINE))
    shown = samples(SimpleNamespace(pid=os.getpid(), listening=True, unresponsive=False))
    assert {re.sub(r"1$", "", name) for name in shown} == listed
