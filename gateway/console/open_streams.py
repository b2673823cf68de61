"""``GET /api/v1/streams``: the open streams by SDK, flag, mode and worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.console.schema import Streams, StreamsAnswer

if TYPE_CHECKING:
    from gateway.console.facade import Facade


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
