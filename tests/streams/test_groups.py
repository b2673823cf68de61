"""Counting open streams by flag and mode."""

from __future__ import annotations

import random
from typing import Any

from gateway.flags import User, load
from gateway.streams import HeartbeatWheel, Hub, StreamGroup, StreamOptions, count_groups

BODY = b'{"f":{"banner":{"t":1,"v":{"s":"x"}}}}'


class Metrics:
    def stream_opened(self, *_: Any) -> None: ...

    def stream_closed(self, *_: Any) -> None: ...

    def frames_sent(self, *_: Any) -> None: ...


class Outlet:
    def write(self, _data: bytes) -> None: ...


def test_streams_are_counted_by_flag_and_mode() -> None:
    """Users count once per group, unknown flags are one group, and a closed stream is not counted."""
    now = [0.0]
    hub = Hub(
        "shop",
        load(BODY, ""),
        wheel=HeartbeatWheel(0, 0, lambda _: None),
        now=lambda: now[0],
        rng=random.Random(1),
        metrics=Metrics(),
    )
    anna, bert = User({"Identifier": "anna"}), User({"Identifier": "bert"})

    def subscribe(key: str | None, user: User, mode: Any = "plain") -> Any:
        return hub.subscribe(key, user, Outlet(), StreamOptions(mode))

    paused = [subscribe(None, user) for user in (anna, anna, bert)][:2]
    subscribe(None, anna, "delta")
    subscribe("banner", anna).close()
    subscribe("banner", bert)
    subscribe("other", bert)
    subscribe("another", bert)
    for stream in paused:
        now[0] += 2.0
        stream.pause()
    steps = count_groups(hub)
    found: list[StreamGroup] = []
    while not found:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
    assert {
        (None, "plain", 3, 2, 2.0, 2),
        (None, "delta", 1, 0, 0.0, 1),
        ("banner", "plain", 1, 0, 0.0, 1),
        ("[OTHER]", "plain", 2, 0, 0.0, 2),
    } == {(each.flag, each.mode, each.open, each.paused, each.longest_pause, each.cohorts) for each in found}
