"""The metrics of a gateway, as Prometheus reads them.

    web, streams, upstream, webhooks, export, app ──► Metrics ──► render() ──► /metrics

Every label value is from a closed set or capped: routes from the route table, methods, statuses, outcomes and reasons
from the tuples below, SDK ids from the settings, flags from the config.
Nothing that a client sends becomes a label, so no client can grow the gateway's memory or read another's key here.
Each room declares in a Protocol of its own which of these methods it calls.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from twisted.copyright import version as twisted_version

from gateway.telemetry.exporter_metrics import EvaluationMetrics
from gateway.telemetry.history_metrics import ConfigHistoryMetrics
from gateway.telemetry.http_metrics import AnswerMetrics, FetchRequestMetrics
from gateway.telemetry.login_metrics import LoginMetrics
from gateway.telemetry.series import Counter, Family, Gauge, Histogram
from gateway.telemetry.shared_cache_metrics import SharedCacheMetrics
from gateway.telemetry.webhook_metrics import OTHER, DeliveryMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

ALL_FLAGS = "[ALL]"  # the label of a stream of all flags, as in ConfigCat Proxy
FLAG_LIMIT = 1000  # flags with series of their own per SDK; each costs two series, some 500 bytes of a scrape
LABEL_LIMIT = 255  # characters of a flag's label; ConfigCat's own limit for a key
FETCH_GOOD = ("changed", "not_modified")
FETCH_FAILED = (
    "timeout", "connect", "tls", "proxy", "protocol", "status", "truncated", "too_large",
    "encoding", "redirect", "config", "file", "key", "cache", "stopped",
)  # fmt: skip
OUTCOMES = FETCH_GOOD + FETCH_FAILED
REFUSALS = ("connections", "address", "files", "key")
DROPS = ("stalled", "expired")

# Upper bounds in seconds, which cover the timeouts of what they measure.
FETCH_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PUSH_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class _SettingsSeries:
    """Whether reloads of the settings succeeded, and what waits for a restart; from the start without a failure."""

    def __init__(self) -> None:
        self.reloads = Counter("flaggateway_reloads", "Reloads of the settings.", ("outcome",))
        self.successful = Gauge(
            "flaggateway_settings_last_reload_successful", "1 if the last reload was applied, 0 if it was refused.", ()
        )
        self.success_at = Gauge(
            "flaggateway_settings_last_reload_success_timestamp_seconds",
            "When settings were last applied, by a reload or the start, in seconds since 1970.",
            (),
        )
        self.restart_pending = Gauge(
            "flaggateway_settings_restart_pending", "1 while changed settings wait for a restart, 0 otherwise.", ()
        )
        for outcome in ("applied", "refused"):
            self.reloads.add((outcome,), 0)
        self.successful.set((), 1)
        self.restart_pending.set((), 0)
        self.families = (self.reloads, self.successful, self.success_at, self.restart_pending)


class Metrics:
    """All metrics of a process, in a registry of its own; ``now`` returns seconds, of which only differences are used.

    ``wall`` returns Unix seconds; without it ``now`` does.
    All methods, ``render`` included, must be called in the reactor thread; none raises.
    """

    def __init__(self, now: Callable[[], float], version: str, wall: Callable[[], float] | None = None) -> None:
        self._now = now
        self._wall = now if wall is None else wall
        self._take_dropped_lines: Callable[[], int] = lambda: 0
        self._lag_peak = 0.0
        self._push_peak: float | None = None
        self._flags: dict[str, dict[str | None, str]] = {}
        self._open: dict[str, int] = {}  # streams per SDK
        self._leaving: set[str] = set()  # removed SDKs whose last streams are closing
        self._answers = AnswerMetrics()
        self._known_answers = self._answers.known
        self._fetch_requests = FetchRequestMetrics()
        stream_labels = ("sdk", "type", "flag")
        self._connections = Gauge(
            "configcat_stream_connections", "Open event streams of one flag, or of all flags.", stream_labels
        )
        self._messages = Counter(
            "configcat_stream_msg_sent", "Events written to streams, heartbeats not included.", stream_labels
        )
        self._fetches = Counter("flaggateway_fetches", "Fetches of config JSON that ended.", ("sdk", "outcome"))
        self._fetch_seconds = Histogram(
            "flaggateway_fetch_duration_seconds", "Time that fetches of config JSON took.", ("sdk",), FETCH_BUCKETS
        )
        self._changes = Counter("flaggateway_config_changes", "Configs that replaced another.", ("sdk",))
        self._ages = Gauge(
            "flaggateway_config_age_seconds",
            "Time since the source last confirmed the config; since the first attempt when it never did.",
            ("sdk",),
        )
        self._stale = Gauge(
            "flaggateway_config_stale",
            "1 while the cached config of an earlier run is served, which no fetch has confirmed yet.",
            ("sdk_id",),
        )
        self._up = Gauge("flaggateway_sdk_up", "1 while the SDK is healthy on the status page.", ("sdk_id",))
        self._flag_count = Gauge("flaggateway_flags", "Flags of the config in use.", ("sdk_id",))
        self._failing_flags = Gauge(
            "flaggateway_flags_failing", "Flags of the config in use that fail, for some users or all.", ("sdk_id",)
        )
        self._held = Gauge("flaggateway_config_held", "1 while a new config is held, 0 otherwise.", ("sdk_id",))
        self._pinned = Gauge(
            "flaggateway_config_pinned", "1 while an operator has pinned a config, 0 otherwise.", ("sdk_id",)
        )
        self._refused = Counter("flaggateway_streams_refused", "Streams that were not opened.", ("reason",))
        self._dropped = Counter("flaggateway_streams_dropped", "Streams that the gateway ended.", ("reason",))
        self._push_seconds = Histogram(
            "flaggateway_push_duration_seconds",
            "Time from a new config to its last subscriber.",
            ("sdk",),
            PUSH_BUCKETS,
        )
        self._lag = Histogram("flaggateway_reactor_lag_seconds", "Delay of a timer of one second.", (), LAG_BUCKETS)
        self._settings = _SettingsSeries()
        self._dropped_lines = Counter("flaggateway_log_lines_dropped", "Log lines that were not written.", ())
        self._info = Gauge(
            "flaggateway_build_info", "1, with the versions as labels.", ("version", "python", "twisted")
        )
        self._info.set((version, platform.python_version(), twisted_version), 1)
        self.deliveries = DeliveryMetrics(now)
        self.evaluations = EvaluationMetrics()
        self.history = ConfigHistoryMetrics()
        self.shared_cache = SharedCacheMetrics()
        self.logins = LoginMetrics()
        self._start_at_zero()
        self._families = self._all()
        self.registry = CollectorRegistry()  # for metrics that are measured at each scrape
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def _start_at_zero(self) -> None:
        for reason in REFUSALS:
            self._refused.add((reason,), 0)
        for reason in DROPS:
            self._dropped.add((reason,), 0)
        self._lag.series(())
        self._dropped_lines.add((), 0)

    def _all(self) -> tuple[Family, ...]:
        return (
            self._connections, self._messages, *self._answers.families, self._fetches, self._fetch_seconds,
            self._changes, self._ages, self._stale, self._flag_count, self._failing_flags, self._held, self._pinned,
            self._up, self._refused, self._dropped, self._push_seconds, self._lag, *self._settings.families,
            self._dropped_lines, self._info, *self.deliveries.families, *self.evaluations.families,
            *self.history.families, *self.shared_cache.families, *self.logins.families,
            *self._fetch_requests.families,
        )  # fmt: skip

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Count a stream that was opened; ``flag`` is None for all flags, else a key that the config has."""
        self._leaving.discard(sdk)
        self._open[sdk] = self._open.get(sdk, 0) + 1
        self._connections.add((sdk, "sse", self._flag_label(sdk, flag)), 1)

    def open_streams(self, sdk: str) -> int:
        """Return the number of open streams of an SDK; those of workers as last reported, up to a second ago."""
        return self._open.get(sdk, 0)

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """Stop counting a stream; the last one of a removed SDK removes its series."""
        if not self._open.get(sdk):
            return
        self._open[sdk] -= 1
        self._connections.add((sdk, "sse", self._flags[sdk].get(flag, OTHER)), -1)
        if sdk in self._leaving:
            self._leave(sdk)

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Count ``count`` events, without heartbeats and without those of removed SDKs."""
        if self._open.get(sdk) and sdk not in self._leaving:
            self._messages.add((sdk, "sse", self._flags[sdk].get(flag, OTHER)), count)

    def stream_refused(self, reason: str) -> None:
        """Count a stream that was not opened; ``reason`` is one of ``REFUSALS``."""
        self._refused.add((_one_of(REFUSALS, reason),))

    def stream_dropped(self, reason: str) -> None:
        """Count a stream that the gateway ended before its client did; ``reason`` is one of ``DROPS``."""
        self._dropped.add((_one_of(DROPS, reason),))

    def pushed(self, sdk: str, seconds: float) -> None:
        """Note that a change has reached all its subscribers, ``seconds`` after it was published."""
        self._push_seconds.series((sdk,)).observe(seconds)
        self._push_peak = max(self._push_peak or 0.0, seconds)

    def fetched(self, sdk: str, outcome: str, seconds: float) -> None:
        """Count a fetch; ``outcome`` is one of ``OUTCOMES``. A successful one resets the age of the config."""
        self._fetches.add((sdk, _one_of(OUTCOMES, outcome)))
        self._fetch_seconds.series((sdk,)).observe(seconds)
        if outcome in FETCH_GOOD or not self._ages.has((sdk,)):
            self.config_confirmed(sdk)
        if outcome in FETCH_GOOD or not self._stale.has((sdk,)):
            self._stale.set((sdk,), 0)

    def config_requested(self, sdk: str, status: int | None, seconds: float) -> None:
        """Count one request to a CDN and the time to its status, None if there is none; those of removed SDKs not."""
        if self._up.has((sdk,)):
            self._fetch_requests.requested(sdk, status, seconds)

    def sdk_added(self, sdk: str, is_healthy: Callable[[], bool]) -> None:
        """Show from now on whether an SDK is healthy; ``is_healthy`` is called at each scrape."""
        self._up.set((sdk,), lambda: int(is_healthy()))

    def config_confirmed(self, sdk: str) -> None:
        """Note that the source still has the config of its last fetch, which resets the age."""
        contact = self._now()
        self._ages.set((sdk,), lambda: self._now() - contact)

    def config_stale(self, sdk: str, fetched_at: float | None) -> None:
        """Note that an SDK serves the cached config of that fetch, in Unix seconds; None ends that.

        A fetch that succeeds ends it too.
        """
        self._stale.set((sdk,), int(fetched_at is not None))
        if fetched_at is not None:
            self._ages.set((sdk,), lambda: max(0.0, self._wall() - fetched_at))

    def config_applied(self, sdk: str) -> None:
        """Count a new config."""
        self._changes.add((sdk,))

    def flags_in_use(self, sdk: str, flags: int, failing: int) -> None:
        """Note the number of flags, and of those that fail for at least some users."""
        self._flag_count.set((sdk,), flags)
        self._failing_flags.set((sdk,), failing)
        if not self._held.has((sdk,)):
            self._held.set((sdk,), 0)
        if not self._pinned.has((sdk,)):
            self._pinned.set((sdk,), 0)

    def config_held(self, sdk: str, held: bool) -> None:  # noqa: FBT001 - reads well in its one call
        """Note whether a config of this SDK is held."""
        self._held.set((sdk,), int(held))

    def config_pinned(self, sdk: str, pinned: bool) -> None:  # noqa: FBT001 - as above
        """Note whether an operator has pinned a config of this SDK."""
        self._pinned.set((sdk,), int(pinned))

    def sdk_removed(self, sdk: str) -> None:
        """Remove the series of an SDK: those of open streams with the last stream, all others at once."""
        for family in (
            self._messages, self._fetches, self._fetch_seconds, self._changes, self._ages, self._stale,
            self._flag_count, self._failing_flags, self._held, self._pinned, self._up, self._push_seconds,
        ):  # fmt: skip
            family.drop(sdk)
        self.shared_cache.sdk_removed(sdk)
        self._fetch_requests.sdk_removed(sdk)
        self._leaving.add(sdk)
        self._leave(sdk)

    def _leave(self, sdk: str) -> None:
        if not self._open.get(sdk):
            self._connections.drop(sdk)
            self._flags.pop(sdk, None)
            self._open.pop(sdk, None)
            self._leaving.discard(sdk)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer; ``route`` is a pattern of the route table, empty if none matched."""
        series = self._known_answers.get((route, method, status))
        if series is None:
            series = self._answers.series(route, method, status)
        series.observe(seconds)

    def answers(self) -> list[tuple[str, str, int, int]]:
        """Return route, method, status and number of the answers so far; a route is ``[NONE]`` where none matched."""
        return self._answers.answers()

    def answered_elsewhere(self, route: str, method: str, status: int, buckets: Sequence[int], seconds: float) -> None:
        """Add the answers of a worker: numbers per bucket of ``REQUEST_BUCKETS``, and the sum of their seconds."""
        series = self._known_answers.get((route, method, status)) or self._answers.series(route, method, status)
        series.add(buckets, seconds)

    def started(self, at: float) -> None:
        """Note that the settings of the start were applied at ``at``, in seconds since 1970."""
        self._settings.success_at.set((), at)

    def reloaded(self, ok: bool, at: float) -> None:  # noqa: FBT001 - one of two columns
        """Count a reload, applied or refused; ``at`` is in seconds since 1970."""
        self._settings.reloads.add(("applied" if ok else "refused",))
        self._settings.successful.set((), int(ok))
        if ok:
            self._settings.success_at.set((), at)

    def restart_pending(self, pending: bool) -> None:  # noqa: FBT001 - reads well in its one call
        """Note whether settings that a reload has read wait for a restart."""
        self._settings.restart_pending.set((), int(pending))

    def loop_lag(self, seconds: float) -> None:
        """Note how late a timer fired."""
        self._lag.series(()).observe(seconds)
        self._lag_peak = max(self._lag_peak, seconds)

    def take_peaks(self) -> tuple[float, float | None]:
        """Return the longest lag and the longest push (None: there was none) since the last call, in seconds."""
        peaks = self._lag_peak, self._push_peak
        self._lag_peak, self._push_peak = 0.0, None
        return peaks

    @property
    def requests_total(self) -> int:
        """The number of requests answered so far."""
        return self._answers.total()

    def log_lines_dropped(self, count: int) -> None:
        """Count log lines that were dropped."""
        self._dropped_lines.add((), count)

    def take_dropped_lines_from(self, take: Callable[[], int]) -> None:
        """At each ``render`` count the lines that ``take()`` returns: those that were dropped since its last call."""
        self._take_dropped_lines = take

    def render(self) -> bytes:
        """Return all series in Prometheus' text format 0.0.4."""
        self.log_lines_dropped(self._take_dropped_lines())
        return "".join(family.text() for family in self._families).encode() + generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics with their current values."""
        yield from (family.family() for family in self._families)
        yield from self.registry.collect()

    def _flag_label(self, sdk: str, flag: str | None) -> str:
        """Return the label of a flag: the same one while the SDK is configured."""
        labels = self._flags.setdefault(sdk, {None: ALL_FLAGS})
        label = labels.get(flag)
        if label is None:
            if flag is None or len(labels) > FLAG_LIMIT or len(flag) > LABEL_LIMIT:
                return OTHER
            # JSON can contain a lone surrogate, with which the page could not be encoded.
            label = labels[flag] = flag.encode("utf-8", "replace").decode()
        return label


def _one_of(closed: tuple[str, ...], value: str) -> str:
    return value if value in closed else OTHER
