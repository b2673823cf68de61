"""What the SDKs report of their fetches, for the status page and the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from gateway.telemetry import Metrics, Status


@frozen
class FetchReporter:
    """The upstream's ``Reporter``: fetches are shown on the status page and counted."""

    status: Status
    metrics: Metrics

    def record(self, sdk_id: str, ok: bool, message: str) -> None:  # noqa: FBT001 - the Protocol's signature
        """See ``Reporter``."""
        self.status.record(sdk_id, ok, message)

    def fetched(self, sdk_id: str, outcome: str, seconds: float) -> None:
        """See ``Reporter``."""
        self.metrics.fetched(sdk_id, outcome, seconds)

    def requested(self, sdk_id: str, status: int | None, seconds: float) -> None:
        """See ``Reporter``."""
        self.metrics.config_requested(sdk_id, status, seconds)

    def confirmed(self, sdk_id: str) -> None:
        """See ``Reporter``."""
        self.metrics.config_confirmed(sdk_id)

    def stale(self, sdk_id: str, fetched_at: float | None) -> None:
        """See ``Reporter``."""
        self.status.stale(sdk_id, fetched_at)
        self.metrics.config_stale(sdk_id, fetched_at)
