"""The loop that runs the hubs: pushes in short slices, between which requests are answered, and heartbeats."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from twisted.internet.defer import Deferred, succeed

from gateway.clocks import wall_clock
from gateway.deferreds import Timer, call_each, supervise
from gateway.logger import component_logger
from gateway.slices import LARGE_BYTES, compile_in_slices
from gateway.streams import (
    EXPIRED,
    ExpiryWheel,
    ExposureRecorder,
    HeartbeatWheel,
    Hub,
    HubMetrics,
    Observer,
    Observers,
    Reach,
    ReachMeter,
    Subscriber,
)
from gateway.web import WebMetrics
from gateway.web.server import PlainWriter

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Snapshot
    from gateway.settings import Sse

_log = component_logger("http.sse")

DropReason = Literal["stalled", "expired"]

SLICE_SECONDS = 0.002  # of a push per reactor turn: a request waits no longer for it; a turn costs some 30 µs
PACED_TICK_SECONDS = 0.005  # least time between two pushes to paced cohorts: groups of them share a timer
EXPIRED_AT_ONCE = 100  # streams that a turn ends whose tokens have ended: 3 ms
DRAIN_TICK_SECONDS = 0.05  # between two groups of streams that a drain ends, so that clients do not return at once


class ServingMetrics(HubMetrics, WebMetrics, Protocol):
    """Counts what is served.  Nothing here may raise."""

    def stream_dropped(self, reason: DropReason) -> None:
        """Count a stream that the gateway ended before its client did."""

    def pushed(self, sdk: str, seconds: float) -> None:
        """Note that a change has reached all its subscribers, ``seconds`` after it was published."""


class PushLoop:
    """The hubs of all SDKs, and the loop that works for them; frames of one slice leave through ``writer`` together."""

    def __init__(
        self,
        clock: IReactorTime,
        rng: random.Random,
        metrics: ServingMetrics,
        sse: Sse,
        writer: PlainWriter | None = None,
    ) -> None:
        self.hubs: dict[str, Hub] = {}
        self._clock = clock
        self._writer = PlainWriter() if writer is None else writer
        self._rng = rng
        self._metrics = metrics
        self._wheel = self._new_wheel(sse)
        self._wall = wall_clock(clock)
        self._expiries = ExpiryWheel()
        self._exposures: ExposureRecorder | None = None
        self._observers: dict[str, list[Observer]] = {}  # by SDK, besides the recorder
        self.on_reached: Callable[[Reach], None] = lambda _reach: None
        """Called at the end of a push, and when its paced events are sent; must not raise."""
        self._meters: dict[str, ReachMeter] = {}  # of the latest push of each SDK
        self._pushes: dict[str, float | None] = {}  # by SDK: when its push started; None: for paced cohorts only
        self._work_timer = Timer(clock)
        self._wheel_timer = Timer(clock)
        self._paced_timer = Timer(clock)

    @property
    def stream_count(self) -> int:
        """The number of open streams."""
        return len(self._wheel)

    def start(self) -> None:
        """Start the heartbeats."""
        self._wheel_timer.start(self._wheel.tick, self._turn_wheel)

    def stop(self) -> None:
        """Stop heartbeats and pushes; open streams stay open."""
        for timer in (self._wheel_timer, self._work_timer, self._paced_timer):
            timer.cancel()

    def add(self, sdk_id: str, snapshot: Snapshot | None) -> None:
        """Create the hub of an SDK that has none."""
        hub = self.hubs[sdk_id] = Hub(
            sdk_id,
            snapshot,
            wheel=self._wheel,
            now=self._clock.seconds,
            rng=self._rng,
            metrics=self._metrics,
            on_write_error=self._drop_faulty,
            expiries=self._expiries,
        )
        hub.exposures = self._observer(sdk_id)

    def remove(self, sdk_id: str) -> None:
        """Remove the hub of an SDK and end its streams."""
        hub = self.hubs.pop(sdk_id)
        self._pushes.pop(sdk_id, None)
        self._meters.pop(sdk_id, None)
        self._finish(hub.subscribers())

    def prepare(self, sdk_id: str, snapshot: Snapshot) -> Deferred[None]:
        """Compute what a large config changes, in slices; fires when ``publish`` takes little time, and never fails.

        It fires at once for a small config, and for an SDK without a hub.
        """
        hub = self.hubs.get(sdk_id)
        current = None if hub is None else hub.snapshot
        if hub is None or current is None or max(len(current.body), len(snapshot.body)) <= LARGE_BYTES:
            return succeed(None)
        prepared = Deferred.fromCoroutine(compile_in_slices(self._clock, hub.prepare_in_steps(snapshot)))
        return supervise(prepared, _log, "SDK {sdk}: a change could not be compared in slices", sdk=sdk_id)

    def publish(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Push what ``snapshot`` changes, from the next reactor turn on.

        If a push is in progress it continues with ``snapshot``.
        """
        hub, now = self.hubs[sdk_id], self._clock.seconds()
        replaced = self._meters.get(sdk_id)
        if replaced is not None:
            self._report(replaced, ended=False)
        if hub.snapshot is not None:  # a first config is no change
            self._meters[sdk_id] = ReachMeter(sdk_id, snapshot.tag, now, hub.reached)
        hub.publish(snapshot)
        if self._pushes.get(sdk_id) is None:
            self._pushes[sdk_id] = now
        self._schedule_work()

    def reconfigure(self, sse: Sse) -> None:
        """Use other heartbeat and stall times, for open streams too."""
        wheel = self._new_wheel(sse)
        for subscriber in self._wheel.subscribers():
            wheel.add(subscriber)
        self._wheel = wheel
        for hub in self.hubs.values():
            hub.wheel = wheel

    def record_exposures(self, recorder: ExposureRecorder | None) -> None:
        """Report what the events of all streams show to ``recorder`` from now on."""
        self._exposures = recorder
        for sdk_id in self.hubs:
            self._set_observer(sdk_id)

    def observe(self, sdk_id: str, observer: Observer) -> None:
        """Report the events of the streams of an SDK to ``observer`` too, also after its hub was replaced."""
        self._observers.setdefault(sdk_id, []).append(observer)
        self._set_observer(sdk_id)

    def observe_no_more(self, sdk_id: str, observer: Observer) -> None:
        """End ``observe``; a second call has no effect."""
        observers = self._observers.get(sdk_id, [])
        if observer in observers:
            observers.remove(observer)
        if not observers:
            self._observers.pop(sdk_id, None)
        self._set_observer(sdk_id)

    def _set_observer(self, sdk_id: str) -> None:
        hub = self.hubs.get(sdk_id)
        if hub is not None:
            hub.exposures = self._observer(sdk_id)

    def _observer(self, sdk_id: str) -> Observer | None:
        """Return all observers of an SDK as one; None without any, so that an event costs nothing then."""
        observers = self._observers.get(sdk_id)
        if not observers:
            return self._exposures
        return Observers([*([] if self._exposures is None else [self._exposures]), *observers])

    def drain(self, window: float) -> None:
        """End the streams that are open now, spread evenly over ``window`` seconds; return at once."""
        subscribers = self._wheel.subscribers()
        # One group per tick; with fewer streams than ticks one stream each, further apart.
        groups = max(1, min(int(window / DRAIN_TICK_SECONDS), len(subscribers)))
        for number in range(groups):
            self._clock.callLater(number * window / groups, self._finish, subscribers[number::groups])

    def _finish(self, group: list[Subscriber]) -> None:
        call_each([each.outlet.finish for each in group if each.is_open], _log, "the end of a stream")

    def _schedule_work(self) -> None:
        if not self._work_timer.active:
            self._work_timer.start(0, self._work)

    def _work(self) -> None:
        until = self._clock.seconds() + SLICE_SECONDS

        def out_of_time() -> bool:
            return self._clock.seconds() >= until

        self._writer.hold()
        worked = list(self._pushes)
        try:
            self._work_slice(out_of_time)
        finally:
            self._writer.release()
        self._measure(worked)
        if self._pushes:
            self._schedule_work()
        self._schedule_paced()

    def _work_slice(self, out_of_time: Callable[[], bool]) -> None:
        for sdk_id in list(self._pushes):
            started = self._pushes.pop(sdk_id)
            if not self._advance(sdk_id, out_of_time):
                self._pushes[sdk_id] = started  # last: the next slice is for another SDK with a push
            elif started is not None:
                self._metrics.pushed(sdk_id, self._clock.seconds() - started)
            if out_of_time():
                break

    def _measure(self, worked: list[str]) -> None:
        """Note the streams that a slice has reached: its events left with the release of the writer."""
        now = self._clock.seconds()
        for sdk_id in worked:
            meter = self._meters.get(sdk_id)
            if meter is None:
                continue
            hub = self.hubs[sdk_id]
            meter.slice(now, hub.reached)
            if sdk_id in self._pushes:
                continue
            over = hub.next_due() is None
            if over or not meter.ended:
                self._report(meter, ended=not meter.ended)
            if over:
                del self._meters[sdk_id]

    def _report(self, meter: ReachMeter, *, ended: bool) -> None:
        reach = meter.take(ended=ended)
        if reach is not None:
            self.on_reached(reach)

    def _advance(self, sdk_id: str, out_of_time: Callable[[], bool]) -> bool:
        """Work for the push of an SDK, and return whether it is complete."""
        try:
            return self.hubs[sdk_id].work(out_of_time)
        except Exception as error:  # noqa: BLE001  (a fault in one user's values must not stop the other users' push)
            # The exception's text may contain values of the user.
            text = "SDK {sdk}: a change could not be evaluated for one user, whose streams miss it: {kind}"
            _log.error(text, sdk=sdk_id, kind=type(error).__name__)
            return False

    def _schedule_paced(self) -> None:
        dues = [due for hub in self.hubs.values() if (due := hub.next_due()) is not None]
        self._paced_timer.cancel()
        if dues:
            wait = max(PACED_TICK_SECONDS, min(dues) - self._clock.seconds())
            self._paced_timer.start(wait, self._push_paced)

    def _push_paced(self) -> None:
        for sdk_id, hub in self.hubs.items():
            if hub.next_due() is not None:
                self._pushes.setdefault(sdk_id, None)
        self._schedule_work()

    def _new_wheel(self, sse: Sse) -> HeartbeatWheel:
        return HeartbeatWheel(sse.heart_beat_interval, sse.stall_timeout, self._drop_stalled, self._drop_faulty)

    def _turn_wheel(self) -> None:
        self._wheel_timer.start(self._wheel.tick, self._turn_wheel)
        self._wheel.turn(self._clock.seconds())
        if self._expiries:
            self._expire()

    def _expire(self) -> None:
        """End the streams whose tokens have ended, some per turn of the reactor."""
        due = self._expiries.take(self._wall(), EXPIRED_AT_ONCE)
        self._writer.hold()
        try:
            call_each([partial(self._end_expired, each) for each in due], _log, "the end of a stream")
        finally:
            self._writer.release()
        if len(due) == EXPIRED_AT_ONCE:
            self._clock.callLater(0, self._expire)

    def _end_expired(self, subscriber: Subscriber) -> None:
        self._metrics.stream_dropped("expired")
        subscriber.outlet.write(EXPIRED)
        subscriber.outlet.finish()

    def _drop_stalled(self, subscriber: Subscriber) -> None:
        self._metrics.stream_dropped("stalled")
        self._drop(subscriber)

    def _drop_faulty(self, subscriber: Subscriber, error: Exception) -> None:
        _log.error("a stream is dropped, because writing to it failed: {kind}", kind=type(error).__name__)
        self._drop(subscriber)

    def _drop(self, subscriber: Subscriber) -> None:
        """Drop the connection; if that fails too, forget the subscriber, or it would fail for ever."""
        try:
            subscriber.outlet.abort()
        except Exception as error:  # noqa: BLE001  (a fault on one connection must not concern the others)
            _log.error("dropping a stream failed, it is forgotten: {kind}", kind=type(error).__name__)
            subscriber.close()
