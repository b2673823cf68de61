"""The metrics of webhooks; the names of the configured endpoints are the only labels that are not fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.telemetry.series import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

OTHER = "[OTHER]"  # the label of a value that is not in its closed set, and of removed endpoints
ATTEMPT_OUTCOMES = ("delivered", "refused", "timeout", "broken")
DROP_REASONS = ("refused", "wordless", "purged", "purged_early")
LEASE_EVENTS = ("taken", "handed_over", "lost")
ATTEMPT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds; a call may take 10


class DeliveryMetrics:
    """The ``WebhookMetrics`` of ``gateway.webhooks``; ``now`` returns seconds, of which only differences are used."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.on_attempt: Callable[[str, str, float], None] = lambda _endpoint, _outcome, _seconds: None
        self._names: frozenset[str] = frozenset()
        self._attempts = Counter("flaggateway_delivery_attempts", "Attempts to deliver.", ("endpoint", "outcome"))
        self._seconds = Histogram(
            "flaggateway_delivery_attempt_duration_seconds",
            "Time that attempts to deliver took.",
            ("endpoint",),
            ATTEMPT_BUCKETS,
        )
        self._failed = Counter("flaggateway_deliveries_failed", "Messages that were given up.", ("endpoint",))
        self._pending = Gauge("flaggateway_deliveries_pending", "Messages that wait.", ("endpoint",))
        self._ages = Gauge(
            "flaggateway_deliveries_oldest_seconds", "Age of the oldest message that waits.", ("endpoint",)
        )
        self._dropped = Counter(
            "flaggateway_deliveries_dropped", "Messages removed from the outbox.", ("endpoint", "reason")
        )
        self._drops: dict[tuple[str, str, str], int] = {}
        self._leases = Gauge(
            "flaggateway_outbox_lease", "Whether this gateway delivers to the endpoint.", ("endpoint",)
        )
        self._lease_changes = Counter(
            "flaggateway_outbox_lease_changes", "Leases of endpoints that began or ended here.", ("endpoint", "event")
        )
        self._recording = Gauge("flaggateway_outbox_recording", "Whether the outbox can be written.", ())

    @property
    def families(self) -> tuple[Counter | Gauge | Histogram, ...]:
        """The metrics for the registry."""
        return (
            self._attempts, self._seconds, self._failed, self._pending, self._ages, self._dropped, self._leases,
            self._lease_changes, self._recording,
        )  # fmt: skip

    def queues(self) -> dict[str, tuple[int, float]]:
        """Return how many messages wait for each endpoint, and the age of the oldest in seconds."""
        ages = self._ages.values()
        return {labels[0]: (int(count), ages.get(labels, 0.0)) for labels, count in self._pending.values().items()}

    def endpoints(self, names: Collection[str]) -> None:
        """Show new endpoints with zeros, and remove the series of endpoints that were removed."""
        before, self._names = self._names, frozenset(names)
        for name in self._names - before:
            for outcome in ATTEMPT_OUTCOMES:
                self._attempts.add((name, outcome), 0)
            self._failed.add((name,), 0)
            self._seconds.series((name,))
        for name in before - self._names:
            for family in self.families[:-1]:
                family.drop(name)

    def attempted(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count an attempt; ``outcome`` is one of ``ATTEMPT_OUTCOMES``."""
        name = self._label(endpoint)
        self._attempts.add((name, outcome if outcome in ATTEMPT_OUTCOMES else OTHER))
        self._seconds.series((name,)).observe(seconds)
        self.on_attempt(name, outcome, seconds)

    def given_up(self, endpoint: str) -> None:
        """Count a message that has failed for good."""
        self._failed.add((self._label(endpoint),))

    def waiting(self, endpoint: str, count: int, age: float) -> None:
        """Set how many messages wait; the ``age`` of the oldest grows until the next call."""
        name, since = self._label(endpoint), self._now() - age
        self._pending.set((name,), count)
        self._ages.set((name,), (lambda: self._now() - since) if count else 0.0)

    def dropped(self, endpoint: str, reason: str, total: int) -> None:
        """Set how many messages the outbox has dropped since it was created; ``reason`` is one of ``DROP_REASONS``."""
        name, known = self._label(endpoint), reason if reason in DROP_REASONS else OTHER
        series = (endpoint, name, known)
        self._dropped.add((name, known), max(total - self._drops.get(series, 0), 0))
        self._drops[series] = total

    def delivers(self, endpoint: str, mine: bool) -> None:  # noqa: FBT001 - the Protocol's signature
        """Set whether this gateway, of those that share the outbox, delivers to an endpoint."""
        if endpoint in self._names:
            self._leases.set((endpoint,), int(mine))

    def lease_changed(self, endpoint: str, event: str) -> None:
        """Count a change of a lease; ``event`` is one of ``LEASE_EVENTS``."""
        self._lease_changes.add((self._label(endpoint), event if event in LEASE_EVENTS else OTHER))

    def recording(self, ok: bool) -> None:  # noqa: FBT001 - the Protocol's signature
        """Set whether the outbox can be written."""
        self._recording.set((), int(ok))

    def _label(self, endpoint: str) -> str:
        return endpoint if endpoint in self._names else OTHER
