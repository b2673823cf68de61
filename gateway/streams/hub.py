"""The diff engine of one SDK: from "the config changed" to frames for exactly the users whose values changed.

    publish(new) ──► difference(old, new) ──► pending cohorts ──► work() in slices ──► one frame per changed cohort

Rule 1: every cohort is current with ``snapshot`` unless it is in ``_pending``, which remembers the Snapshot it is at.
Rule 2: a cohort whose payload did not change sends nothing; a member that already has the payload is not written to.
Rule 3: a change that arrives during a push replaces the target; nobody is shown the Snapshot in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.flags import difference
from gateway.streams.cohort import Cohort, Outlet, Subscriber
from gateway.streams.frame import comment, digest, event, first_frame, payload_for
from gateway.streams.touch import Touch

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from gateway.flags import Snapshot, User
    from gateway.streams.beat import Wheel

RETRY_MILLISECONDS = (2_000, 10_000)  # a restart brings browsers back spread over 8 s; a known client gives up after 30
WAITING = comment("waiting for the first config")


class Meter(Protocol):
    """What the hub counts; ``flag`` is None for a stream of all flags."""

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Count a stream that was opened."""

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """Count a stream that is gone."""

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Count ``count`` events (not heartbeats) that were written."""


class Hub:
    """The streams of one SDK.

    :param snapshot: the config to start with; None until the first one is published.
    :param wheel: beats for these streams, and notices the stalled ones; hubs share it.
    :param now: the clock that stalls are measured on, in seconds.
    :param rng: chance for the ``retry`` jitter.
    """

    def __init__(
        self,
        sdk_id: str,
        snapshot: Snapshot | None,
        *,
        wheel: Wheel,
        now: Callable[[], float],
        rng: random.Random,
        meter: Meter,
    ) -> None:
        self.sdk_id = sdk_id
        self.snapshot = snapshot
        self.now = now
        self._wheel = wheel
        self._rng = rng
        self._meter = meter
        self._all: dict[User | None, Cohort] = {}
        self._single: dict[str, dict[User | None, Cohort]] = {}
        self._pending: dict[Cohort, Snapshot | None] = {}
        self._touches: dict[Snapshot, Touch] = {}

    def subscribe(self, key: str | None, user: User | None, outlet: Outlet) -> Subscriber:
        """Open a stream of one flag, or of all when ``key`` is None, and write its first frame.

        Before the first config the frame is a comment; the values follow as soon as they are known.
        """
        cohorts = self._all if key is None else self._single.setdefault(key, {})
        cohort = cohorts.get(user)
        if cohort is None:
            cohort = cohorts[user] = Cohort(key, user)
        subscriber = Subscriber(self, cohort, outlet)
        cohort.members.append(subscriber)
        self._wheel.add(subscriber)
        self._meter.stream_opened(self.sdk_id, key)
        milliseconds = self._rng.randint(*RETRY_MILLISECONDS)
        if self.snapshot is None:
            self._pending.setdefault(cohort, None)
            subscriber.write(first_frame(milliseconds, WAITING))
        else:
            seen, frame = self._frame(cohort, self.snapshot)
            if cohort not in self._pending:
                cohort.seen = seen
            subscriber.sent = seen
            subscriber.write(first_frame(milliseconds, frame))
            self._meter.frames_sent(self.sdk_id, key, 1)
        return subscriber

    def publish(self, snapshot: Snapshot) -> None:
        """Make ``snapshot`` the target; the cohorts that the change can touch are pushed to by ``work``."""
        old, self.snapshot = self.snapshot, snapshot
        self._touches.clear()
        if old is None:
            return
        for cohort in self._watchers(difference(old, snapshot).affected):
            self._pending.setdefault(cohort, old)

    def work(self, spent: Callable[[], bool]) -> bool:
        """Push until nothing is left (True) or ``spent()`` says that the slice of time is used up (False)."""
        if self.snapshot is None:
            return True
        while self._pending:
            cohort, base = self._pending.popitem()
            self._bring_up(cohort, base, self.snapshot)
            if spent():
                break
        if not self._pending:
            self._touches.clear()
        return not self._pending

    def catch_up(self, subscriber: Subscriber) -> None:
        """Send ``subscriber`` what is current, if that is not what it was last sent."""
        cohort = subscriber.cohort
        if self.snapshot is None or subscriber.sent == cohort.seen or cohort in self._pending:
            return
        cohort.seen, frame = self._frame(cohort, self.snapshot)
        self._deliver(cohort, (subscriber,), frame)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget ``subscriber``; a cohort without members is forgotten too."""
        cohort = subscriber.cohort
        cohort.members.remove(subscriber)
        self._wheel.discard(subscriber)
        self._meter.stream_closed(self.sdk_id, cohort.key)
        if cohort.members:
            return
        self._pending.pop(cohort, None)
        if cohort.key is None:
            del self._all[cohort.user]
            return
        watchers = self._single[cohort.key]
        del watchers[cohort.user]
        if not watchers:
            del self._single[cohort.key]

    def subscribers(self) -> list[Subscriber]:
        """Return every open stream of this SDK."""
        single = [cohort for cohorts in self._single.values() for cohort in cohorts.values()]
        return [member for cohort in (*self._all.values(), *single) for member in cohort.members]

    def ride(self, wheel: Wheel) -> None:
        """Use ``wheel`` from now on; the open streams are on it already."""
        self._wheel = wheel

    def _watchers(self, affected: Iterable[str]) -> Iterable[Cohort]:
        touched = False
        for key in affected:
            touched = True
            yield from self._single.get(key, {}).values()
        if touched:
            yield from self._all.values()

    def _bring_up(self, cohort: Cohort, base: Snapshot | None, target: Snapshot) -> None:
        if base is not None:
            touch = self._touches.get(base)
            if touch is None:
                touch = self._touches[base] = Touch(base, target)
            if not touch.concerns(cohort.key, cohort.user):
                return
        seen, frame = self._frame(cohort, target)
        if seen != cohort.seen:
            cohort.seen = seen
            self._deliver(cohort, tuple(cohort.members), frame)

    def _deliver(self, cohort: Cohort, members: Iterable[Subscriber], frame: bytes) -> None:
        count = 0
        for member in members:
            if member.paused_since is None and member.sent != cohort.seen:
                member.sent = cohort.seen
                member.write(frame)
                count += 1
        if count:
            self._meter.frames_sent(self.sdk_id, cohort.key, count)

    def _frame(self, cohort: Cohort, snapshot: Snapshot) -> tuple[str, bytes]:
        payload = payload_for(snapshot, cohort.key, cohort.user)
        route = "eval-all" if cohort.key is None else "eval/" + cohort.key
        seen = digest(f"{self.sdk_id}\n{route}\nplain\n".encode(), payload)
        return seen, event(snapshot.tag, seen, payload)
