"""What the worker processes use, read when somebody asks: their memory, CPU time and files, each under its number."""

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

    from gateway.workers.pool import Roll

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")  # per second of CPU time
UTIME, STIME = 11, 12  # places in /proc/<pid>/stat, counted from the process's state


class Usage(Collector):
    """Metrics of the workers that are on ``roll`` at the moment of a scrape."""

    def __init__(self, roll: Roll, proc: Path = PROC) -> None:
        self._roll = roll
        self._proc = proc

    def collect(self) -> Iterator[Metric]:
        """Yield the families of now; a worker that ends meanwhile is left out."""
        ready = GaugeMetricFamily("flaggateway_workers", "Worker processes that serve.")
        ended = CounterMetricFamily("flaggateway_worker_ends", "Worker processes that ended before the gateway did.")
        memory = GaugeMetricFamily("flaggateway_worker_resident_memory_bytes", "Memory in use.", labels=("worker",))
        cpu = CounterMetricFamily("flaggateway_worker_cpu_seconds", "CPU time used.", labels=("worker",))
        files = GaugeMetricFamily("flaggateway_worker_open_fds", "Open files; each stream is one.", labels=("worker",))
        ready.add_metric((), sum(member.ready for member in self._roll.members.values()))
        ended.add_metric((), self._roll.ends)
        for number, member in sorted(self._roll.members.items()):
            used = used_by(self._proc / str(member.pid))
            if used is not None:
                memory.add_metric((str(number),), used.resident_bytes)
                cpu.add_metric((str(number),), used.cpu_seconds)
                files.add_metric((str(number),), used.open_files)
        yield from (ready, ended, memory, cpu, files)


@frozen
class Used:
    """What one process uses."""

    resident_bytes: int
    cpu_seconds: float
    open_files: int


def used_by(process: Path) -> Used | None:
    """Return what the process behind a directory of ``/proc`` uses; None when it is gone."""
    try:
        resident = int((process / "statm").read_text().split()[1]) * PAGE_BYTES
        # proc(5): a process's name stands in parentheses and may hold some itself, so what follows the last counts.
        after_name = (process / "stat").read_text().rpartition(")")[2].split()
        files = sum(1 for _ in (process / "fd").iterdir())
    except OSError:
        return None
    return Used(resident, (int(after_name[UTIME]) + int(after_name[STIME])) / TICKS, files)
