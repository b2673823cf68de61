"""A courier in virtual time: a clock, a store in memory, and senders with set answers."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import define, field
from twisted.internet.task import Clock

from gateway.http_client import Attempt
from gateway.settings import Endpoint, Settings
from gateway.webhooks.composer import Composer
from gateway.webhooks.delivery.courier import Courier
from gateway.webhooks.delivery.endpoint_policy import EndpointPolicy
from gateway.webhooks.formats import Message
from gateway.webhooks.store.outbox import Outbox
from outbox_memory import DirectStore, FakeSender, WebhookCounts, new_store

START = 1_700_000_000.0
FINE, BROKEN = Attempt(204, "", 0.0), Attempt(503, "", 0.0)


class Middling(random.Random):
    """No jitter: the middle of every range."""

    def random(self) -> float:
        """Return the middle."""
        return 0.5


class Scene:
    """A courier over a store in memory; every endpoint has a sender of its own, by name."""

    def __init__(self, *endpoints: Endpoint, store: DirectStore | None = None, start: float = START) -> None:
        self.clock = Clock()
        self.clock.advance(start)
        self.store = store or new_store()
        self.outbox = Outbox(self.store, self.clock.seconds)
        self.metrics = WebhookCounts()
        self.senders = {endpoint.url: FakeSender() for endpoint in endpoints}
        self.courier = Courier(
            self.clock, self.clock.seconds, self.outbox, self.metrics, lambda _, route: self.senders[route.url]
        )
        self.configure(*endpoints)

    def configure(self, *endpoints: Endpoint) -> None:
        """Apply settings with these endpoints."""
        for endpoint in endpoints:
            self.senders.setdefault(endpoint.url, FakeSender())
        composer = Composer(Settings(webhooks=list(endpoints)), "host")
        self.courier.configure([EndpointPolicy(each, composer, Middling()) for each in endpoints])

    def add(self, name: str, *ids: str, kind: str = "FLAG_UPDATED") -> None:
        """Write messages and wake."""
        now = self.clock.seconds()
        self.outbox.add([Message(each, name, "envelope", kind, "a", b"{}", now) for each in ids])
        self.courier.wake([name])

    def deliver(self, answer: Attempt, *numbers: int) -> None:
        """Add messages to the endpoint ``ops``, and give each attempt this answer."""
        self.senders["http://ops/"].answer = lambda *_: answer
        self.outbox.add([message("ops", number, self.clock.seconds()) for number in numbers])
        self.courier.wake(["ops"])

    def sent(self, name: str) -> list[str]:
        """The ids that were sent, in order."""
        return [headers["X-Flaggateway-Delivery"] for headers in self.senders[f"http://{name}/"].sent]

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Advance the clock in steps."""
        for _ in range(int(seconds / step)):
            self.clock.advance(step)

    def pass_until(self, moment: float) -> None:
        """Advance the clock from one delayed call to the next."""
        while (calls := self.clock.getDelayedCalls()) and min(call.getTime() for call in calls) <= moment:
            # At 1.7e9 seconds a float has no smaller step.
            self.clock.advance(max(min(call.getTime() for call in calls) - self.clock.seconds(), 0.0) + 1e-6)
        self.clock.advance(max(moment - self.clock.seconds(), 0.0))


@define
class FarReceiver:
    """Answers the calls of one endpoint a moment later, with ``answer`` of the message's id and the time.

    ``attempts`` are those that ended, in the order in which they began: (began, id, answer).
    """

    scene: Scene
    name: str
    answer: Callable[[str, float], Attempt]
    latency: float = 0.05
    attempts: list[tuple[float, str, Attempt]] = field(factory=list)
    most: int = 0  # at most so many were in flight at the same time
    _flying: int = 0

    def __attrs_post_init__(self) -> None:
        """Replace the answer of the sender."""
        self._sender.answer = self._receive

    @property
    def _sender(self) -> FakeSender:
        return self.scene.senders[f"http://{self.name}/"]

    def _receive(self, headers: dict[str, str], _body: bytes) -> None:
        clock, place, message = self.scene.clock, len(self._sender.flying), headers["X-Flaggateway-Delivery"]
        began, answer = clock.seconds(), self.answer(message, clock.seconds())
        self._flying += 1
        self.most = max(self.most, self._flying)

        def finish() -> None:
            self._flying -= 1
            self.attempts.append((began, message, answer))
            self._sender.flying[place].callback(answer)

        clock.callLater(self.latency, finish)

    def accepted(self) -> dict[str, float]:
        """When each message was accepted, in order; seconds of the clock."""
        return {message: at for at, message, attempt in self.attempts if attempt.status == 204}

    def times(self, message: str) -> list[float]:
        """When a message was tried, in seconds after ``START``."""
        return [round(at - START, 1) for at, tried, _ in self.attempts if tried == message]


def endpoint(name: str, **options) -> Endpoint:
    """An endpoint whose URL is its name."""
    return Endpoint(name=name, url=f"http://{name}/", **options)


def message(name: str, number: int, at: float = START) -> Message:
    """A message to an endpoint."""
    return Message(f"{name}-{number}", name, "envelope", "FLAG_UPDATED", "a", b"{}", at)
