"""What can be counted: one Protocol of named methods, and the implementation that counts nothing.

Callers name what happened; how it becomes a series is ``prometheus.py``'s business.
Every method is called in the reactor thread, must not raise, and must be cheap enough for a hot path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.telemetry.deliveries import DeliverySeries
from gateway.telemetry.evaluations import EvaluationSeries

if TYPE_CHECKING:
    from collections.abc import Sequence


class StreamMetrics(Protocol):
    """What the streams tell; ``flag`` is None for a stream of all flags, else a key that the config has."""

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """One stream more."""

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """One stream fewer; called with the arguments that opened it."""

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """``count`` events were written, heartbeats not included."""

    def stream_refused(self, reason: str) -> None:
        """A stream was not opened; ``reason`` is one of ``REFUSALS``."""

    def stream_dropped(self, reason: str) -> None:
        """A stream was ended by us, out of turn; ``reason`` is one of ``DROPS``."""

    def pushed(self, sdk: str, seconds: float) -> None:
        """A change is with all its subscribers, ``seconds`` after it was published."""


class UpstreamMetrics(Protocol):
    """What fetching config JSON tells."""

    def fetched(self, sdk: str, outcome: str, seconds: float) -> None:
        """A fetch ended; ``outcome`` is one of ``OUTCOMES``."""

    def config_applied(self, sdk: str) -> None:
        """A different config took the place of the old one, or is the first."""

    def sdk_removed(self, sdk: str) -> None:
        """The SDK is no longer configured: its series end, so that no alert waits for it."""


class ProcessMetrics(Protocol):
    """What the carriers and the running service tell."""

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered; ``route`` is a pattern of the route table, never a path."""

    def answered_elsewhere(self, route: str, method: str, status: int, buckets: Sequence[int], seconds: float) -> None:
        """A worker process answered requests: so many within each of ``REQUEST_BUCKETS``, ``seconds`` in all."""

    def reloaded(self, ok: bool) -> None:  # noqa: FBT001
        """The settings were read again, and applied or refused."""

    def loop_lag(self, seconds: float) -> None:
        """A timer fired this much too late."""


class Exposition(Protocol):
    """What the diagnostics port needs of the metrics."""

    def render(self) -> bytes:
        """Return every series in Prometheus' text format 0.0.4."""


class Metrics(StreamMetrics, UpstreamMetrics, ProcessMetrics, Exposition, Protocol):
    """Everything that is counted; ``deliveries`` by ``gateway.webhooks``, ``evaluations`` by ``gateway.export``."""

    deliveries: DeliverySeries
    evaluations: EvaluationSeries


class NoMetrics(Metrics):
    """Shows nothing, for gateways whose metrics are off."""

    def __init__(self) -> None:
        self.deliveries = DeliverySeries(lambda: 0.0)
        self.evaluations = EvaluationSeries()

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Count nothing."""

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """Count nothing."""

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Count nothing."""

    def stream_refused(self, reason: str) -> None:
        """Count nothing."""

    def stream_dropped(self, reason: str) -> None:
        """Count nothing."""

    def pushed(self, sdk: str, seconds: float) -> None:
        """Count nothing."""

    def fetched(self, sdk: str, outcome: str, seconds: float) -> None:
        """Count nothing."""

    def config_applied(self, sdk: str) -> None:
        """Count nothing."""

    def sdk_removed(self, sdk: str) -> None:
        """Count nothing."""

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count nothing."""

    def answered_elsewhere(self, route: str, method: str, status: int, buckets: Sequence[int], seconds: float) -> None:
        """Count nothing."""

    def reloaded(self, ok: bool) -> None:  # noqa: FBT001
        """Count nothing."""

    def loop_lag(self, seconds: float) -> None:
        """Count nothing."""

    def render(self) -> bytes:
        """Return nothing."""
        return b""
