"""Delivers to one endpoint: a bounded window of due messages, of which up to ``concurrency`` are in flight.

    wake ──► outbox: due messages ──► window ──► in flight ──► outbox: delivered, postponed or failed ──► wake …

Queues share only the database's thread, so a receiver that fails delays no other.  With a concurrency of one a message
waits until the one before it is delivered or given up.  ``Recovery`` says which messages are sent before they are due.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from gateway.deferreds import Timer, settle_all
from gateway.logger import component_logger
from gateway.storage import STORE_ERRORS, LeaseLost
from gateway.webhooks.delivery.endpoint_health import EndpointHealth
from gateway.webhooks.delivery.recovery import Recovery

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from twisted.internet.interfaces import IReactorTime

    from gateway.http_client import Sender
    from gateway.webhooks.delivery.endpoint_policy import EndpointPolicy
    from gateway.webhooks.metrics import WebhookMetrics
    from gateway.webhooks.store.message_table import EarlyRetries, QueuedMessage
    from gateway.webhooks.store.outbox import Due, Outbox

_log = component_logger("gateway")

WINDOW: Final = 64  # messages of one endpoint in memory beyond those in flight
WRITE_AGAIN: Final = 1.0  # seconds between two tries of a transaction that the database refused
LONGEST_PAUSE: Final = 3600.0  # seconds; bounds the delay after the system clock was set


class State(Enum):
    """What a queue does; attempts are in flight or not in each state."""

    IDLE = "idle"  # waits for the timer, a wake-up, or the end of an attempt
    LOADING = "loading"  # reads due messages
    RELOADING = "reloading"  # reads due messages, and was woken meanwhile: reads once more
    STOPPING = "stopping"  # starts nothing; attempts in flight may end
    CUT = "cut"  # attempts in flight are cancelled and not recorded, so the next start repeats them


class Event(Enum):
    """What changes the state."""

    WOKEN = "woken"
    LOADED = "loaded"  # or the database refused
    STOPPED = "stopped"  # at most once
    GRACE_OVER = "grace over"


TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.IDLE: {Event.WOKEN: State.LOADING, Event.STOPPED: State.STOPPING},
    State.LOADING: {Event.WOKEN: State.RELOADING, Event.LOADED: State.IDLE, Event.STOPPED: State.STOPPING},
    State.RELOADING: {Event.WOKEN: State.RELOADING, Event.LOADED: State.IDLE, Event.STOPPED: State.STOPPING},
    State.STOPPING: {Event.WOKEN: State.STOPPING, Event.LOADED: State.STOPPING, Event.GRACE_OVER: State.CUT},
    State.CUT: {Event.WOKEN: State.CUT, Event.LOADED: State.CUT},
}


class EndpointQueue:
    """The messages of one endpoint; ``on_messages`` is called with the endpoints that got notices of a failure.

    While ``may_send`` returns false no attempt begins; the caller wakes the queue when it returns true again.
    """

    def __init__(  # noqa: PLR0917 - one per part; the courier is the only caller
        self, clock: IReactorTime, wall: Callable[[], float], outbox: Outbox, policy: EndpointPolicy, sender: Sender,
        metrics: WebhookMetrics, on_messages: Callable[[Collection[str]], None],
        may_send: Callable[[str], bool] = lambda _endpoint: True,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._wall = wall
        self._outbox = outbox
        self._sender = sender
        self._on_messages = on_messages
        self._may_send = may_send
        self._state = State.IDLE
        self._window: deque[QueuedMessage] = deque()
        self._in_flight: dict[int, tuple[Sender, Deferred[None]]] = {}  # by row
        self._held: set[int] = set()  # rows in the window or in flight, results not recorded included
        self._window_filled = False  # by the last read, so there may be more to read
        self._timer = Timer(clock)  # the next read, or the end of the grace period
        self._recovery = Recovery(wall())
        self.policy = policy
        self.health = EndpointHealth(policy.endpoint.name, metrics)

    def wake(self) -> None:
        """Read due messages; may be called at any time and any number of times."""
        if (self.policy.in_order and self._held) or not self._may_send(self.health.name):
            return  # reads again when nothing is held
        before, after = self._state, self._move(Event.WOKEN)
        if before is not after and after is State.LOADING:
            self._timer.cancel()
            self._load()

    def replace(self, policy: EndpointPolicy, sender: Sender | None) -> None:
        """Apply new settings to the next attempts, with the old sender if ``sender`` is None."""
        self.policy = policy
        if sender is not None:
            old, self._sender = self._sender, sender
            attempts = [attempt for used, attempt in self._in_flight.values() if used is old]
            settle_all(attempts).addCallback(lambda _: old.close())
        self.wake()

    def stop(self, grace: float) -> Deferred[None]:
        """Start no attempt, wait up to ``grace`` seconds for those in flight, cut the rest; call it once.

        Fires when all attempts have ended, those not cut are recorded, and the connections are closed.
        """
        self._move(Event.STOPPED)
        self._window.clear()
        self._timer.start(grace, self._cut)
        ended = settle_all([attempt for _, attempt in self._in_flight.values()])
        return ended.addCallback(self._close)

    def _move(self, event: Event) -> State:
        self._state = TRANSITIONS[self._state][event]
        return self._state

    def _cut(self) -> None:
        self._move(Event.GRACE_OVER)
        for _, attempt in list(self._in_flight.values()):
            attempt.cancel()

    def _close(self, _: object) -> Deferred[None]:
        self._timer.cancel()
        return self._sender.close()

    def _load(self) -> None:
        policy, room, early = self.policy, WINDOW - len(self._window), self._early()
        free = min(policy.endpoint.concurrency - len(self._held), room)
        due = self._outbox.due(policy.endpoint.name, self._held, room, in_order=policy.in_order, early=early, free=free)
        due.addCallbacks(self._loaded, self._load_failed, callbackArgs=(room, early))
        due.addErrback(self._unexpected)

    def _loaded(self, due: Due, room: int, early: EarlyRetries | None) -> None:
        woken = self._state is State.RELOADING
        self.health.database_result(None)
        if self._move(Event.LOADED) is not State.IDLE:
            return
        if early is not None:
            self._recovery.released(early, due.early)
        self._window_filled = len(due.messages) == room
        self._held.update(queued.row for queued in due.messages)
        self._window.extend(due.messages)
        self._start_attempts()
        if woken or self._early() is not None:
            if len(self._window) < WINDOW:
                self.wake()
        elif due.next_at is not None:
            self._pause(due.next_at - self._wall())

    def _load_failed(self, failure: Any) -> Any:
        self._move(Event.LOADED)
        if not failure.check(*STORE_ERRORS):
            return failure
        self.health.database_result(failure.value)
        self._pause(WRITE_AGAIN)
        return None

    def _start_attempts(self) -> None:
        if self._window and not self._may_send(self.health.name):
            # Another node may deliver these messages by now, so they are read again before they are sent.
            self._held.difference_update(each.row for each in self._window)
            self._window.clear()
        while self._window and len(self._in_flight) < self.policy.endpoint.concurrency:
            queued = self._window.popleft()
            attempt = Deferred.fromCoroutine(self._send(queued, self.policy, self._sender))
            self._in_flight[queued.row] = (self._sender, attempt)
            attempt.addErrback(self._unexpected).addCallback(self._finished, queued)

    async def _send(self, queued: QueuedMessage, policy: EndpointPolicy, sender: Sender) -> None:
        """Make one attempt and record its result."""
        at = self._wall()
        attempt = await sender.send(policy.headers(queued, at), queued.message.body)
        if self._state is State.CUT:
            return
        if attempt.delivered:
            self._recovery.delivered(self._wall(), self.health.outage)  # before ``health`` ends the outage
            self.health.delivered(queued, attempt)
            await self._record(lambda: self._outbox.delivered(queued, attempt, at))
            return
        retry = policy.retry(queued, attempt, at, self._wall())
        if retry is None:
            self.health.failed(at, queued, attempt, None)
            notices = policy.failure_notices(queued, attempt, self._wall())
            await self._record(lambda: self._outbox.failed(queued, attempt, at, notices))
            self._on_messages({notice.endpoint for notice in notices})
            return
        self.health.failed(at, queued, attempt, retry.at)
        if self.policy.in_order:
            # The messages behind it must not be sent before it.
            self._held.difference_update(each.row for each in self._window)
            self._window.clear()
        await self._record(lambda: self._outbox.postponed(queued, attempt, at, retry.at, retry.not_before))
        self._pause(retry.at - self._wall())

    async def _record(self, write: Callable[[], Deferred[None]]) -> None:
        """Repeat ``write`` until the database accepts it: a result that is not recorded would be sent again.

        The attempt counts as in flight meanwhile, which bounds how many results wait.
        """
        while self._state is not State.CUT:
            try:
                await write()
            except LeaseLost:
                _log.debug("endpoint {endpoint}: another node delivers now", endpoint=self.health.name)
                return
            except STORE_ERRORS as error:
                self.health.database_result(error)
                await deferLater(self._clock, WRITE_AGAIN)
            else:
                self.health.database_result(None)
                return

    def _finished(self, _: object, queued: QueuedMessage) -> None:
        """Go on after an attempt whose result is recorded."""
        del self._in_flight[queued.row]
        self._held.discard(queued.row)
        self._start_attempts()
        read_more = self._window_filled and len(self._window) < WINDOW // 2
        if not self._held or read_more or self._early() is not None:
            self.wake()

    def _early(self) -> EarlyRetries | None:
        """Return what may be sent early: if fewer are held than may be in flight, and the last attempt succeeded."""
        free = len(self._held) < self.policy.endpoint.concurrency
        return self._recovery.early if free and self.health.failing_since is None else None

    def _unexpected(self, failure: Any) -> None:
        if failure.check(CancelledError) and self._state is State.CUT:
            return
        _log.failure("endpoint {endpoint}: delivery failed unexpectedly", failure=failure, endpoint=self.health.name)
        self._pause(WRITE_AGAIN)

    def _pause(self, seconds: float) -> None:
        """Read again in ``seconds``, or when it is due already, whichever is earlier."""
        if self._state in {State.STOPPING, State.CUT}:
            return
        seconds = min(max(seconds, 0.0), LONGEST_PAUSE)
        due = self._timer.due
        if due is None or due > self._clock.seconds() + seconds:
            self._timer.start(seconds, self.wake)
