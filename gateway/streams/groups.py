"""Counts open streams by flag and mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Generator

    from gateway.streams.cohort import Mode
    from gateway.streams.hub import Hub

COHORTS_AT_ONCE: Final = 64  # counted between two pauses


class StreamGroup(msgspec.Struct, array_like=True):
    """The streams of one SDK, flag (None: all flags) and mode in one process."""

    sdk: str
    flag: str | None
    mode: str
    open: int = 0
    paused: int = 0  # the client does not read
    longest_pause: float = 0.0  # seconds, of those that are paused now
    cohorts: int = 0  # different users


def count_groups(hub: Hub) -> Generator[None, None, list[StreamGroup]]:
    """Return a generator that counts the streams of a hub in small steps; flags that do not exist are one group."""
    groups: dict[tuple[str | None, Mode], StreamGroup] = {}
    now = hub.now()
    for number, cohort in enumerate(hub.cohorts()):
        if number % COHORTS_AT_ONCE == 0:
            yield
        if not cohort.members:
            continue
        flag = hub.label(cohort)
        group = groups.get((flag, cohort.mode))
        if group is None:
            group = groups[flag, cohort.mode] = StreamGroup(hub.sdk_id, flag, cohort.mode)
        group.cohorts += 1
        group.open += len(cohort.members)
        for member in cohort.members:
            if member.paused_since is not None:
                group.paused += 1
                group.longest_pause = max(group.longest_pause, now - member.paused_since)
    return list(groups.values())
