"""What the exporter tells a metrics page."""

from __future__ import annotations

from typing import Protocol


class ExportMetrics(Protocol):
    """Called in the reactor thread; must not raise."""

    def collected(self, count: int) -> None:
        """So many evaluations reached the process that keeps them, or were dropped on the way there."""

    def dropped(self, reason: str, count: int) -> None:
        """So many evaluations will not be told; ``reason`` is one of those of ``gateway.exporter``."""

    def waiting(self, count: int, size: int) -> None:
        """So many events, in so many bytes, are on disk and have not arrived."""

    def attempted(self, outcome: str, seconds: float) -> None:
        """An attempt to send a batch ended; ``outcome`` is one of ``outcome.Label``."""

    def exported(self, count: int) -> None:
        """So many events arrived at the receiver, or in the file."""


class Untold:
    """Counts nothing."""

    def collected(self, count: int) -> None:
        """Count nothing."""

    def dropped(self, reason: str, count: int) -> None:
        """Count nothing."""

    def waiting(self, count: int, size: int) -> None:
        """Count nothing."""

    def attempted(self, outcome: str, seconds: float) -> None:
        """Count nothing."""

    def exported(self, count: int) -> None:
        """Count nothing."""
