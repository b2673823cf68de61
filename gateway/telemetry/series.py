"""Counters, gauges and histograms without locks, for one thread.

    hot path ──► Counter, Gauge, Histogram ──► text() ──► /metrics

The client library's own metric objects take a lock and search their buckets: 3.8 µs per request instead of 0.4 µs.
Its text format takes seven times as long as ``text``, and the event loop waits for it.
All methods, scrapes included, are called in the reactor thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client.metrics_core import Metric

Labels = tuple[str, ...]
V = TypeVar("V")


class _Family(Generic[V]):
    """The series of one metric, by the values of their labels."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self.name = name
        self._documentation = documentation
        self._labels = labels
        self._order = sorted(range(len(labels)), key=labels.__getitem__)
        self._values: dict[Labels, V] = {}

    def drop(self, first: str) -> None:
        """Remove the series whose first label is ``first``."""
        self._values = {labels: value for labels, value in self._values.items() if labels[0] != first}

    def _head(self, name: str, kind: str) -> str:
        return f"# HELP {name} {self._documentation}\n# TYPE {name} {kind}\n"

    def _inner(self, labels: Labels) -> str:
        """Return the labels in the order of their names, without braces."""
        return ",".join(f'{self._labels[index]}="{_escaped(labels[index])}"' for index in self._order)

    def _line(self, name: str, labels: Labels, value: float) -> str:
        inner = self._inner(labels)
        return f"{name}{{{inner}}} {floatToGoString(value)}\n" if inner else f"{name} {floatToGoString(value)}\n"


class Counter(_Family[int]):
    """A counter; ``name`` is without the ``_total`` that the text format adds."""

    def add(self, labels: Labels, amount: int = 1) -> None:
        """Add ``amount``; 0 makes the series visible, so that a rate over its first event is right."""
        self._values[labels] = self._values.get(labels, 0) + amount

    def values(self) -> dict[Labels, int]:
        """Return the value of each series."""
        return dict(self._values)

    def total(self) -> int:
        """Return the sum of all series."""
        return sum(self._values.values())

    def family(self) -> Metric:
        """Return the metric with its current values."""
        family = CounterMetricFamily(self.name, self._documentation, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        return family

    def text(self) -> str:
        """Return the metric in Prometheus' text format 0.0.4."""
        name = f"{self.name}_total"
        return self._head(name, "counter") + "".join(self._line(name, *item) for item in self._values.items())


class Gauge(_Family[float | Callable[[], float]]):
    """A gauge; a value may be a function, which is called at each scrape."""

    def has(self, labels: Labels) -> bool:
        """Return whether the series exists."""
        return labels in self._values

    def values(self) -> dict[Labels, float]:
        """Return the current value of each series."""
        return {labels: value() if callable(value) else value for labels, value in self._values.items()}

    def set(self, labels: Labels, value: float | Callable[[], float]) -> None:
        """Set the value of a series."""
        self._values[labels] = value

    def add(self, labels: Labels, amount: int) -> None:
        """Change the value of a series by ``amount``, but not below zero."""
        now = self._values.get(labels, 0)
        if not callable(now):
            self._values[labels] = max(0, now + amount)

    def family(self) -> Metric:
        """Return the metric with its current values."""
        family = GaugeMetricFamily(self.name, self._documentation, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value() if callable(value) else value)
        return family

    def text(self) -> str:
        """Return the metric in Prometheus' text format 0.0.4."""
        return self._head(self.name, "gauge") + "".join(self._line(self.name, *item) for item in self.values().items())


class HistogramSeries:
    """One series of a histogram: the number of observations per bucket, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration; one that equals a bound belongs to the bucket below, as Prometheus' ``le`` demands."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def add(self, counts: Sequence[int], seconds: float) -> None:
        """Add observations that another process counted with the same bounds: numbers per bucket, and their sum."""
        for index, count in enumerate(counts):
            self._counts[index] += count
        self._sum += seconds

    def add_to(self, other: HistogramSeries) -> None:
        """Add these observations to another series with the same bounds."""
        other.add(self._counts, self._sum)

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self._counts)

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return cumulative counts by upper bound, and the sum."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(bounds, map(float, self.cumulated()), strict=True)), self._sum

    def cumulated(self) -> list[int]:
        """Return the number of observations up to each bound, all of them last."""
        return list(accumulate(self._counts))

    @property
    def sum(self) -> float:
        """The sum of the observations."""
        return self._sum


class Histogram(_Family[HistogramSeries]):
    """A histogram of seconds; ``bounds`` are the upper bounds of the buckets in ascending order."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: tuple[float, ...]) -> None:
        super().__init__(name, documentation, labels)
        self._bounds = bounds

    def series(self, labels: Labels) -> HistogramSeries:
        """Return the series of ``labels``: the same object each time, so a caller may keep it."""
        series = self._values.get(labels)
        if series is None:
            series = self._values[labels] = HistogramSeries(self._bounds)
        return series

    def items(self) -> list[tuple[Labels, HistogramSeries]]:
        """Return all series with their labels."""
        return list(self._values.items())

    def counts(self) -> dict[Labels, int]:
        """Return the number of observations of each series."""
        return {labels: series.count for labels, series in self._values.items()}

    def family(self) -> Metric:
        """Return the metric with its current values."""
        family = HistogramMetricFamily(self.name, self._documentation, labels=self._labels)
        for labels, series in self._values.items():
            buckets, total = series.buckets()
            family.add_metric(labels, buckets, total)
        return family

    def text(self) -> str:
        """Return the metric in Prometheus' text format 0.0.4."""
        name = self.name
        ends = [f'le="{bound}"}} ' for bound in (*map(floatToGoString, self._bounds), "+Inf")]
        parts = [self._head(name, "histogram")]
        for labels, series in self._values.items():
            inner = self._inner(labels)
            begin = f"{name}_bucket{{{inner}," if inner else f"{name}_bucket{{"
            counts = series.cumulated()
            parts += [f"{begin}{end}{count}.0\n" for end, count in zip(ends, counts, strict=True)]
            parts.append(self._line(f"{name}_count", labels, counts[-1]))
            parts.append(self._line(f"{name}_sum", labels, series.sum))
        return "".join(parts)


class Family(Protocol):
    """A metric as it is read."""

    def family(self) -> Metric:
        """Return the metric with its current values."""

    def text(self) -> str:
        """Return the metric in Prometheus' text format 0.0.4."""


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value
