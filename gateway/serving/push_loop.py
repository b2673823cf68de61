"""Drives the hubs: short slices of pushing, requests served in between, and the turning of the heartbeat wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway.deferreds import Timer
from gateway.logger import component_logger
from gateway.streams import Exposure, HeartbeatWheel, Hub, Subscriber
from gateway.web.server.write_batch import PlainLink

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Snapshot
    from gateway.settings import Sse
    from gateway.telemetry import Metrics

_log = component_logger("http.sse")

SLICE_SECONDS = 0.002  # of reactor time per turn: what arrives during a push waits no longer; a turn costs some 30 µs
LATE_TICK_SECONDS = 0.005  # postponed calls go out in groups this far apart, so that each does not cost a timer
DRAIN_TICK_SECONDS = 0.05  # streams are closed in groups this far apart, so that their clients do not return together


@attrs.define
class _Push:
    """A push that is under way; ``began`` is None when only calls whose turn has come are left of it."""

    hub: Hub
    began: float | None


class PushLoop:
    """The hubs of all SDKs and the one loop that works for them.

    What they write by ``link`` in a slice may leave together.
    """

    def __init__(
        self, clock: IReactorTime, rng: random.Random, metrics: Metrics, sse: Sse, link: PlainLink | None = None
    ) -> None:
        self._clock = clock
        self._link = PlainLink() if link is None else link
        self._rng = rng
        self._metrics = metrics
        self._wheel = HeartbeatWheel(sse.heart_beat_interval, sse.stall_timeout, self._drop_stalled)
        self._pushes: dict[str, _Push] = {}
        self._work_timer = Timer(clock)
        self._turn_timer = Timer(clock)
        self._late_timer = Timer(clock)
        self._exposure: Exposure | None = None
        self.hubs: dict[str, Hub] = {}

    @property
    def stream_count(self) -> int:
        """How many streams are open."""
        return len(self._wheel)

    def start(self) -> None:
        """Begin to turn the heartbeat wheel."""
        self._turn_timer.start(self._wheel.tick, self._turn)

    def stop(self) -> None:
        """Stop turning and pushing; open streams stay as they are."""
        for timer in (self._turn_timer, self._work_timer, self._late_timer):
            timer.cancel()

    def add(self, sdk_id: str, snapshot: Snapshot | None) -> None:
        """Make a hub for an SDK; one that it has must be removed first, or its streams hear nothing any more."""
        hub = self.hubs[sdk_id] = Hub(
            sdk_id,
            snapshot,
            wheel=self._wheel,
            now=self._clock.seconds,
            rng=self._rng,
            metrics=self._metrics,
            fault=self._drop_faulty,
        )
        hub.exposure = self._exposure

    def remove(self, sdk_id: str) -> None:
        """End the streams of an SDK that is no longer configured."""
        hub = self.hubs.pop(sdk_id)
        self._pushes.pop(sdk_id, None)
        for subscriber in hub.subscribers():
            subscriber.outlet.finish()

    def publish(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Push what ``snapshot`` changes, beginning in the next turn of the reactor.

        While an earlier push is under way both become one, and each reader gets what is newest when its turn comes.
        """
        hub = self.hubs[sdk_id]
        hub.publish(snapshot)
        known = self._pushes.get(sdk_id)
        if known is None or known.began is None:
            self._pushes[sdk_id] = _Push(hub, self._clock.seconds())
        self._go_on()

    def retime(self, sse: Sse) -> None:
        """Use other heartbeat and stall times for the streams that are open and those to come."""
        wheel = HeartbeatWheel(sse.heart_beat_interval, sse.stall_timeout, self._drop_stalled)
        for subscriber in self._wheel.everyone():
            wheel.add(subscriber)
        self._wheel = wheel
        for hub in self.hubs.values():
            hub.ride(wheel)

    def expose(self, exposure: Exposure | None) -> None:
        """Have ``exposure`` told what the events of all streams show from now on; None tells nobody."""
        self._exposure = exposure
        for hub in self.hubs.values():
            hub.exposure = exposure

    def drain(self, window: float) -> None:
        """End every stream that is open now, spread evenly over ``window`` seconds; returns at once."""
        waiting = self._wheel.everyone()
        # A group each tick; where there are fewer streams than ticks, a stream each, further apart.
        groups = max(1, min(int(window / DRAIN_TICK_SECONDS), len(waiting)))
        for number in range(groups):
            self._clock.callLater(number * window / groups, self._finish, waiting[number::groups])

    def _finish(self, group: list[Subscriber]) -> None:
        for subscriber in group:
            if subscriber.is_open:
                subscriber.outlet.finish()

    def _work(self) -> None:
        until = self._clock.seconds() + SLICE_SECONDS

        def spent() -> bool:
            return self._clock.seconds() >= until

        self._link.hold()
        try:
            self._slice(spent)
        finally:
            self._link.release()
        if self._pushes:
            self._go_on()
        self._wait_for_late()

    def _slice(self, spent: Callable[[], bool]) -> None:
        for sdk_id in list(self._pushes):
            push = self._pushes.pop(sdk_id)
            if self._advance(sdk_id, push, spent):
                if push.began is not None:
                    self._metrics.pushed(sdk_id, self._clock.seconds() - push.began)
            else:
                self._pushes[sdk_id] = push  # at the end: the next slice goes to another SDK that waits
            if spent():
                break

    def _advance(self, sdk_id: str, push: _Push, spent: Callable[[], bool]) -> bool:
        """Do a slice of a push; a cohort that cannot be served is given up, the rest of the push is not."""
        try:
            return push.hub.work(spent)
        except Exception as error:  # noqa: BLE001  (what is wrong with one user's values must not stop the others')
            # The message may quote a user; where it happened is in the type and in the flag's own errors.
            _log.error("SDK {sdk}: a push failed for one user: {kind}", sdk=sdk_id, kind=type(error).__name__)
            return False

    def _go_on(self) -> None:
        if not self._work_timer.active:
            self._work_timer.start(0, self._work)

    def _wait_for_late(self) -> None:
        """Come back when the next postponed call of any hub is due."""
        dues = [due for hub in self.hubs.values() if (due := hub.next_due()) is not None]
        self._late_timer.cancel()
        if dues:
            wait = max(LATE_TICK_SECONDS, min(dues) - self._clock.seconds())
            self._late_timer.start(wait, self._late)

    def _late(self) -> None:
        for sdk_id, hub in self.hubs.items():
            if hub.next_due() is not None:
                self._pushes.setdefault(sdk_id, _Push(hub, None))
        self._go_on()

    def _turn(self) -> None:
        self._turn_timer.start(self._wheel.tick, self._turn)
        self._wheel.turn(self._clock.seconds())

    def _drop_stalled(self, subscriber: Subscriber) -> None:
        self._metrics.stream_dropped("stalled")
        subscriber.outlet.abort()

    def _drop_faulty(self, subscriber: Subscriber, error: Exception) -> None:
        _log.error("a stream could not be written to and is dropped: {kind}", kind=type(error).__name__)
        subscriber.outlet.abort()
