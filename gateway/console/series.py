"""``GET /api/v1/series``: an hour of points in memory, one per five seconds.

Metrics, /proc ──► Ring.measure, each 5 s ──► deque of 720 points, below 1 MB
"""

from __future__ import annotations

import os
from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.console.schema import ChangeMark, Point, Queue, SeriesAnswer
from gateway.deferreds import Repeating
from gateway.logger import component_logger
from gateway.text import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from gateway.telemetry import Metrics

_log = component_logger("diag")

INTERVAL: Final = 5.0  # seconds
POINTS: Final = 720  # one hour
MARKS: Final = 500  # changes
ENDPOINTS: Final = 20  # of a point; more have little space in a plot
TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Ring:
    """Measures from ``start`` on; ``pids`` returns the worker processes, ``stream_count`` the open streams."""

    def __init__(
        self,
        clock: IReactorTime,
        wall: Callable[[], float],
        metrics: Metrics,
        stream_count: Callable[[], int],
        pids: Callable[[], Sequence[int]],
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._metrics = metrics
        self._stream_count = stream_count
        self._pids = pids
        self._points: deque[tuple[float, Point]] = deque(maxlen=POINTS)
        self._marks: deque[tuple[float, ChangeMark]] = deque(maxlen=MARKS)
        self._loop = Repeating(clock, self.measure, _log, "measuring the state for /api/v1/series failed")
        self._measured = clock.seconds()
        self._requests = metrics.requests_total
        self._busy: dict[int, float] = {}  # seconds of processor time, by process
        self.on_point: Callable[[Point], None] = lambda _: None  # called with each new point

    def start(self) -> None:
        """Begin to measure."""
        self._loop.start(INTERVAL)

    def stop(self) -> None:
        """Measure no more."""
        self._loop.stop()

    def mark(self, sdk_id: str, tag: str) -> None:
        """Note that a config came into use."""
        now = self._wall()
        self._marks.append((now, ChangeMark(iso(now), sdk_id, tag)))

    def measure(self) -> None:
        """Add a point."""
        now, wall, metrics = self._clock.seconds(), self._wall(), self._metrics
        seconds = max(now - self._measured, 1e-3)
        requests, self._requests = self._requests, metrics.requests_total
        self._measured = now
        lag, push = metrics.take_peaks()
        memory, busy = self._processes()
        point = Point(
            at=iso(wall),
            streams=self._stream_count(),
            requests_per_second=round((self._requests - requests) / seconds, 2),
            push_seconds=None if push is None else round(push, 6),
            lag_seconds=round(lag, 6),
            endpoints={
                name: Queue(count, round(age, 3))
                for name, (count, age) in islice(metrics.deliveries.queues().items(), ENDPOINTS)
            },
            exporter_backlog=metrics.evaluations.backlog,
            memory_bytes=memory,
            processor=round(busy / seconds, 4),
        )
        self._points.append((wall, point))
        self.on_point(point)

    def answer(self, since: float) -> SeriesAnswer:
        """Return the points and changes after ``since``, in seconds since 1970."""
        return SeriesAnswer(
            INTERVAL,
            [point for at, point in self._points if at > since],
            [mark for at, mark in self._marks if at > since],
        )

    def _processes(self) -> tuple[int, float]:
        """Return the memory of all processes, and the processor time since the last call."""
        memory, busy, before, self._busy = 0, 0.0, self._busy, {}
        for pid in (os.getpid(), *self._pids()):
            found = read_process(pid)
            if found is not None:
                memory += found[0]
                self._busy[pid] = found[1]
                busy += found[1] - before.get(pid, found[1])
        return memory, busy


def read_process(pid: int) -> tuple[int, float] | None:
    """Return the resident bytes of a process and its seconds of processor time; None if it has ended (proc(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("latin-1")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return int(fields[21]) * PAGE, (int(fields[11]) + int(fields[12])) / TICKS
