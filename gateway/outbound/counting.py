"""What outbound tells a metrics page; labels are endpoint names and words from closed sets, never URLs or users."""

from __future__ import annotations

from typing import Protocol


class OutboundMetrics(Protocol):
    """Called in the reactor thread; must not raise."""

    def attempted(self, endpoint: str, outcome: str, seconds: float) -> None:
        """An attempt ended: ``delivered``, ``postponed`` or ``failed`` (given up)."""

    def waiting(self, endpoint: str, count: int, age: float) -> None:
        """So many messages wait, the oldest for ``age`` seconds."""

    def recording(self, ok: bool) -> None:  # noqa: FBT001
        """The database takes changes, or does not."""


class Uncounted:
    """Counts nothing."""

    def attempted(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count nothing."""

    def waiting(self, endpoint: str, count: int, age: float) -> None:
        """Count nothing."""

    def recording(self, ok: bool) -> None:  # noqa: FBT001
        """Count nothing."""
