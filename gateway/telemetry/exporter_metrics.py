"""The metrics of the exporter."""

from gateway.telemetry.series import Counter, Family, Gauge, Histogram
from gateway.telemetry.webhook_metrics import ATTEMPT_OUTCOMES, OTHER

REASONS = ("memory", "refused", "spool_full", "too_large", "unwanted")
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds; a call may take ten


class EvaluationMetrics:
    """The ``ExportMetrics`` of ``gateway.export``; without an exporter all stay 0, so that alerts have a value."""

    def __init__(self) -> None:
        self._collected = Counter(
            "flaggateway_evaluations_collected", "Evaluations noted for the exporter, dropped ones included.", ()
        )
        self._exported = Counter("flaggateway_evaluations_exported", "Evaluation events that arrived.", ())
        self._dropped = Counter(
            "flaggateway_evaluations_dropped", "Evaluations that will not be exported.", ("reason",)
        )
        self._refused = Counter("flaggateway_evaluations_refused", "Evaluation events that the receiver refused.", ())
        self._waiting = Gauge("flaggateway_evaluations_waiting", "Evaluation events on disk that have not arrived.", ())
        self._bytes = Gauge("flaggateway_evaluations_waiting_bytes", "Their size.", ())
        self._attempts = Counter("flaggateway_export_attempts", "Attempts to send a batch.", ("outcome",))
        self._seconds = Histogram("flaggateway_export_duration_seconds", "Time that attempts took.", (), BUCKETS)
        self._collected.add((), 0)
        self._exported.add((), 0)
        self._refused.add((), 0)
        for reason in REASONS:
            self._dropped.add((reason,), 0)
        for outcome in ATTEMPT_OUTCOMES:
            self._attempts.add((outcome,), 0)
        self._seconds.series(())
        self.waiting(0, 0)

    @property
    def families(self) -> tuple[Family, ...]:
        """The metrics for the registry."""
        return (
            self._collected, self._exported, self._refused, self._dropped, self._waiting, self._bytes,
            self._attempts, self._seconds,
        )  # fmt: skip

    def collected(self, count: int) -> None:
        """Count evaluations that were noted for the exporter."""
        self._collected.add((), count)

    def dropped(self, reason: str, count: int) -> None:
        """Count evaluations that will not be exported; ``reason`` is one of ``REASONS``."""
        self._dropped.add((reason if reason in REASONS else OTHER,), count)

    def waiting(self, count: int, size: int) -> None:
        """Set how many events, of how many bytes, are on disk and have not arrived."""
        self._waiting.set((), count)
        self._bytes.set((), size)

    def attempted(self, outcome: str, seconds: float) -> None:
        """Count an attempt to send a batch; ``outcome`` is one of ``ATTEMPT_OUTCOMES``."""
        self._attempts.add((outcome if outcome in ATTEMPT_OUTCOMES else OTHER,))
        self._seconds.series(()).observe(seconds)

    @property
    def backlog(self) -> int:
        """Events on disk that have not arrived."""
        return int(self._waiting.values().get((), 0))

    def exported(self, count: int) -> None:
        """Count events that arrived."""
        self._exported.add((), count)

    def refused(self, count: int) -> None:
        """Count events that the receiver refused for good."""
        self._refused.add((), count)
