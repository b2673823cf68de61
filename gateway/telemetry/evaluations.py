"""The series of the exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.telemetry.tally import Counts, Durations, Gauges

if TYPE_CHECKING:
    from collections.abc import Sequence

REASONS = ("memory", "spool_full", "too_large", "unwanted")
OUTCOMES = ("delivered", "refused", "timeout", "broken")
OTHER = "[OTHER]"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds; a call may take ten


class EvaluationSeries:
    """The ``ExportMetrics`` of ``gateway.outbound``.

    Without an exporter all stays at zero, so that an alert has something to compare with.
    """

    def __init__(self) -> None:
        self._collected = Counts(
            "flaggateway_evaluations_collected", "Evaluations noted for the exporter, dropped ones included.", ()
        )
        self._exported = Counts("flaggateway_evaluations_exported", "Evaluation events that arrived.", ())
        self._dropped = Counts("flaggateway_evaluations_dropped", "Evaluations that will not be told.", ("reason",))
        self._waiting = Gauges(
            "flaggateway_evaluations_waiting", "Evaluation events on disk that have not arrived.", ()
        )
        self._bytes = Gauges("flaggateway_evaluations_waiting_bytes", "Their size.", ())
        self._attempts = Counts("flaggateway_export_attempts", "Attempts to send a batch.", ("outcome",))
        self._seconds = Durations("flaggateway_export_duration_seconds", "Time that attempts took.", (), BUCKETS)
        self._collected.add((), 0)
        self._exported.add((), 0)
        for reason in REASONS:
            self._dropped.add((reason,), 0)
        for outcome in OUTCOMES:
            self._attempts.add((outcome,), 0)
        self._seconds.spread(())
        self.waiting(0, 0)

    @property
    def tallies(self) -> Sequence[Counts | Gauges | Durations]:
        """What a registry collects."""
        return (
            self._collected, self._exported, self._dropped, self._waiting, self._bytes, self._attempts, self._seconds,
        )  # fmt: skip

    def collected(self, count: int) -> None:
        """Count evaluations that reached the process that keeps them, or were dropped on the way there."""
        self._collected.add((), count)

    def dropped(self, reason: str, count: int) -> None:
        """Count evaluations that will not be told; ``reason`` is one of ``REASONS``."""
        self._dropped.add((reason if reason in REASONS else OTHER,), count)

    def waiting(self, count: int, size: int) -> None:
        """Show how many events, in how many bytes, are on disk and have not arrived."""
        self._waiting.set((), count)
        self._bytes.set((), size)

    def attempted(self, outcome: str, seconds: float) -> None:
        """Count one attempt to send a batch; ``outcome`` is one of ``OUTCOMES``."""
        self._attempts.add((outcome if outcome in OUTCOMES else OTHER,))
        self._seconds.spread(()).observe(seconds)

    def exported(self, count: int) -> None:
        """Count events that arrived."""
        self._exported.add((), count)
