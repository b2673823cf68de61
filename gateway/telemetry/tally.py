"""Counters, gauges and histograms that belong to one thread.

    hot path ──► Counts / Gauges / Durations ──► Tallies.collect() ──► prometheus_client ──► text

The client library's own metric objects take a lock and walk their buckets for each observation: 3.8 µs for one request
where these take 0.4 µs.
Everything here is used from the reactor thread alone, scrapes included, so no lock is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

Labels = tuple[str, ...]


class Counts:
    """A counter; ``name`` is given without the ``_total`` that the exposition adds."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self.name = name
        self._documentation = documentation
        self._labels = labels
        self._values: dict[Labels, int] = {}

    def add(self, labels: Labels, amount: int = 1) -> None:
        """Count ``amount`` more; 0 makes the series visible, so that a rate over its first event is right."""
        self._values[labels] = self._values.get(labels, 0) + amount

    def drop(self, first: str) -> None:
        """Forget the series whose first label is ``first``."""
        self._values = {labels: value for labels, value in self._values.items() if labels[0] != first}

    def families(self) -> Iterator[Metric]:
        """Return the values of now."""
        family = CounterMetricFamily(self.name, self._documentation, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class Gauges:
    """Values that go up and down; one may also be a function that is asked at each scrape."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self.name = name
        self._documentation = documentation
        self._labels = labels
        self._values: dict[Labels, float | Callable[[], float]] = {}

    def has(self, labels: Labels) -> bool:
        """Whether the series exists."""
        return labels in self._values

    def set(self, labels: Labels, value: float | Callable[[], float]) -> None:
        """Replace the value of one series."""
        self._values[labels] = value

    def add(self, labels: Labels, amount: int) -> None:
        """Move one series by ``amount``, never below zero."""
        now = self._values.get(labels, 0)
        if not callable(now):
            self._values[labels] = max(0, now + amount)

    def drop(self, first: str) -> None:
        """Forget the series whose first label is ``first``."""
        self._values = {labels: value for labels, value in self._values.items() if labels[0] != first}

    def families(self) -> Iterator[Metric]:
        """Return the values of now."""
        family = GaugeMetricFamily(self.name, self._documentation, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value() if callable(value) else value)
        yield family


class Spread:
    """One series of a histogram: how many observations fell into each bucket, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; a bound belongs to the bucket below it, as Prometheus' ``le`` says."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def absorb(self, counts: Sequence[int], seconds: float) -> None:
        """Add what was observed elsewhere under the same bounds: how many fell into each bucket, and their sum."""
        for index, count in enumerate(counts):
            self._counts[index] += count
        self._sum += seconds

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return cumulative counts by upper bound, and the sum."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self._counts)), strict=True)), self._sum


class Durations:
    """A histogram in seconds with fixed upper bounds, in rising order."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: tuple[float, ...]) -> None:
        self.name = name
        self._documentation = documentation
        self._labels = labels
        self._bounds = bounds
        self._spreads: dict[Labels, Spread] = {}

    def spread(self, labels: Labels) -> Spread:
        """Return the series of ``labels``, the same object each time, for callers who keep it."""
        spread = self._spreads.get(labels)
        if spread is None:
            spread = self._spreads[labels] = Spread(self._bounds)
        return spread

    def drop(self, first: str) -> None:
        """Forget the series whose first label is ``first``."""
        self._spreads = {labels: spread for labels, spread in self._spreads.items() if labels[0] != first}

    def families(self) -> Iterator[Metric]:
        """Return the values of now."""
        family = HistogramMetricFamily(self.name, self._documentation, labels=self._labels)
        for labels, spread in self._spreads.items():
            buckets, total = spread.buckets()
            family.add_metric(labels, buckets, total)
        yield family


class Tallies(Collector):
    """What a prometheus_client registry asks: every tally, in the order given."""

    def __init__(self, tallies: Iterable[Counts | Gauges | Durations]) -> None:
        self._tallies = tuple(tallies)

    def collect(self) -> Iterator[Metric]:
        """Yield the families of now."""
        for tally in self._tallies:
            yield from tally.families()
