"""Delivers to one endpoint: a bounded window of what is due, up to ``concurrency`` attempts in flight.

    wake ──► due ──► window ──► in flight ──► delivered / postponed / failed, written ──► due …

A lane shares nothing with another but the database's thread, so a dead receiver delays nobody.
With one attempt in flight a lane is strict: a message waits until the one before it was taken or given up.
What waits for its next attempt goes early when the endpoint takes messages again: see ``CatchingUp``.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from gateway.deferreds import Timer, settle_all
from gateway.logger import component_logger
from gateway.webhooks.delivery.endpoint_health import Standing
from gateway.webhooks.delivery.recovery import CatchingUp
from gateway.webhooks.delivery.retry import Again, Done, Expired, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.http_client import Attempt, Sender
    from gateway.webhooks.delivery.recovery import Early
    from gateway.webhooks.formats.message import Message
    from gateway.webhooks.metrics import WebhookMetrics
    from gateway.webhooks.store.message_table import Letter
    from gateway.webhooks.store.outbox import Outbox

_log = component_logger("gateway")

WINDOW: Final = 64  # letters of one endpoint in memory beyond those in flight; twenty dead endpoints cost little
WRITE_AGAIN: Final = 1.0  # seconds between two tries to write down what an attempt came to
LONGEST_SLEEP: Final = 3600.0  # seconds; clocks are set, and a look at the database costs nothing


class Rules(Protocol):
    """What an endpoint's settings decide; moments are seconds since 1970, and nothing here may raise."""

    @property
    def name(self) -> str:
        """The endpoint's name."""

    @property
    def concurrency(self) -> int:
        """How many attempts may be in flight."""

    def headers(self, letter: Letter, now: float) -> Sequence[tuple[str, str]]:
        """Return the headers of one attempt, signed at ``now``."""

    def step(self, letter: Letter, attempt: Attempt, began: float, now: float) -> Step:
        """Return what follows from an attempt that began at ``began`` and ended at ``now``."""

    def notices(self, letter: Letter, attempt: Attempt, now: float) -> Sequence[Message]:
        """Return the words to other endpoints that this message was given up."""


