"""What the upstream tells of its fetches and telemetry asks of the SDKs, each in the other's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.telemetry import Metrics, Status
    from gateway.upstream import Registry


@frozen
class Reports:
    """Tells status and metrics of each fetch."""

    status: Status
    metrics: Metrics

    def record(self, sdk_id: str, ok: bool, message: str) -> None:  # noqa: FBT001 - the Protocol's
        """Put a line on the status page."""
        self.status.record(sdk_id, ok, message)

    def fetched(self, sdk_id: str, outcome: str, seconds: float) -> None:
        """Measure a fetch."""
        self.metrics.fetched(sdk_id, outcome, seconds)


@frozen
class Serving:
    """The registry, as the readiness probe asks for it."""

    registry: Registry

    def __iter__(self) -> Iterator[tuple[str, bool, bool]]:
        """Yield SDK id, whether its first fetch is still under way, and whether it has a config."""
        for sdk in self.registry.sdks:
            yield sdk.id, sdk.loading, sdk.snapshot is not None
