"""What webhooks count.  Labels are endpoint names and words from closed sets, never URLs or users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection


class WebhookMetrics(Protocol):
    """Called in the reactor thread; must not raise."""

    def endpoints(self, names: Collection[str]) -> None:
        """Set the endpoints of the settings; the series of others end."""

    def attempted(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count an attempt; ``outcome`` is an ``Attempt.label``."""

    def given_up(self, endpoint: str) -> None:
        """Count a message that failed for good."""

    def waiting(self, endpoint: str, count: int, age: float) -> None:
        """Set how many messages wait, and the age of the oldest in seconds."""

    def dropped(self, endpoint: str, reason: str, total: int) -> None:
        """Set how many messages were dropped since the outbox was created; ``reason`` is a value of ``DROPS``."""

    def recording(self, ok: bool) -> None:  # noqa: FBT001 - a gauge of 1 or 0
        """Set whether changes can be recorded."""

    def delivers(self, endpoint: str, mine: bool) -> None:  # noqa: FBT001 - a gauge of 1 or 0
        """Set whether this node delivers to an endpoint; called only where several nodes share the outbox."""

    def lease_changed(self, endpoint: str, event: str) -> None:
        """Count a lease that this node has ``taken``, ``handed_over`` to another one, or ``lost``."""
