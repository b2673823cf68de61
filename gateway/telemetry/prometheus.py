"""The metrics of a running gateway, as Prometheus reads them.

    web, streams, upstream, service ──► PrometheusMetrics ──► render() ──► /metrics

Every label comes from a closed set or is capped: routes from the route table, methods, statuses, outcomes and reasons
from the tuples below, SDK ids from the settings, flags from the config.
Nothing a caller sends becomes a label, so no caller can grow the gateway's memory or learn another's key.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from twisted.copyright import version as twisted_version

from gateway.telemetry.deliveries import OTHER, DeliverySeries
from gateway.telemetry.evaluations import EvaluationSeries
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tally import Counts, Durations, Gauges, Spread, Tallies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ALL_FLAGS = "[ALL]"  # the peer's label of a stream of all flags
NO_ROUTE = "[NONE]"  # a request that no route matched
FLAG_LIMIT = 1000  # flags with series of their own per SDK; each costs two series, some 500 bytes of a scrape
ROUTE_LIMIT = 100  # patterns; the route table has some thirty
LABEL_LIMIT = 255  # characters of a flag's label; ConfigCat's own limit for a key
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
FETCH_GOOD = ("changed", "not_modified")
FETCH_FAILED = (
    "timeout", "connect", "tls", "proxy", "protocol", "status", "truncated", "too_large",
    "encoding", "redirect", "config", "file", "key", "stopped",
)  # fmt: skip
OUTCOMES = FETCH_GOOD + FETCH_FAILED
REFUSALS = ("connections", "address", "no_config", "stopping")
DROPS = ("stalled",)

# Upper bounds in seconds.
# The first row is the peer's, for its dashboards; the others reach as far as the timeouts and windows behind them.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
FETCH_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PUSH_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class PrometheusMetrics(Metrics):
    """Counts in its own registry; ``now`` gives seconds, and only differences of it are used.

    All methods, ``render`` included, belong to the reactor thread.
    """

    def __init__(self, now: Callable[[], float], version: str) -> None:
        self._now = now
        self._flags: dict[str, dict[str | None, str]] = {}
        self._open: dict[str, int] = {}  # streams per SDK
        self._leaving: set[str] = set()  # SDKs that are removed, while their last streams close
        self._routes: set[str] = set()
        self._answers: dict[tuple[str, str, int], tuple[tuple[str, str, str], Spread]] = {}
        stream_labels = ("sdk", "type", "flag")
        self._connections = Gauges(
            "configcat_stream_connections", "Open event streams of one flag, or of all flags.", stream_labels
        )
        self._messages = Counts(
            "configcat_stream_msg_sent", "Events written to streams, heartbeats not included.", stream_labels
        )
        self._requests = Counts("flaggateway_http_requests", "Requests answered.", ("route", "method", "status"))
        self._request_seconds = Durations(
            "flaggateway_http_request_duration_seconds",
            "Time from a complete request to its answer.",
            ("route",),
            REQUEST_BUCKETS,
        )
        self._fetches = Counts("flaggateway_fetches", "Fetches of config JSON that ended.", ("sdk", "outcome"))
        self._fetch_seconds = Durations(
            "flaggateway_fetch_duration_seconds", "Time that fetches of config JSON took.", ("sdk",), FETCH_BUCKETS
        )
        self._changes = Counts("flaggateway_config_changes", "Configs that took the place of another.", ("sdk",))
        self._ages = Gauges(
            "flaggateway_config_age_seconds",
            "Time since the source last confirmed the config; since the first attempt when it never did.",
            ("sdk",),
        )
        self._refused = Counts("flaggateway_streams_refused", "Streams that were not opened.", ("reason",))
        self._dropped = Counts("flaggateway_streams_dropped", "Streams that the gateway gave up.", ("reason",))
        self._push_seconds = Durations(
            "flaggateway_push_duration_seconds",
            "Time from a new config to the last subscriber that it concerns.",
            ("sdk",),
            PUSH_BUCKETS,
        )
        self._lag = Durations(
            "flaggateway_reactor_lag_seconds", "How much too late a timer of one second fired.", (), LAG_BUCKETS
        )
        self._reloads = Counts("flaggateway_reloads", "Times the settings were read again.", ("outcome",))
        self._info = Gauges(
            "flaggateway_build_info", "1, with the versions as labels.", ("version", "python", "twisted")
        )
        self._info.set((version, platform.python_version(), twisted_version), 1)
        self.deliveries = self._delivery_series = DeliverySeries(now)
        self.evaluations = self._evaluation_series = EvaluationSeries()
        self._start_at_zero()
        self.registry = self._register()

    def _start_at_zero(self) -> None:
        for outcome in ("applied", "refused"):
            self._reloads.add((outcome,), 0)
        for reason in REFUSALS:
            self._refused.add((reason,), 0)
        for reason in DROPS:
            self._dropped.add((reason,), 0)
        self._lag.spread(())

    def _register(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        registry.register(
            Tallies(
                (
                    self._connections, self._messages, self._requests, self._request_seconds, self._fetches,
                    self._fetch_seconds, self._changes, self._ages, self._refused, self._dropped, self._push_seconds,
                    self._lag, self._reloads, self._info, *self._delivery_series.tallies,
                    *self._evaluation_series.tallies,
                )
            )
        )  # fmt: skip
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        return registry

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """One stream more."""
        self._leaving.discard(sdk)
        self._open[sdk] = self._open.get(sdk, 0) + 1
        self._connections.add((sdk, "sse", self._admit(sdk, flag)), 1)

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """One stream fewer; the last one of a removed SDK takes its series along."""
        if not self._open.get(sdk):
            return
        self._open[sdk] -= 1
        self._connections.add((sdk, "sse", self._flags[sdk].get(flag, OTHER)), -1)
        if sdk in self._leaving:
            self._leave(sdk)

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Count events; not those of an SDK that has been removed."""
        if self._open.get(sdk) and sdk not in self._leaving:
            self._messages.add((sdk, "sse", self._flags[sdk].get(flag, OTHER)), count)

    def stream_refused(self, reason: str) -> None:
        """One stream was not opened."""
        self._refused.add((_one_of(REFUSALS, reason),))

    def stream_dropped(self, reason: str) -> None:
        """One stream was given up."""
        self._dropped.add((_one_of(DROPS, reason),))

    def pushed(self, sdk: str, seconds: float) -> None:
        """A change is with all its subscribers."""
        self._push_seconds.spread((sdk,)).observe(seconds)

    def fetched(self, sdk: str, outcome: str, seconds: float) -> None:
        """A fetch ended; a good one starts the age of the config again."""
        self._fetches.add((sdk, _one_of(OUTCOMES, outcome)))
        self._fetch_seconds.spread((sdk,)).observe(seconds)
        if outcome in FETCH_GOOD or not self._ages.has((sdk,)):
            contact = self._now()
            self._ages.set((sdk,), lambda: self._now() - contact)

    def config_applied(self, sdk: str) -> None:
        """A different config is in place."""
        self._changes.add((sdk,))

    def sdk_removed(self, sdk: str) -> None:
        """End all series of an SDK: at once, but those of its open streams with the last of them."""
        for tally in (
            self._messages, self._fetches, self._fetch_seconds, self._changes, self._ages, self._push_seconds,
        ):  # fmt: skip
            tally.drop(sdk)
        self._leaving.add(sdk)
        self._leave(sdk)

    def _leave(self, sdk: str) -> None:
        if not self._open.get(sdk):
            self._connections.drop(sdk)
            self._flags.pop(sdk, None)
            self._open.pop(sdk, None)
            self._leaving.discard(sdk)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer: two dictionary look-ups and a bisection."""
        known = self._answers.get((route, method, status))
        if known is None:
            known = self._learn(route, method, status)
        labels, spread = known
        self._requests.add(labels)
        spread.observe(seconds)

    def answered_elsewhere(self, route: str, method: str, status: int, buckets: Sequence[int], seconds: float) -> None:
        """Add the answers of a worker process, which counts under the same bounds."""
        known = self._answers.get((route, method, status)) or self._learn(route, method, status)
        labels, spread = known
        self._requests.add(labels, sum(buckets))
        spread.absorb(buckets, seconds)

    def reloaded(self, ok: bool) -> None:  # noqa: FBT001
        """Count one reload."""
        self._reloads.add(("applied" if ok else "refused",))

    def loop_lag(self, seconds: float) -> None:
        """Count one measurement of the reactor's lag."""
        self._lag.spread(()).observe(seconds)

    def render(self) -> bytes:
        """Return every series in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)

    def _admit(self, sdk: str, flag: str | None) -> str:
        """Return the label of a flag: the same one for as long as the SDK is configured."""
        labels = self._flags.setdefault(sdk, {None: ALL_FLAGS})
        label = labels.get(flag)
        if label is None:
            if flag is None or len(labels) > FLAG_LIMIT or len(flag) > LABEL_LIMIT:
                return OTHER
            # A lone surrogate, which JSON can carry, would make the whole page impossible to encode.
            label = labels[flag] = flag.encode("utf-8", "replace").decode()
        return label

    def _learn(self, route: str, method: str, status: int) -> tuple[tuple[str, str, str], Spread]:
        """Return the series of an answer; remember them only while the key itself is from closed sets."""
        if route not in self._routes and len(self._routes) >= ROUTE_LIMIT:
            route = OTHER
        self._routes.add(route)
        code = str(status) if 100 <= status <= 599 else OTHER
        name = route or NO_ROUTE
        series = (name, _one_of(METHODS, method), code), self._request_seconds.spread((name,))
        if series[0] == (route, method, code):
            self._answers[(route, method, status)] = series
        return series


def _one_of(closed: tuple[str, ...], value: str) -> str:
    return value if value in closed else OTHER
