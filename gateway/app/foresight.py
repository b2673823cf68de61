"""The effect of a new config on the connected users, before it is used: for ``guard.max_impact_percent``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from gateway.logger import component_logger
from gateway.slices import in_turns
from gateway.streams import merge
from gateway.upstream import Audience

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Snapshot
    from gateway.serving import Server

_log = component_logger("sdks")

UNKNOWN = "SDK {sdk_id}: the effect of a new config on the connected users is not known, so it is not limited: {reason}"


def foresee(clock: IReactorTime, server: Server, sdk_id: str, candidate: Snapshot) -> Deferred[Audience | None]:
    """Return the effect of a config; None if no process gives it.  It takes some seconds at most, and never fails.

    Cancelling ends the wait.
    """
    return Deferred.fromCoroutine(_foresee(clock, server, sdk_id, candidate))


async def _foresee(clock: IReactorTime, server: Server, sdk_id: str, candidate: Snapshot) -> Audience | None:
    try:
        forecasts = await server.foresee(sdk_id, candidate)
        if not forecasts.found:
            _log.warn(UNKNOWN, sdk_id=sdk_id, reason="no process that serves has answered")
            return None
        if forecasts.missing:
            text = "SDK {sdk_id}: {count} workers have not answered what a new config changes, the others decide"
            _log.warn(text, sdk_id=sdk_id, count=forecasts.missing)
        connected = await in_turns(clock, merge([each.connected for each in forecasts.found]))
    except CancelledError:
        raise
    except Exception:  # noqa: BLE001 - an error in the prediction must not hold up a config that can be served
        _log.failure(UNKNOWN, sdk_id=sdk_id, reason="internal error")
        return None
    return Audience(len(connected.changed), connected.changed.count(1))
