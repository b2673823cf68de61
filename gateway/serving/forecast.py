"""What a candidate config would change for the users of this process, computed in short slices.

hub, sample ──► users ──► predict, some milliseconds per turn of the reactor ──► Forecast
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.slices import in_turns
from gateway.streams import Forecast, by_user, predict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Snapshot, User
    from gateway.streams import Cohort, Hub
    from gateway.web import UserSample

FORECAST_SECONDS: Final = 20.0  # for the users of one process; what is examined by then is the result


async def forecast(
    clock: IReactorTime, hubs: Mapping[str, Hub], sample: UserSample, sdk_id: str, candidate: Snapshot
) -> Forecast | None:
    """Return what ``candidate`` would change; None for an SDK without a config or streams.

    Streams that open or close meanwhile may count or not.
    """
    hub = hubs.get(sdk_id)
    if hub is None or hub.snapshot is None:
        return None
    until = clock.seconds() + FORECAST_SECONDS

    def out_of_time() -> bool:
        return clock.seconds() > until

    old = hub.snapshot
    audience = await in_turns(clock, by_user(hub.cohorts()))
    connected = await in_turns(clock, predict(old, candidate, audience, out_of_time))
    sampled: dict[User | None, list[Cohort]] = {user: [] for user in sample.users(sdk_id)}
    return Forecast(connected, await in_turns(clock, predict(old, candidate, sampled, out_of_time)))
