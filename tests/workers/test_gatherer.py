"""Parts of an answer from all workers: gathered, late, or missing because a worker has ended."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from gateway.workers import protocol
from gateway.workers.gatherer import Gathered, Gatherer

SECONDS = 30.0


class Worker:
    """A worker that decodes what it is sent."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.link = self
        self.received: list[Any] = []

    def send_encoded(self, message: bytes) -> None:
        self.received.append(protocol.to_worker.decode(message))

    def reply(self, gatherer: Gatherer[str], part: str | None) -> None:
        """Reply to the last request."""
        gatherer.replied(self, self.received[-1].request_id, part)


def taken(deferred: Deferred[Any]) -> list[Any]:
    results: list[Any] = []
    deferred.addBoth(results.append)
    return results


def scene(count: int) -> tuple[Clock, list[Worker], Gatherer[str]]:
    clock = Clock()
    return clock, [Worker(number) for number in range(1, count + 1)], Gatherer(clock, SECONDS)


def test_the_parts_of_all_workers_are_gathered() -> None:
    """Each is sent the request once; the result comes with the last reply, and no timer is left."""
    clock, workers, gatherer = scene(3)
    result = taken(gatherer.request(workers, protocol.RequestStreams))
    assert [[protocol.RequestStreams(1)]] * 3 == [worker.received for worker in workers]
    workers[0].reply(gatherer, "a")
    workers[1].reply(gatherer, None)
    assert [] == result
    workers[2].reply(gatherer, "c")
    assert [Gathered([(1, "a"), (3, "c")], 1)] == result
    assert [] == clock.getDelayedCalls()


def test_workers_that_end_or_are_late_are_missing() -> None:
    """The result is that of the others; a later reply is ignored."""
    clock, workers, gatherer = scene(2)
    result = taken(gatherer.request(workers, protocol.RequestStreams))
    gatherer.ended(workers[0])
    workers[1].reply(gatherer, "b")
    assert [Gathered([(2, "b")], 1)] == result
    result = taken(gatherer.request(workers, protocol.RequestStreams))
    workers[0].reply(gatherer, "a")
    clock.advance(SECONDS)
    assert [Gathered([(1, "a")], 1)] == result
    workers[1].reply(gatherer, "b")
    assert [Gathered([], 0)] == taken(gatherer.request([], protocol.RequestStreams))


def test_a_cancelled_request_is_forgotten() -> None:
    """Replies to it are ignored."""
    clock, (worker,), gatherer = scene(1)
    request = gatherer.request([worker], protocol.RequestStreams)
    request.cancel()
    with pytest.raises(CancelledError):
        taken(request)[0].raiseException()
    worker.reply(gatherer, "a")
    assert [] == clock.getDelayedCalls()
