"""Connects the rooms to the API on the diagnostics port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.clocks import wall_clock
from gateway.console import ConsoleApi, Facade, make_api

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.serving import Server
    from gateway.settings import Settings
    from gateway.telemetry import HealthWarnings, Metrics, ProcessStatus, Readiness, Status
    from gateway.upstream import Registry

ALL_ADDRESSES = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - of the settings, for which a loopback address is shown


def build_api(  # noqa: PLR0913 - keywords, one per part
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
) -> ConsoleApi:
    """Return the API over these parts."""
    facade = Facade(
        registry=registry,
        status=status,
        process=process,
        readiness=readiness,
        metrics=metrics,
        server=server,
        problems=lambda: warnings.current,
        clock=reactor,
        wall=wall_clock(reactor),
        diag_url=_diag_url(settings),
    )
    return make_api(facade)


def _diag_url(settings: Settings) -> str:
    """Return the base URL of the diagnostics port for a caller on this machine."""
    bind = settings.diag.bind
    host = "127.0.0.1" if bind in ALL_ADDRESSES else f"[{bind}]" if ":" in bind else bind
    return f"http://{host}:{settings.diag.port}"
