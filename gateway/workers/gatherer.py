"""Gathers a part of an answer from each worker: one request to each, and the replies until a time limit.

Leader ── RequestForecast, RequestStreams ──► workers ── ForecastResult, StreamsResult ──► Gatherer ──► Gathered
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from gateway.workers.protocol import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from twisted.internet.interfaces import IReactorTime

    from gateway.workers.process import WorkerProcess
    from gateway.workers.protocol import ToWorker

P = TypeVar("P")


class Gathered(NamedTuple, Generic[P]):
    """The parts with the numbers of their workers, and how many workers gave none."""

    found: list[tuple[int, P]]
    missing: int


@define(eq=False)
class _Round(Generic[P]):
    """A request whose replies are awaited."""

    done: Deferred[Gathered[P]]
    waiting: set[WorkerProcess]
    found: list[tuple[int, P]] = field(factory=list)
    missing: int = 0


class Gatherer(Generic[P]):
    """Sends one kind of request to workers, and returns what they reply within ``seconds``."""

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._rounds: dict[int, _Round[P]] = {}
        self._last = 0

    def request(
        self, workers: Collection[WorkerProcess], make: Callable[[int], ToWorker], seconds: float | None = None
    ) -> Deferred[Gathered[P]]:
        """Send ``make(request id)`` to ``workers`` and return their parts; one that ends, or is late, is missing.

        ``seconds`` is another time limit for this request.

        Cancelling stops the wait.
        """
        self._last += 1
        number = self._last
        done: Deferred[Gathered[P]] = Deferred(lambda _: self._forget(number))
        self._rounds[number] = _Round(done, set(workers))
        data = encode(make(number))
        for worker in workers:
            worker.link.send_encoded(data)
        late = self._clock.callLater(self._seconds if seconds is None else seconds, self._finish, number)

        def ended(result: Gathered[P]) -> Gathered[P]:
            if late.active():
                late.cancel()
            return result

        done.addBoth(ended)
        if not workers:
            self._finish(number)
        return done

    def replied(self, worker: WorkerProcess, request_id: int, part: P | None) -> None:
        """Take over the reply of a worker, None if it has no part; one that nothing waits for is ignored."""
        waiting = self._rounds.get(request_id)
        if waiting is None or worker not in waiting.waiting:
            return
        waiting.waiting.discard(worker)
        if part is None:
            waiting.missing += 1
        else:
            waiting.found.append((worker.number, part))
        if not waiting.waiting:
            self._finish(request_id)

    def ended(self, worker: WorkerProcess) -> None:
        """Wait no longer for a worker that has ended."""
        for number in list(self._rounds):
            self.replied(worker, number, None)

    def _forget(self, number: int) -> None:
        self._rounds.pop(number, None)

    def _finish(self, number: int) -> None:
        ended = self._rounds.pop(number, None)
        if ended is not None:
            ended.done.callback(Gathered(ended.found, ended.missing + len(ended.waiting)))
