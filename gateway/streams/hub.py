"""The diff engine of one SDK: from "the config changed" to frames for exactly the users whose values changed.

    publish(new) ──► difference(old, new) ──► Backlog ──► work() in slices ──► one frame per changed cohort

Rule 1: every cohort is current with ``snapshot`` unless it is in the backlog, which remembers the Snapshot it is at.
Rule 2: every member that is not paused was sent what its cohort has ``seen``; a paused one is caught up as it resumes.
Rule 3: a cohort whose payload did not change sends nothing; a member that already has the payload is not written to.
Rule 4: a change that arrives during a push replaces the target; nobody is shown the Snapshot in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags import difference
from gateway.streams.cohort import Cohort, Outlet, Subscriber
from gateway.streams.cohort_index import Audience
from gateway.streams.impact import OFF, SAME, SHOWN, Touch
from gateway.streams.known_configs import KnownConfigs
from gateway.streams.meter import Meter, ignore
from gateway.streams.modes import DEFAULT_OPTIONS, Delta, Mode, Plain, Refetch, StreamOptions, View, onward
from gateway.streams.push_queue import Backlog
from gateway.streams.sse import comment, first_frame, refetch

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from gateway.flags import Snapshot, User
    from gateway.streams.exposure import Exposure
    from gateway.streams.heartbeat import HeartbeatWheel

RETRY_MILLISECONDS = (2_000, 10_000)  # a restart brings browsers back spread over 8 s; a known client gives up after 30
WAITING = comment("waiting for the first config")
HELD_LIMIT = 4  # Snapshots kept for patches to readers that are paused; one that fell further behind gets a put
RECENT_SECONDS = 30.0  # how long after a change a new OFREP stream may belong to values that were asked for before it
JUDGED_AT_ONCE = 128  # cohorts between two looks at the clock; 30 µs, where a change touches few


class Hub:
    """The streams of one SDK.

    :param snapshot: the config to start with; None until the first one is published.
    :param wheel: beats for these streams, and notices the stalled ones; hubs share it.
    :param now: the clock that stalls are measured on, in seconds; OFREP is told it as seconds since 1970.
    :param rng: chance for the ``retry`` jitter and the pace of OFREP's events.
    :param fault: told of a member whose outlet broke its promise and raised; the others are served.
    """

    def __init__(
        self,
        sdk_id: str,
        snapshot: Snapshot | None,
        *,
        wheel: HeartbeatWheel,
        now: Callable[[], float],
        rng: random.Random,
        metrics: Meter,
        fault: Callable[[Subscriber, Exception], None] = ignore,
    ) -> None:
        self.sdk_id = sdk_id
        self._fault = fault
        self.snapshot = snapshot
        self.known_configs = KnownConfigs()
        self.now = now
        self.exposure: Exposure | None = None  # who is told what the events show
        self._wheel = wheel
        self._rng = rng
        self._metrics = metrics
        self._audience = Audience()
        self._backlog = Backlog()
        self._touches: dict[Snapshot, Touch] = {}
        self._held: dict[Subscriber, str] = {}  # paused readers of patches, and the tag of what each was sent
        self._held_at: dict[str, Snapshot] = {}
        self._changed_at = now()
        self._call = b""
        self._views: dict[Mode, View] = {
            "plain": Plain(sdk_id),
            "delta": Delta(sdk_id),
            "ofrep": Refetch(sdk_id, lambda: self._call),
        }
        if snapshot is not None:
            self._arrived(snapshot)

    def subscribe(
        self, key: str | None, user: User | None, outlet: Outlet, options: StreamOptions = DEFAULT_OPTIONS
    ) -> Subscriber:
        """Open a stream of one flag, or of all when ``key`` is None, and write its first frame.

        Before the first config the frame is a comment; the values follow as soon as they are known.
        Raises what making the first frame raises, with nobody subscribed.
        """
        cohort = self._audience.cohort(key, user, options.mode, self.snapshot)
        self._settle(cohort)
        subscriber = Subscriber(self, cohort, outlet)
        cohort.members.append(subscriber)
        self._wheel.add(subscriber)
        self._metrics.stream_opened(self.sdk_id, self._audience.label(cohort))
        milliseconds = self._rng.randint(*RETRY_MILLISECONDS)
        if self.snapshot is None:
            self._backlog.fresh.setdefault(cohort, None)
            subscriber.write(first_frame(milliseconds, WAITING))
            return subscriber
        recent = self.now() - self._changed_at < RECENT_SECONDS
        view = self._views[options.mode]
        try:
            seen, frame, is_event = view.opening(self.snapshot, key, user, options, recent=recent)
        except Exception:
            subscriber.close()
            raise
        cohort.seen = subscriber.sent = seen
        subscriber.write(first_frame(milliseconds, frame))
        if is_event:
            # ``recovered`` is an event that shows nothing.
            self._sent(cohort, None, 1, showing=options.mode == "plain" or options.last_digest != seen)
        return subscriber

    def publish(self, snapshot: Snapshot) -> None:
        """Make ``snapshot`` the target; the cohorts that the change can touch are pushed to by ``work``."""
        old, self.snapshot = self.snapshot, snapshot
        self._touches.clear()
        if old is not None:
            changes = difference(old, snapshot)
            self._backlog.begin(self._audience.watchers(changes.affected), old)
            self._touches[old] = Touch(old, snapshot, changes)
        self._changed_at = self.now()
        self._arrived(snapshot)

    def work(self, spent: Callable[[], bool]) -> bool:
        """Push until nothing is left (True) or ``spent()`` says that the slice of time is used up (False).

        Those for whom a flag turns off come first; those whose turn is later (``next_due``) are not waited for.
        Raises what one cohort's values or frame raise: that cohort is left as it is until the next change, and the
        next call goes on with the others.
        """
        target = self.snapshot
        if target is None:
            return True
        backlog = self._backlog
        while True:
            late = backlog.pop_due(self.now()) if backlog.late else None
            if late is not None:
                self._bring_up(*late, target)
            elif backlog.first:
                self._bring_up(*backlog.first.popitem(), target)
            elif backlog.fresh:
                self._sift(target)
            elif backlog.rest:
                self._bring_up(*backlog.rest.popitem(), target)
            else:
                break
            if spent():
                break
        if not backlog:
            self._touches.clear()
        return not (backlog.first or backlog.fresh or backlog.rest)

    def next_due(self) -> float | None:
        """Return the time, on the hub's clock, at which ``work`` has something to do again; None: at a change."""
        return self._backlog.next_due()

    def hold(self, subscriber: Subscriber) -> None:
        """Remember which config a reader of patches was sent, as it pauses."""
        base = self._backlog.base(subscriber.cohort, self.snapshot)
        if base is None:
            return
        self._held[subscriber] = base.tag
        self._held_at[base.tag] = base
        if len(self._held_at) > HELD_LIMIT:
            del self._held_at[next(iter(self._held_at))]

    def catch_up(self, subscriber: Subscriber) -> None:
        """Send ``subscriber``, which is still paused, what is current, if that is not what it was last sent."""
        cohort = subscriber.cohort
        tag = self._held.pop(subscriber, "")
        self._settle(cohort)
        subscriber.paused_since = None  # from here on it may be paused again, by the very frame it is sent
        if self.snapshot is not None and subscriber.sent != cohort.seen:
            base = self._held_at.get(tag)
            touch = None if base is None else self._touch(base, self.snapshot)
            _, frame = onward(self._views[cohort.mode], cohort, self.snapshot, touch, subscriber.sent)
            subscriber.sent = cohort.seen
            subscriber.write(frame)
            self._sent(cohort, touch, 1)
        self._let_go()

    def leave(self, subscriber: Subscriber) -> None:
        """Forget ``subscriber``; a cohort without members is forgotten too."""
        cohort = subscriber.cohort
        cohort.members.remove(subscriber)
        self._wheel.discard(subscriber)
        self._metrics.stream_closed(self.sdk_id, self._audience.label(cohort))
        if self._held.pop(subscriber, None) is not None:
            self._let_go()
        if cohort.members:
            return
        self._backlog.discard(cohort)
        self._audience.forget(cohort)

    def subscribers(self) -> list[Subscriber]:
        """Return every open stream of this SDK."""
        return self._audience.members()

    def ride(self, wheel: HeartbeatWheel) -> None:
        """Use ``wheel`` from now on; the open streams are on it already."""
        self._wheel = wheel

    def _arrived(self, snapshot: Snapshot) -> None:
        self._call = refetch(snapshot.etag, int(self._changed_at))
        self.known_configs.add(snapshot.tag, snapshot.etag)

    def _touch(self, base: Snapshot, target: Snapshot) -> Touch:
        touch = self._touches.get(base)
        if touch is None:
            touch = self._touches[base] = Touch(base, target)
        return touch

    def _sift(self, target: Snapshot) -> None:
        """Judge fresh cohorts: those that the change concerns are brought up first, or have their place."""
        backlog = self._backlog
        base, cohorts = backlog.take(JUDGED_AT_ONCE)
        if base is None:
            backlog.first.update(dict.fromkeys(cohorts))
            return
        touch = self._touch(base, target)
        kinds: Sequence[int]
        try:
            kinds = touch.judge(cohorts)
        except Exception:  # noqa: BLE001  (one of them cannot be evaluated; brought up one by one, it stands alone)
            kinds = [SHOWN] * len(cohorts)
        for cohort, kind in zip(cohorts, kinds, strict=True):
            if kind == SAME:
                continue
            view = self._views[cohort.mode]
            if kind < view.least:
                continue
            if view.paced:
                backlog.postpone(cohort, base, self.now(), self._rng.random())
            elif touch.may_turn_off and kind != OFF:
                backlog.rest[cohort] = base
            else:
                backlog.first[cohort] = base

    def _settle(self, cohort: Cohort) -> None:
        """Bring ``cohort`` up out of turn: somebody joins it, or reads again."""
        behind, base = self._backlog.discard(cohort)
        if behind and self.snapshot is not None:
            self._bring_up(cohort, base, self.snapshot)
        elif behind:
            self._backlog.fresh[cohort] = None

    def _bring_up(self, cohort: Cohort, base: Snapshot | None, target: Snapshot) -> None:
        touch = None if base is None else self._touch(base, target)
        seen, frame = onward(self._views[cohort.mode], cohort, target, touch, cohort.seen)
        if seen == cohort.seen:
            return
        cohort.seen = seen
        count = 0
        for member in tuple(cohort.members):
            if member.paused_since is None:
                member.sent = seen
                try:
                    member.write(frame)
                except Exception as error:  # noqa: BLE001  (one connection's fault is not the others')
                    self._fault(member, error)
                else:
                    count += 1
        if count:
            self._sent(cohort, touch, count)

    def _sent(self, cohort: Cohort, touch: Touch | None, count: int, *, showing: bool = True) -> None:
        self._metrics.frames_sent(self.sdk_id, self._audience.label(cohort), count)
        if showing and self.exposure is not None and self.snapshot is not None:
            self.exposure.sent(cohort, self.snapshot, touch, count)

    def _let_go(self) -> None:
        """Keep no old Snapshot for readers that are not paused any more."""
        if not self._held:
            self._held_at.clear()
            if not self._backlog:
                self._touches.clear()
