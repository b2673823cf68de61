"""What the hub tells to whoever keeps count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.streams.cohort import Subscriber


class Meter(Protocol):
    """What the hub counts; ``flag`` is None for a stream of all flags.  Nothing here may raise."""

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Count a stream that was opened."""

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """Count a stream that is gone."""

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Count ``count`` events (not heartbeats) that were written."""


def ignore(subscriber: Subscriber, error: Exception) -> None:
    """Tell nobody of a fault."""
