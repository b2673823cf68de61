"""What the routes read and call: the parts of the running gateway, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from gateway.telemetry import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from gateway.console.events import Feed
    from gateway.console.reaches import Reaches
    from gateway.console.series import Ring
    from gateway.console.user_streams import UserStreams
    from gateway.flags import Snapshot
    from gateway.history import History
    from gateway.streams import Criteria, Forecasts, Reach, StreamGroup, TailEvent
    from gateway.telemetry import Metrics, OutboxPages, ProcessStatus, Readiness, SeenClients, Status, WorkerState
    from gateway.upstream import Registry


class ServerView(Protocol):
    """The part of ``gateway.serving.Server`` that the routes use."""

    @property
    def stream_count(self) -> int:
        """The number of open streams."""

    def workers(self) -> Sequence[WorkerState]:
        """Return the state of each worker; nothing if this process serves."""

    def stream_groups(self) -> Deferred[tuple[list[tuple[int, list[StreamGroup]]], int]]:
        """Return the open streams of each process with its number, and the number of processes that gave none."""

    def forecast(self, sdk_id: str, candidate: Snapshot, base: Snapshot | None = None) -> Deferred[Forecasts]:
        """Return what a config would change of ``base``, or of the config in use, for the users of each process.

        The Deferred may be cancelled.
        """

    def seen_clients(self) -> Deferred[tuple[list[SeenClients], int]]:
        """Return the clients that each process has seen, and the number of processes that gave none."""

    def tail(
        self, sdk_id: str, criteria: Criteria, flag: str | None, on_event: Callable[[TailEvent], None]
    ) -> Callable[[], None]:
        """Call ``on_event`` with what users who have all attributes of ``criteria`` are sent; return what ends that."""

    def report_reach(self, on_reached: Callable[[Reach], None]) -> None:
        """Call ``on_reached``, which must not raise, with the reach of each change in each process."""


async def no_history(_sdk_id: str, _at: str) -> Snapshot:
    """Refuse every moment but now: earlier configs are not kept."""
    raise RequestError(400, "no history: earlier configs are not kept, leave out 'at'")


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
    ring: Ring
    feed: Feed
    reaches: Reaches
    user_streams: UserStreams
    outbox: OutboxPages
    history: History
    config_at: Callable[[str, str], Awaitable[Snapshot]] = no_history  # SDK id, and a time or the id of a change
