"""The ring of points: what is measured, and for how long it is kept."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.internet.task import Clock

from gateway.console.series import INTERVAL, MARKS, POINTS, Ring, read_process
from gateway.telemetry import Metrics


def test_points_have_what_happened_since_the_one_before() -> None:
    """Rates, the longest lag and push, queues; peaks begin again with each point."""
    clock = Clock()
    metrics = Metrics(clock.seconds, "test")
    metrics.deliveries.endpoints(["audit"])
    ring = Ring(clock, clock.seconds, metrics, lambda: 7, list)
    ring.start()
    for _ in range(10):
        metrics.answered("/api/{sdkId}/eval", "POST", 200, 0.001)
    for seconds in (0.2, 0.1):
        metrics.loop_lag(seconds)
        metrics.pushed("shop", seconds / 2)
    metrics.deliveries.waiting("audit", 3, 1.5)
    metrics.evaluations.waiting(42, 1_000)
    ring.mark("shop", "abc")
    clock.advance(INTERVAL)
    clock.advance(INTERVAL)
    first, second = ring.answer(0.0).points
    assert (7, 2.0, 0.1, 0.2, 42) == (
        first.streams,
        first.requests_per_second,
        first.push_seconds,
        first.lag_seconds,
        first.exporter_backlog,
    )
    assert (3, 6.5) == (first.endpoints["audit"].pending, first.endpoints["audit"].oldest_seconds)
    assert (0.0, None, 0.0) == (second.requests_per_second, second.push_seconds, second.lag_seconds)
    assert first.memory_bytes > 2**20
    assert [("shop", "abc")] == [(mark.sdk, mark.config) for mark in ring.answer(-1.0).changes]
    assert [second] == ring.answer(INTERVAL).points
    ring.stop()
    assert [] == clock.getDelayedCalls()


def test_the_ring_is_bounded() -> None:
    """An hour of points, and some hundred changes."""
    clock = Clock()
    ring = Ring(clock, clock.seconds, Metrics(clock.seconds, "test"), lambda: 0, list)
    for number in range(POINTS + 5):
        clock.advance(INTERVAL)
        ring.measure()
        ring.mark("shop", str(number))
    answer = ring.answer(0.0)
    assert (POINTS, MARKS) == (len(answer.points), len(answer.changes))
    assert POINTS * INTERVAL == 3_600


def test_all_processes_are_measured() -> None:
    """One that has ended is left out."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        clock = Clock()
        metrics = Metrics(clock.seconds, "test")
        alone = Ring(clock, clock.seconds, metrics, lambda: 0, list)
        both = Ring(clock, clock.seconds, metrics, lambda: 0, lambda: [child.pid])
        alone.measure()
        both.measure()
        assert both.answer(-1.0).points[0].memory_bytes > alone.answer(-1.0).points[0].memory_bytes
    finally:
        child.kill()
        child.communicate()
    assert None is read_process(child.pid)
    assert (read_process(os.getpid()) or (0, 0.0))[1] > 0
