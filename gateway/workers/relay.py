"""How a worker's metrics reach the leader: counted in the worker, reported each second, added up in the leader.

    PushLoop, web ──► MetricsSender ══ MetricsReport ══► MetricsReceiver ──► Metrics

Counts of events stay when a worker ends; its open streams are subtracted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from gateway.telemetry import REQUEST_BUCKETS
from gateway.workers.protocol import AnswerCounts, MetricsReport, StreamKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.telemetry import Metrics


class MetricsSender:
    """The ``ServingMetrics`` of a worker, between two reports.

    Openings and closings are counted separately, because a stream may open and close between two reports.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._opened: Counter[StreamKind] = Counter()
        self._closed: Counter[StreamKind] = Counter()
        self._frames: Counter[StreamKind] = Counter()
        self._refused: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._pushed: list[tuple[str, float]] = []
        self._answers: dict[tuple[str, str, int], list[int]] = {}
        self._seconds: dict[tuple[str, str, int], float] = {}
        self._lags: list[float] = []

    def report(self, dropped_lines: int = 0) -> MetricsReport:
        """Return what was counted since the last report, in which ``dropped_lines`` log lines were dropped."""
        report = MetricsReport(
            _encodable(self._opened),
            _encodable(self._closed),
            _encodable(self._frames),
            dict(self._refused),
            dict(self._dropped),
            self._pushed,
            [AnswerCounts(*answer, buckets, self._seconds[answer]) for answer, buckets in self._answers.items()],
            self._lags,
            dropped_lines,
        )
        self._reset()
        return report

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Count a stream that was opened."""
        self._opened[sdk, flag] += 1

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """Count a stream that has ended."""
        self._closed[sdk, flag] += 1

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Count ``count`` events."""
        self._frames[sdk, flag] += count

    def stream_refused(self, reason: str) -> None:
        """Count a stream that was not opened."""
        self._refused[reason] += 1

    def stream_dropped(self, reason: str) -> None:
        """Count a stream that the gateway ended."""
        self._dropped[reason] += 1

    def pushed(self, sdk: str, seconds: float) -> None:
        """Note how long a push to the subscribers of this worker took."""
        self._pushed.append((sdk, seconds))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        answer = (route, method, status)
        buckets = self._answers.get(answer)
        if buckets is None:
            buckets = self._answers[answer] = [0] * (len(REQUEST_BUCKETS) + 1)
            self._seconds[answer] = 0.0
        buckets[bisect_left(REQUEST_BUCKETS, seconds)] += 1
        self._seconds[answer] += seconds

    def loop_lag(self, seconds: float) -> None:
        """Note a measurement of the event loop's lag."""
        self._lags.append(seconds)


def _encodable(counts: Counter[StreamKind]) -> list[tuple[StreamKind, int]]:
    """Return counts that can be encoded: a flag's key may contain a lone surrogate, which JSON can express."""
    return [((sdk, flag and flag.encode("utf-8", "replace").decode()), count) for (sdk, flag), count in counts.items()]


class MetricsReceiver:
    """Adds the reports of one worker to ``metrics``; ``is_configured`` returns whether the settings have an SDK."""

    def __init__(self, metrics: Metrics, is_configured: Callable[[str], bool]) -> None:
        self._metrics = metrics
        self._is_configured = is_configured
        self._open: Counter[StreamKind] = Counter()

    def add(self, report: MetricsReport) -> None:
        """Add a report: openings first, then the events on these streams, then closings."""
        metrics = self._metrics
        for stream, count in report.opened:
            self._open[stream] += count
            _repeat(count, metrics.stream_opened, *stream)
        for stream, count in report.frames:
            metrics.frames_sent(*stream, count)
        for stream, count in report.closed:
            self._close_streams(stream, count)
        for reason, count in report.refused.items():
            _repeat(count, metrics.stream_refused, reason)
        for reason, count in report.dropped.items():
            _repeat(count, metrics.stream_dropped, reason)
        for sdk_id, seconds in report.pushed:
            if self._is_configured(sdk_id):
                metrics.pushed(sdk_id, seconds)
        for answers in report.answers:
            metrics.answered_elsewhere(answers.route, answers.method, answers.status, answers.buckets, answers.seconds)
        for lag in report.lags:
            metrics.loop_lag(lag)
        metrics.log_lines_dropped(report.dropped_lines)

    def close(self) -> None:
        """Subtract the worker's open streams; it has ended, and no report follows."""
        for stream, count in list(self._open.items()):
            self._close_streams(stream, count)

    def _close_streams(self, stream: StreamKind, count: int) -> None:
        self._open[stream] -= count
        if not self._open[stream]:
            del self._open[stream]
        _repeat(count, self._metrics.stream_closed, *stream)


def _repeat(times: int, count: Callable[..., None], *labels: str | None) -> None:
    for _ in range(times):
        count(*labels)
