"""The states of an endpoint's queue: each transition, and what it means for reads and attempts."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from courier_scene import FINE, Scene, endpoint
from gateway.webhooks.delivery.courier import GRACE
from gateway.webhooks.delivery.endpoint_queue import TRANSITIONS, WRITE_AGAIN, EndpointQueue, Event, State

EXPECTED = [
    (State.IDLE, Event.WOKEN, State.LOADING),
    (State.IDLE, Event.STOPPED, State.STOPPING),
    (State.LOADING, Event.WOKEN, State.RELOADING),
    (State.LOADING, Event.LOADED, State.IDLE),
    (State.LOADING, Event.STOPPED, State.STOPPING),
    (State.RELOADING, Event.WOKEN, State.RELOADING),
    (State.RELOADING, Event.LOADED, State.IDLE),
    (State.RELOADING, Event.STOPPED, State.STOPPING),
    (State.STOPPING, Event.WOKEN, State.STOPPING),
    (State.STOPPING, Event.LOADED, State.STOPPING),
    (State.STOPPING, Event.GRACE_OVER, State.CUT),
    (State.CUT, Event.WOKEN, State.CUT),
    (State.CUT, Event.LOADED, State.CUT),
]


class HeldReads(Scene):
    """A scene whose reads of due messages wait in ``reads`` until the test lets them run."""

    def __init__(self) -> None:
        super().__init__(endpoint("ops"))
        self.queue: EndpointQueue = self.courier._queues["ops"]
        self.reads: list[tuple[tuple[Any, ...], dict[str, Any], Deferred[Any]]] = []
        self._due = self.outbox.due
        self.outbox.due = self._hold

    def _hold(self, *args: Any, **options: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self.reads.append((args, options, result))
        return result

    def read(self) -> None:
        """Let the oldest read run."""
        args, options, result = self.reads.pop(0)
        self._due(*args, **options).chainDeferred(result)


def test_the_table_is_complete() -> None:
    """A transition that is not listed here raises: it is a fault of the queue."""
    assert EXPECTED == [(state, event, after) for state, row in TRANSITIONS.items() for event, after in row.items()]


@pytest.mark.parametrize(("wakes", "reads"), [(1, 1), (2, 2), (5, 2)])
def test_wake_ups_during_a_read_make_one_more_read(wakes: int, reads: int) -> None:
    """However many there are; without any the queue is idle afterwards."""
    scene = HeldReads()
    for _ in range(wakes):
        scene.queue.wake()
    count = 0
    while scene.reads:
        scene.read()
        count += 1
    assert (reads, State.IDLE) == (count, scene.queue._state)


def test_what_is_read_after_a_stop_is_not_sent() -> None:
    """The next start sends it."""
    scene = HeldReads()
    scene.add("ops", "1")
    stopped = scene.courier.stop()
    scene.read()
    scene.queue.wake()
    assert (State.STOPPING, True, [], []) == (scene.queue._state, stopped.called, scene.sent("ops"), scene.reads)
    assert {"pending": 1} == scene.store.states()


def test_a_stop_cuts_attempts_when_its_grace_is_over() -> None:
    """Not if all have ended earlier."""
    scene, quick = HeldReads(), HeldReads()
    for each in (scene, quick):
        each.senders["http://ops/"].answer = lambda *_: None
        each.add("ops", "1")
        each.read()
        each.courier.stop()
    quick.senders["http://ops/"].flying[0].callback(FINE)
    for each in (scene, quick):
        each.clock.advance(GRACE)
    assert (State.CUT, State.STOPPING) == (scene.queue._state, quick.queue._state)


def test_a_read_that_breaks_is_logged_and_repeated(logged_errors: Any) -> None:
    """The queue does not wait for it forever."""
    scene = HeldReads()
    scene.add("ops", "1")
    scene.reads.pop()[2].errback(ZeroDivisionError())
    assert 1 == len(logged_errors.flush(ZeroDivisionError))
    scene.clock.advance(WRITE_AGAIN)
    scene.read()
    assert ["1"] == scene.sent("ops")
