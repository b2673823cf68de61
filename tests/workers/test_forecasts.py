"""The forecasts of all workers: gathered, late, or missing because a worker has ended."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from gateway.streams import Forecast, Forecasts, Prediction
from gateway.workers import protocol
from gateway.workers.forecasts import WAIT_SECONDS, ForecastGatherer
from gateway.workers.link import TO_WORKER_LIMIT, Splitter

EMPTY = Prediction(0, 0, 0, b"", b"", [], 0, [])


class Worker:
    """A worker that decodes what it is sent."""

    def __init__(self) -> None:
        self.link = self
        self.received: list[Any] = []

    def send_encoded(self, data: bytes) -> None:
        self.received += [protocol.to_worker.decode(each) for each in Splitter(TO_WORKER_LIMIT).feed(data)]

    def reply(self, gatherer: ForecastGatherer, users: int | None) -> None:
        """Reply to the last request, with a forecast for so many users."""
        part = None if users is None else Forecast(Prediction(users, 0, 0, b"", b"", [], 0, []), EMPTY)
        message = protocol.ForecastResult(self.received[-1].request_id, part)
        decoded = protocol.to_leader.decode(protocol.encode(message))
        gatherer.replied(self, decoded)


def users_of(result: Forecasts) -> tuple[list[int], int]:
    return [each.connected.users for each in result.found], result.missing


def taken(deferred: Deferred[Any]) -> list[Any]:
    results: list[Any] = []
    deferred.addBoth(results.append)
    return results


def test_the_forecasts_of_all_workers_are_gathered() -> None:
    """Each is sent the candidate once; the result comes with the last reply, and no timer is left."""
    clock, workers = Clock(), [Worker(), Worker(), Worker()]
    gatherer = ForecastGatherer(clock)
    result = taken(gatherer.request(workers, "shop", b"{}"))
    assert [[("shop", b"{}")]] * 3 == [[(each.sdk_id, each.body) for each in worker.received] for worker in workers]
    workers[0].reply(gatherer, 1)
    workers[1].reply(gatherer, None)
    assert [] == result
    workers[2].reply(gatherer, 3)
    assert [([1, 3], 1)] == [users_of(each) for each in result]
    assert [] == clock.getDelayedCalls()


def test_workers_that_end_or_are_late_are_missing() -> None:
    """The result is that of the others; a later reply is ignored."""
    clock, workers = Clock(), [Worker(), Worker()]
    gatherer = ForecastGatherer(clock)
    result = taken(gatherer.request(workers, "shop", b"{}"))
    gatherer.ended(workers[0])
    workers[1].reply(gatherer, 2)
    assert [([2], 1)] == [users_of(each) for each in result]
    result = taken(gatherer.request(workers, "shop", b"{}"))
    workers[0].reply(gatherer, 1)
    clock.advance(WAIT_SECONDS)
    assert [([1], 1)] == [users_of(each) for each in result]
    workers[1].reply(gatherer, 2)
    assert [([], 0)] == [users_of(each) for each in taken(gatherer.request([], "shop", b"{}"))]


def test_a_cancelled_request_is_forgotten() -> None:
    """Replies to it are ignored."""
    clock, worker = Clock(), Worker()
    gatherer = ForecastGatherer(clock)
    request = gatherer.request([worker], "shop", b"{}")
    request.cancel()
    with pytest.raises(CancelledError):
        taken(request)[0].raiseException()
    worker.reply(gatherer, 1)
    assert [] == clock.getDelayedCalls()
