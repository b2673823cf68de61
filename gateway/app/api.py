"""Connects the rooms to the API on the diagnostics port."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.clocks import wall_clock
from gateway.console import Console, Facade, Feed, Reaches, Ring, UserStreams
from gateway.history import HistoryUnavailable, NotKept
from gateway.telemetry import OutboxPages, RequestError, read_moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Snapshot
    from gateway.history import History
    from gateway.serving import Server
    from gateway.settings import Settings
    from gateway.telemetry import DeliveryAdmin, HealthWarnings, Metrics, ProcessStatus, Readiness, Status
    from gateway.upstream import Registry

# The times that the API gives are cut to milliseconds: such a time means all of it.
MILLISECOND = 0.001
_CHANGE = re.compile(r"[0-9]{1,9}")  # seconds since 1970 have ten digits
ALL_ADDRESSES = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - of the settings, for which a loopback address is shown


def build_console(  # noqa: PLR0913 - keywords, one per part
    reactor: IReactorTime,
    settings: Settings,
    *,
    registry: Registry,
    server: Server,
    status: Status,
    process: ProcessStatus,
    readiness: Readiness,
    metrics: Metrics,
    warnings: HealthWarnings,
    history: History,
    outbox: Callable[[], DeliveryAdmin | None],
) -> Console:
    """Return the console over these parts."""
    wall = wall_clock(reactor)

    def pids() -> list[int]:
        return [worker.pid for worker in server.workers() if worker.pid]

    facade = Facade(
        registry=registry,
        status=status,
        process=process,
        readiness=readiness,
        metrics=metrics,
        server=server,
        problems=lambda: warnings.current,
        clock=reactor,
        wall=wall,
        diag_url=_diag_url(settings),
        ring=Ring(reactor, wall, metrics, lambda: server.stream_count, pids),
        feed=Feed(reactor, wall),
        reaches=Reaches(reactor.seconds),
        user_streams=UserStreams(reactor, wall),
        outbox=OutboxPages(outbox),
        history=history,
        config_at=lambda sdk_id, at: config_at(history, sdk_id, at),
    )
    return Console(facade)


async def config_at(history: History, sdk_id: str, at: str) -> Snapshot:
    """Return the config that was in use at a time, or that a change brought into use.

    :raises RequestError: for another text, and for a moment that is not kept
    """
    try:
        if _CHANGE.fullmatch(at):
            return await history.snapshot_of_change(sdk_id, int(at))
        return await history.snapshot_at(sdk_id, _moment(at) + MILLISECOND)
    except NotKept as error:
        raise RequestError(400, str(error)) from None
    except HistoryUnavailable as error:
        raise RequestError(503, str(error)) from None


def _moment(at: str) -> float:
    try:
        return read_moment(at)
    except RequestError:
        text = "at is neither a date such as 2026-05-01T12:00:00Z, nor seconds since 1970, nor the number of a change"
        raise RequestError(400, text) from None


def _diag_url(settings: Settings) -> str:
    """Return the base URL of the diagnostics port for a caller on this machine."""
    bind = settings.diag.bind
    host = "127.0.0.1" if bind in ALL_ADDRESSES else f"[{bind}]" if ":" in bind else bind
    return f"http://{host}:{settings.diag.port}"
