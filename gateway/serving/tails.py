"""The tails of one process: what the streams of one user are sent, explained in slices.

hub ──► Tail.pending ──► explained, one step per turn of the reactor ──► on_event
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from gateway.deferreds import supervise
from gateway.logger import component_logger
from gateway.slices import in_turns
from gateway.streams import Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Attribute, Snapshot
    from gateway.serving.push_loop import PushLoop
    from gateway.streams import Cohort, Impact, TailEvent

_log = component_logger("http.sse")


class Tails:
    """Opens tails; the loop's hubs are observed only while there is one."""

    def __init__(self, clock: IReactorTime, push_loop: PushLoop) -> None:
        self._clock = clock
        self._push_loop = push_loop

    def open(
        self, sdk_id: str, criteria: Mapping[str, Attribute], flag: str | None, on_event: Callable[[TailEvent], None]
    ) -> Callable[[], None]:
        """Call ``on_event`` with the events of users who have all attributes of ``criteria``; return what ends that.

        The first event has the number of open streams that match.
        """
        tail = _RunningTail(self._clock, Tail(sdk_id, criteria, flag), on_event)
        hub = self._push_loop.hubs.get(sdk_id)
        self._push_loop.observe(sdk_id, tail)
        tail.begin([] if hub is None else hub.cohorts())

        def close() -> None:
            tail.open = False
            self._push_loop.observe_no_more(sdk_id, tail)

        return close


class _RunningTail:
    """Explains what a tail has noted, one event after the other."""

    def __init__(self, clock: IReactorTime, tail: Tail, on_event: Callable[[TailEvent], None]) -> None:
        self.open = True
        self._clock = clock
        self._tail = tail
        self._on_event = on_event
        self._busy = False

    def begin(self, cohorts: list[Cohort]) -> None:
        """Count the open streams, then go on with what was noted meanwhile."""
        self._busy = True
        supervise(Deferred.fromCoroutine(self._work(cohorts)), _log, "a tail of streams failed")

    def event_sent(self, cohort: Cohort, snapshot: Snapshot, impact: Impact | None, count: int) -> None:
        """Note an event, and explain it in a later turn of the reactor."""
        self._tail.event_sent(cohort, snapshot, impact, count)
        if self._tail.pending and not self._busy:
            self._busy = True
            self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        supervise(Deferred.fromCoroutine(self._work(None)), _log, "a tail of streams failed")

    async def _work(self, cohorts: list[Cohort] | None) -> None:
        try:
            if cohorts is not None:
                self._report(await in_turns(self._clock, self._tail.count_open(cohorts)))
            while self._tail.pending and self.open:
                self._report(await in_turns(self._clock, self._tail.explain_next()))
        finally:
            self._busy = False

    def _report(self, event: TailEvent) -> None:
        if self.open:
            self._on_event(event)
