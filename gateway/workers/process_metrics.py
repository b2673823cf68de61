"""Memory, CPU time and open files of the worker processes, read from /proc at each scrape."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from gateway.workers.pool import WorkerPool

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")  # per second of CPU time
UTIME, STIME = 11, 12  # fields of /proc/<pid>/stat, counted from the process's state


class WorkerMetrics(Collector):
    """Metrics of the workers that run at the moment of a scrape."""

    def __init__(self, pool: WorkerPool, proc: Path = PROC) -> None:
        self._pool = pool
        self._proc = proc

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families; a worker that ends meanwhile is left out."""
        listening = GaugeMetricFamily("flaggateway_workers", "Worker processes that serve.")
        ended = CounterMetricFamily("flaggateway_worker_ends", "Worker processes that ended before the gateway did.")
        silent = GaugeMetricFamily("flaggateway_workers_unresponsive", "Worker processes that do not answer.")
        memory = GaugeMetricFamily("flaggateway_worker_resident_memory_bytes", "Memory in use.", labels=("worker",))
        cpu = CounterMetricFamily("flaggateway_worker_cpu_seconds", "CPU time used.", labels=("worker",))
        files = GaugeMetricFamily("flaggateway_worker_open_fds", "Open files; each stream is one.", labels=("worker",))
        listening.add_metric((), sum(worker.listening for worker in self._pool.workers.values()))
        ended.add_metric((), self._pool.ends)
        silent.add_metric((), sum(worker.unresponsive for worker in self._pool.workers.values()))
        for number, worker in sorted(self._pool.workers.items()):
            usage = process_usage(self._proc / str(worker.pid))
            if usage is not None:
                memory.add_metric((str(number),), usage.resident_bytes)
                cpu.add_metric((str(number),), usage.cpu_seconds)
                files.add_metric((str(number),), usage.open_files)
        yield from (listening, ended, silent, memory, cpu, files)


@frozen
class ProcessUsage:
    """The resources that a process uses."""

    resident_bytes: int
    cpu_seconds: float
    open_files: int


def process_usage(directory: Path) -> ProcessUsage | None:
    """Return the resources of the process with this directory under ``/proc``; None after it has ended."""
    try:
        resident = int((directory / "statm").read_text().split()[1]) * PAGE_BYTES
        # proc(5): the process's name is in parentheses and may itself contain some, so the last one counts.
        after_name = (directory / "stat").read_text().rpartition(")")[2].split()
        files = sum(1 for _ in (directory / "fd").iterdir())
    except OSError:
        return None
    return ProcessUsage(resident, (int(after_name[UTIME]) + int(after_name[STIME])) / TICKS, files)
