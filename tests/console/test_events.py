"""The feed of events: latest states, ten a second, resuming, slow clients."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock

from gateway.console.event_stream import HEARTBEAT
from gateway.console.events import STATES, TICK, Feed
from stream_request import StreamRequest


class Request(StreamRequest):
    """A request of a client that notes the id of the last event."""

    def events(self) -> list[tuple[str, Any]]:
        """Return kind and data of each event, and forget them."""
        wire, self.wire = self.wire, b""
        blocks = [block.splitlines() for block in wire.decode().split("\n\n") if "data: " in block]
        found = [{line.partition(": ")[0]: line.partition(": ")[2] for line in block} for block in blocks]
        for event in found:
            self.last = event["id"]
        return [(event["event"], json.loads(event["data"]).get("n")) for event in found]


def scene() -> tuple[Clock, Feed]:
    clock = Clock()
    clock.advance(1_000)
    return clock, Feed(clock, clock.seconds)


def ticks(clock: Clock, count: int = 30) -> None:
    clock.pump([TICK] * count)


def test_a_new_stream_gets_the_latest_state_of_each_kind_and_key() -> None:
    """In the order of their changes, then what changes; the head lets proxies pass it on at once."""
    clock, feed = scene()
    for number, (kind, key) in enumerate([("config", "a"), ("push", "a"), ("config", "b"), ("config", "a")]):
        feed.publish(kind, key, n=number)
    request = Request()
    feed.listen(request)
    assert request.wire.startswith(b"retry: 2000\nevent: push\n")
    assert [b"no"] == request.responseHeaders.fields[b"X-Accel-Buffering"]
    ticks(clock)
    assert [("push", 1), ("config", 2), ("config", 3)] == request.events()
    feed.publish("config", "a", n=4)
    ticks(clock)
    assert [("config", 4)] == request.events()


def test_at_most_ten_events_a_second_are_sent_and_the_latest_wins() -> None:
    """A state that changes all the time delays no other one for ever."""
    clock, feed = scene()
    request = Request()
    feed.listen(request)
    for number in range(1_000):
        feed.publish("streams", "", n=number)
        if number == 500:
            feed.publish("config", "a", n=-1)
        clock.advance(0.001)
    events = request.events()
    assert 9 <= len(events) <= 10
    assert ("config", -1) in events
    ticks(clock)
    assert [("streams", 999)] == request.events()[-1:]


def test_a_client_that_comes_back_gets_what_changed_meanwhile() -> None:
    """By its last id; one of an earlier process, and any other text, counts as none."""
    clock, feed = scene()
    feed.publish("config", "a", n=1)
    feed.publish("config", "b", n=2)
    first = Request()
    feed.listen(first)
    ticks(clock)
    assert [("config", 1), ("config", 2)] == first.events()
    first.finish()
    assert 0 == feed.listener_count
    feed.publish("config", "a", n=3)
    for last, expected in ((first.last, [("config", 3)]), ("0-2", [("config", 2), ("config", 3)]), ("x", None)):
        request = Request(last)
        feed.listen(request)
        ticks(clock)
        assert (expected or [("config", 2), ("config", 3)]) == request.events()


def test_a_full_connection_gets_the_latest_state_once_it_is_read() -> None:
    """Nothing is queued for it meanwhile."""
    clock, feed = scene()
    request = Request()
    feed.listen(request)
    request.producer.pauseProducing()
    for number in range(100):
        feed.publish("streams", "", n=number)
    ticks(clock, 300)
    assert [] == request.events()
    request.producer.resumeProducing()
    ticks(clock)
    assert [("streams", 99)] == request.events()


def test_a_silent_stream_has_heartbeats_and_ends_with_the_feed() -> None:
    """A heartbeat is a comment; a closed stream has no timers."""
    clock, feed = scene()
    request = Request()
    feed.listen(request)
    request.wire = b""
    clock.advance(HEARTBEAT)
    assert b":\n" == request.wire
    feed.close()
    clock.advance(0)
    assert (0, []) == (feed.listener_count, clock.getDelayedCalls())


def test_the_number_of_states_is_bounded() -> None:
    """The oldest one is dropped."""
    _, feed = scene()
    for number in range(STATES + 1):
        feed.publish("delivery", str(number), n=number)
    request = Request()
    feed.listen(request)
    assert [("delivery", 1)] == request.events()
