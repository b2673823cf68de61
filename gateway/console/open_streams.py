"""``/api/v1/streams``: the open streams by SDK, flag, mode and worker; a test stream for one user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.console.explaining import find_sdk, read_user
from gateway.console.schema import Streams, StreamsAnswer, UserStreamBody
from gateway.console.user_streams import MOST
from gateway.telemetry import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.console.facade import Facade
    from gateway.telemetry import BoundedRequest


async def open_streams(facade: Facade) -> StreamsAnswer:
    """Return the streams of all processes, ordered by SDK, flag, mode and worker."""
    found, missing = await facade.server.stream_groups()
    rows = [
        Streams(
            sdk=each.sdk,
            flag=each.flag,
            mode=each.mode,
            worker=worker,
            open=each.open,
            paused=each.paused,
            longest_pause_seconds=round(each.longest_pause, 3),
            users=each.cohorts,
        )
        for worker, groups in found
        for each in groups
    ]
    rows.sort(key=lambda row: (row.sdk, row.flag or "", row.mode, row.worker))
    return StreamsAnswer(sum(row.open for row in rows), sum(row.paused for row in rows), rows, missing)


def open_user_stream(facade: Facade, body: UserStreamBody) -> Callable[[BoundedRequest], None]:
    """Return what opens a test stream on a request.

    :raises RequestError: for an unknown SDK or flag, an invalid user, an SDK without a config, too many streams
    """
    if len(facade.user_streams) >= MOST:
        raise RequestError(503, f"{MOST} test streams are open, which is the limit")
    sdk = find_sdk(facade, body.sdk)
    now = sdk.snapshot
    if now is None:
        raise RequestError(503, f"SDK {sdk.id} has no config yet")
    if body.key is not None and body.key not in now.flags:
        raise RequestError(404, f"the config has no flag {body.key[:200]!r}")
    user = read_user(body.user, sdk)
    return lambda request: facade.user_streams.open(request, sdk.id, body.key, user, now)
