"""What the exporter counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.export.parcel import DropReason


class ExportMetrics(Protocol):
    """Called in the reactor's thread; must not raise."""

    def collected(self, count: int) -> None:
        """Count evaluations that reached the process that writes them, or were dropped on the way there."""

    def dropped(self, reason: DropReason, count: int) -> None:
        """Count evaluations that will not be exported."""

    def waiting(self, count: int, size: int) -> None:
        """Set how many events, in how many bytes, wait on disk for the receiver."""

    def attempted(self, outcome: str, seconds: float) -> None:
        """Count an attempt to send a batch; ``outcome`` is an ``Attempt.label``."""

    def refused(self, count: int) -> None:
        """Count events that the receiver refused for good, and that are set aside."""

    def exported(self, count: int) -> None:
        """Count events that the receiver accepted, or that are in the file."""
