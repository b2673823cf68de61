"""What the routes read and call: the parts of the running gateway, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from gateway.telemetry import Metrics, ProcessStatus, Readiness, Status, WorkerState
    from gateway.upstream import Registry


class ServerView(Protocol):
    """The part of ``gateway.serving.Server`` that the routes use."""

    @property
    def stream_count(self) -> int:
        """The number of open streams."""

    def workers(self) -> Sequence[WorkerState]:
        """Return the state of each worker; nothing if this process serves."""


@frozen
class Facade:
    """The parts; ``problems`` returns the current problems, ``diag_url`` is the base URL of the diagnostics port."""

    registry: Registry
    status: Status
    process: ProcessStatus
    readiness: Readiness
    metrics: Metrics
    server: ServerView
    problems: Callable[[], Sequence[str]]
    clock: IReactorTime
    wall: Callable[[], float]
    diag_url: str
