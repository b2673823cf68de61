"""Metrics of requests that were answered, and of requests for configs, also under the names of ConfigCat Proxy.

web, workers ──► AnswerMetrics ──► flaggateway_http_*, configcat_http_server_*
upstream     ──► FetchRequestMetrics ──► configcat_http_client_*

A histogram per route, method and status is all that is kept: a request costs one observation, and the series with
fewer labels are computed for each scrape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.telemetry.series import Counter, Family, Histogram, HistogramSeries
from gateway.telemetry.webhook_metrics import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.metrics_core import Metric

NO_ROUTE = "[NONE]"  # the label of a request that no route matched
ROUTE_LIMIT = 100  # patterns; the route table has some thirty
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
# Upper bounds in seconds: those of ConfigCat Proxy, for its dashboards.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class AnswerMetrics:
    """Answers of this process and of its workers, by route, method and status."""

    def __init__(self) -> None:
        self._series = Histogram(
            "configcat_http_server_request_duration_seconds",
            "Time from a complete request to the head of its answer.",
            ("http_route", "http_request_method", "http_response_status_code"),
            REQUEST_BUCKETS,
        )
        self.known: dict[tuple[str, str, int], HistogramSeries] = {}
        self._routes: set[str] = set()

    @property
    def families(self) -> tuple[Family, ...]:
        """All metrics."""
        return (Computed(self._totals), Computed(self._per_route), self._series)

    def answers(self) -> list[tuple[str, str, int, int]]:
        """Return route, method, status and number of the answers so far; a route is ``[NONE]`` where none matched."""
        counts = self._series.counts().items()
        return [(route, method, _number(status), count) for (route, method, status), count in counts]

    def total(self) -> int:
        """Return the number of answers so far."""
        return sum(self._series.counts().values())

    def series(self, route: str, method: str, status: int) -> HistogramSeries:
        """Return the series of an answer, to which its seconds are added; ``route`` is empty if none matched.

        It is in ``known`` from now on if every part of the key is from a closed set.
        """
        if route not in self._routes and len(self._routes) >= ROUTE_LIMIT:
            route = OTHER
        self._routes.add(route)
        labels = (route or NO_ROUTE, method if method in METHODS else OTHER, _status(status))
        series = self._series.series(labels)
        if labels == (route, method, str(status)):
            self.known[(route, method, status)] = series
        return series

    def _totals(self) -> Counter:
        family = Counter("flaggateway_http_requests", "Requests answered.", ("route", "method", "status"))
        for labels, count in self._series.counts().items():
            family.add(labels, count)
        return family

    def _per_route(self) -> Histogram:
        family = Histogram(
            "flaggateway_http_request_duration_seconds",
            "Time from a complete request to its answer.",
            ("route",),
            REQUEST_BUCKETS,
        )
        for (route, _, _), series in self._series.items():
            series.add_to(family.series((route,)))
        return family


class FetchRequestMetrics:
    """Requests to CDNs for configs, redirects included; of the labels of ConfigCat Proxy those without key and host."""

    def __init__(self) -> None:
        self._series = Histogram(
            "configcat_http_client_request_duration_seconds",
            "Time from a request for a config to the head of its answer.",
            ("configcat_sdk_id", "configcat_source", "http_request_method", "http_response_status_code"),
            REQUEST_BUCKETS,
        )

    @property
    def families(self) -> tuple[Family, ...]:
        """All metrics."""
        return (self._series,)

    def requested(self, sdk: str, status: int | None, seconds: float) -> None:
        """Count a request that ended with the status of its answer, or None without one, whose label is empty."""
        code = "" if status is None else _status(status)
        self._series.series((sdk, "sdk", "GET", code)).observe(seconds)

    def sdk_removed(self, sdk: str) -> None:
        """Remove the series of an SDK."""
        self._series.drop(sdk)


class Computed:
    """A metric that ``compute`` returns at each scrape."""

    def __init__(self, compute: Callable[[], Family]) -> None:
        self._compute = compute

    def family(self) -> Metric:
        """Return the metric with its current values."""
        return self._compute().family()

    def text(self) -> str:
        """Return the metric in Prometheus' text format 0.0.4."""
        return self._compute().text()


def _status(code: int) -> str:
    return str(code) if 100 <= code <= 599 else OTHER


def _number(status: str) -> int:
    return int(status) if status != OTHER else 0
