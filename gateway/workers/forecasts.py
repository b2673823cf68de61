"""Gathers forecasts of all workers: one request to each, and the replies until a time limit.

Leader ── RequestForecast ──► workers ── ForecastResult ──► ForecastGatherer ──► Forecasts
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field
from twisted.internet.defer import Deferred

from gateway.serving import FORECAST_SECONDS
from gateway.streams import Forecast, Forecasts
from gateway.workers.link import add_length
from gateway.workers.protocol import ForecastResult, RequestForecast, encode

if TYPE_CHECKING:
    from collections.abc import Collection

    from twisted.internet.interfaces import IReactorTime

    from gateway.workers.process import WorkerProcess

WAIT_SECONDS: Final = FORECAST_SECONDS + 10.0  # the rest is for compiling a large config


@define(eq=False)
class _Round:
    """A request whose replies are awaited."""

    done: Deferred[Forecasts]
    waiting: set[WorkerProcess]
    found: list[Forecast] = field(factory=list)
    missing: int = 0


class ForecastGatherer:
    """Sends a request to workers, and returns what they reply."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._rounds: dict[int, _Round] = {}
        self._last = 0

    def request(self, workers: Collection[WorkerProcess], sdk_id: str, body: bytes) -> Deferred[Forecasts]:
        """Return the forecasts of ``workers``; one that ends, or takes ``WAIT_SECONDS``, is missing.

        Cancelling stops the wait.
        """
        self._last += 1
        number = self._last
        done: Deferred[Forecasts] = Deferred(lambda _: self._forget(number))
        self._rounds[number] = _Round(done, set(workers))
        data = add_length(encode(RequestForecast(number, sdk_id, body)))
        for worker in workers:
            worker.link.send_encoded(data)
        late = self._clock.callLater(WAIT_SECONDS, self._finish, number)

        def ended(result: Forecasts) -> Forecasts:
            if late.active():
                late.cancel()
            return result

        done.addBoth(ended)
        if not workers:
            self._finish(number)
        return done

    def replied(self, worker: WorkerProcess, result: ForecastResult) -> None:
        """Take over the reply of a worker; one that nothing waits for is ignored."""
        waiting = self._rounds.get(result.request_id)
        if waiting is None or worker not in waiting.waiting:
            return
        waiting.waiting.discard(worker)
        if result.forecast is None:
            waiting.missing += 1
        else:
            waiting.found.append(result.forecast)
        if not waiting.waiting:
            self._finish(result.request_id)

    def ended(self, worker: WorkerProcess) -> None:
        """Wait no longer for a worker that has ended."""
        for number in list(self._rounds):
            self.replied(worker, ForecastResult(number, None))

    def _forget(self, number: int) -> None:
        self._rounds.pop(number, None)

    def _finish(self, number: int) -> None:
        ended = self._rounds.pop(number, None)
        if ended is not None:
            ended.done.callback(Forecasts(ended.found, ended.missing + len(ended.waiting)))