class Lane:
    """One endpoint's deliveries; ``news`` is called with the names of endpoints that were told of a failure."""

    def __init__(
        self, clock: Any, wall: Callable[[], float], outbox: Outbox, rules: Rules, sender: Sender,
        metrics: WebhookMetrics, news: Callable[[Any], None],
    ) -> None:  # fmt: skip
        self._clock = clock
        self._wall = wall
        self._outbox = outbox
        self._rules = rules
        self._sender = sender
        self._news = news
        self._window: deque[Letter] = deque()
        self._held: set[int] = set()  # rows in the window, in flight, or not yet written down
        self._flights: dict[int, tuple[Sender, Deferred[None]]] = {}
        self._asking = self._again = self._more = self._stopped = self._cut = False
        self._timer = Timer(clock)  # the next look at the outbox
        self._landed: list[Deferred[None]] = []
        self._catching_up = CatchingUp(wall())
        self.standing = Standing(rules.name, metrics)

    def wake(self) -> None:
        """Look for what is due; may be called at any time and any number of times."""
        if self._stopped or (self._strict and self._held):
            return  # a strict lane looks again when it holds nothing
        if self._asking:
            self._again = True
            return
        self._asking = True
        self._timer.cancel()
        Deferred.fromCoroutine(self._ask()).addErrback(self._broken)

    def replace(self, rules: Rules, sender: Sender | None) -> None:
        """Go over to new settings; attempts in flight end under the old ones.  No ``sender`` keeps the old one."""
        self._rules = rules
        if sender is not None:
            old, self._sender = self._sender, sender
            flying = [done for used, done in self._flights.values() if used is old]
            settle_all(flying).addCallback(lambda _: old.close())
        self.wake()

    def stop(self, grace: float) -> Deferred[None]:
        """Start nothing more, wait up to ``grace`` seconds for what is in flight, cut the rest; they are repeated.

        Fires when all has ended, what came of it is written but for what was cut, and the connections are closed.
        """
        self._stopped = True
        self._timer.cancel()
        self._window.clear()
        done: Deferred[None] = Deferred()
        self._landed.append(done)
        bound = Timer(self._clock)
        bound.start(grace, self._abandon)

        def landed(_: None) -> Deferred[None]:
            bound.cancel()
            return self._sender.close()

        done.addCallback(landed)
        self._land()
        return done

    def _abandon(self) -> None:
        self._cut = True
        for _, flight in list(self._flights.values()):
            flight.cancel()

    async def _ask(self) -> None:
        room, early = WINDOW - len(self._window), self._early()
        free = self._rules.concurrency - len(self._held)
        try:
            if self._strict:
                due = await self._outbox.next(self._rules.name, room, early)
            else:
                due = await self._outbox.due(self._rules.name, self._held, room, early, min(free, room))
        except sqlite3.Error as error:
            self._asking = False
            self.standing.troubled(error)
            self._sleep(WRITE_AGAIN)
            return
        self._asking = False
        self.standing.troubled(None)
        if self._stopped:
            return
        if early is not None:
            self._catching_up.reached(early, due.early)
        self._more = len(due.letters) == room  # fewer mean that nothing else is due
        for letter in due.letters:
            self._held.add(letter.row)
            self._window.append(letter)
        self._launch()
        if self._again or self._early() is not None:
            self._again = False
            if len(self._window) < WINDOW:
                self.wake()
        elif due.next_at is not None:
            self._sleep(due.next_at - self._wall())

    def _launch(self) -> None:
        while self._window and len(self._flights) < self._rules.concurrency and not self._stopped:
            letter = self._window.popleft()
            flight = Deferred.fromCoroutine(self._fly(letter, self._rules, self._sender))
            self._flights[letter.row] = (self._sender, flight)
            flight.addErrback(self._broken).addCallback(self._down, letter)

    def _down(self, _: object, letter: Letter) -> None:
        """A flight has ended, and what came of it is written."""
        del self._flights[letter.row]
        self._held.discard(letter.row)
        self._launch()
        short = self._more and len(self._window) < WINDOW // 2
        if not self._held or short or self._early() is not None:
            self.wake()
        self._land()

    async def _fly(self, letter: Letter, rules: Rules, sender: Sender) -> None:
        at = self._wall()
        attempt = await sender.send(rules.headers(letter, at), letter.message.body)
        if self._cut:
            return
        match rules.step(letter, attempt, at, self._wall()):
            case Done():
                # The silence is over once ``standing`` hears of it.
                self._catching_up.took(self._wall(), self.standing.silence)
                self.standing.took(letter, attempt)
                await self._written(lambda: self._outbox.delivered(letter, attempt, at))
            case Again(due, asked):
                self.standing.refused(at, letter, attempt, due)
                if self._strict:
                    self._put_back()  # what is behind it in the window must not pass it
                await self._written(lambda: self._outbox.postponed(letter, attempt, at, due, asked))
                self._sleep(due - self._wall())
            case Expired():
                self.standing.refused(at, letter, attempt, None)
                notices = rules.notices(letter, attempt, self._wall())
                await self._written(lambda: self._outbox.failed(letter, attempt, at, notices))
                self._news({notice.endpoint for notice in notices})

    @property
    def _strict(self) -> bool:
        return self._rules.concurrency == 1

    def _early(self) -> Early | None:
        """Return what may go early now: there is room in flight, and the attempt that ended last was a success."""
        idle = len(self._held) < self._rules.concurrency
        return self._catching_up.early if idle and self.standing.failing_since is None else None

    def _put_back(self) -> None:
        """Hold nothing but what is in flight."""
        self._held.difference_update(letter.row for letter in self._window)
        self._window.clear()

    async def _written(self, write: Callable[[], Deferred[Any]]) -> None:
        """Write until it is written: an attempt that is forgotten would be repeated, and its slot is the bound."""
        while not self._cut:
            try:
                await write()
            except sqlite3.Error as error:
                self.standing.troubled(error)
                await deferLater(self._clock, WRITE_AGAIN)
            else:
                self.standing.troubled(None)
                return

    def _broken(self, failure: Any) -> None:
        if failure.check(CancelledError) and self._cut:
            return
        _log.failure("endpoint {endpoint}: a delivery broke", failure=failure, endpoint=self._rules.name)
        self._sleep(WRITE_AGAIN)

    def _sleep(self, seconds: float) -> None:
        """Look again in so many seconds, or earlier, if that was said before."""
        seconds = min(max(seconds, 0.0), LONGEST_SLEEP)
        due = self._timer.due
        if not self._stopped and (due is None or due > self._clock.seconds() + seconds):
            self._timer.start(seconds, self.wake)

    def _land(self) -> None:
        if self._landed and not self._flights:
            landed, self._landed = self._landed, []
            for done in landed:
                done.callback(None)
