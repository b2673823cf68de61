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

FORESEE_SECONDS: Final = 5.0  # before a config is used; the users that are examined by then decide
FORECAST_SECONDS: Final = 20.0  # for the users of one process; what is examined by then is the result


async def forecast(
    clock: IReactorTime,
    hubs: Mapping[str, Hub],
    sample: UserSample,
    sdk_id: str,
    candidate: Snapshot,
    base: Snapshot | None,
    seconds: float,
    *,
    sampled: bool,
) -> Forecast | None:
    """Return what ``candidate`` would change of ``base``, or of the config in use; None for an SDK without a config.

    Streams that open or close meanwhile may count or not.  What is examined after ``seconds`` is the result; the users
    of the sample are examined only if ``sampled``.
    """
    hub = hubs.get(sdk_id)
    if hub is None or hub.snapshot is None:
        return None
    until = clock.seconds() + seconds

    def out_of_time() -> bool:
        return clock.seconds() > until

    old = hub.snapshot if base is None else base
    audience = await in_turns(clock, by_user(hub.cohorts()))
    connected = await in_turns(clock, predict(old, candidate, audience, out_of_time))
    users: dict[User | None, list[Cohort]] = {user: [] for user in (sample.users(sdk_id) if sampled else ())}
    return Forecast(connected, await in_turns(clock, predict(old, candidate, users, out_of_time)))
