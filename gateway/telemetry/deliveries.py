"""The series of what leaves the gateway; endpoints are those of the settings, and their names the only open labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.telemetry.tally import Counts, Durations, Gauges

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

OTHER = "[OTHER]"  # whatever is outside a closed set, or of an endpoint that the settings no longer have
ATTEMPT_OUTCOMES = ("delivered", "refused", "timeout", "broken")
DROP_REASONS = ("refused", "wordless", "purged", "purged_early")
ATTEMPT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds; a call may take 10


class DeliverySeries:
    """The ``WebhookMetrics`` of ``gateway.webhooks``; ``now`` gives seconds, and only differences of it are used.

    An endpoint of which ``endpoints`` did not tell counts under ``[OTHER]``, and so does a word from no closed set.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._names: frozenset[str] = frozenset()
        self._attempts = Counts("flaggateway_delivery_attempts", "Attempts to deliver.", ("endpoint", "outcome"))
        self._seconds = Durations(
            "flaggateway_delivery_attempt_duration_seconds",
            "Time that attempts to deliver took.",
            ("endpoint",),
            ATTEMPT_BUCKETS,
        )
        self._failed = Counts("flaggateway_deliveries_failed", "Messages that were given up.", ("endpoint",))
        self._pending = Gauges("flaggateway_deliveries_pending", "Messages that wait.", ("endpoint",))
        self._ages = Gauges(
            "flaggateway_deliveries_oldest_seconds", "Age of the oldest message that waits.", ("endpoint",)
        )
        self._dropped = Counts(
            "flaggateway_deliveries_dropped", "Messages that are gone from the outbox.", ("endpoint", "reason")
        )
        self._drops: dict[tuple[str, str, str], int] = {}
        self._recording = Gauges("flaggateway_outbox_recording", "Whether the outbox takes changes.", ())

    @property
    def tallies(self) -> tuple[Counts | Gauges | Durations, ...]:
        """What the registry is to show."""
        return (
            self._attempts, self._seconds, self._failed, self._pending, self._ages, self._dropped, self._recording,
        )  # fmt: skip

    def endpoints(self, names: Collection[str]) -> None:
        """Begin with zeros for those that are new; the series of those that are gone end."""
        before, self._names = self._names, frozenset(names)
        for name in self._names - before:
            for outcome in ATTEMPT_OUTCOMES:
                self._attempts.add((name, outcome), 0)
            self._failed.add((name,), 0)
            self._seconds.spread((name,))
        for name in before - self._names:
            for tally in self.tallies[:-1]:
                tally.drop(name)

    def attempted(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count one attempt; ``outcome`` is one of ``ATTEMPT_OUTCOMES``."""
        name = self._known(endpoint)
        self._attempts.add((name, outcome if outcome in ATTEMPT_OUTCOMES else OTHER))
        self._seconds.spread((name,)).observe(seconds)

    def given_up(self, endpoint: str) -> None:
        """Count a message that has failed for good."""
        self._failed.add((self._known(endpoint),))

    def waiting(self, endpoint: str, count: int, age: float) -> None:
        """Show the queue; the age goes on until it is told again."""
        name, told = self._known(endpoint), self._now()
        self._pending.set((name,), count)
        self._ages.set((name,), (lambda: age + self._now() - told) if count else 0.0)

    def dropped(self, endpoint: str, reason: str, total: int) -> None:
        """Count what was added since it was told last; the first time all: a restart goes on from the outbox."""
        name, word = self._known(endpoint), reason if reason in DROP_REASONS else OTHER
        series = (endpoint, name, word)
        self._dropped.add((name, word), max(total - self._drops.get(series, 0), 0))
        self._drops[series] = total

    def recording(self, ok: bool) -> None:  # noqa: FBT001
        """Show it as 1 or 0."""
        self._recording.set((), int(ok))

    def _known(self, endpoint: str) -> str:
        return endpoint if endpoint in self._names else OTHER
