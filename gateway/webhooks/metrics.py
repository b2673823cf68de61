"""What webhooks count; labels are endpoint names and words from closed sets, never URLs or users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection


class WebhookMetrics(Protocol):
    """Called in the reactor thread; must not raise."""

    def endpoints(self, names: Collection[str]) -> None:
        """Web hooks have these names from now on; what was counted for others is of no interest any more."""

    def attempted(self, endpoint: str, outcome: str, seconds: float) -> None:
        """An attempt ended; ``outcome`` is one of ``outcome.Label``."""

    def given_up(self, endpoint: str) -> None:
        """A message has failed for good."""

    def waiting(self, endpoint: str, count: int, age: float) -> None:
        """So many messages wait, the oldest for ``age`` seconds."""

    def dropped(self, endpoint: str, reason: str, total: int) -> None:
        """So many messages were dropped since the outbox was made; ``reason`` is one of ``meter.DROPS``."""

    def recording(self, ok: bool) -> None:  # noqa: FBT001
        """The database takes changes, or does not."""
