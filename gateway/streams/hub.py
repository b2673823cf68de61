"""The streams of one SDK: turns a new config into one frame for each cohort whose values it changes.

    publish(new) ──► difference(old, new) ──► PushQueue ──► work() in slices ──► one frame per changed cohort

Rule 1: every cohort is at ``snapshot``, unless it is in the queue, which has the Snapshot that it is at.
Rule 2: every member that is not paused has the values of its cohort's ``digest``; paused ones catch up on resuming.
Rule 3: a cohort whose values did not change is sent nothing, nor is a member that has the values already.
Rule 4: a change during a push replaces its target; the Snapshot in between is not sent to the remaining cohorts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.flags import reach
from gateway.streams.cohort import Cohort, CohortIndex, Mode, Outlet, Subscriber
from gateway.streams.expiry import ExpiryWheel
from gateway.streams.impact import TURNED_OFF, UNCHANGED, VALUE_CHANGED, impact_in_steps, impact_of
from gateway.streams.known_configs import KnownConfigs
from gateway.streams.modes import DEFAULT_OPTIONS, DeltaEvents, Events, OfrepEvents, PlainEvents, StreamOptions
from gateway.streams.push_queue import PushQueue
from gateway.streams.reach import Counts
from gateway.streams.sse import WAITING, first_frame, refetch_payload

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Generator, Sequence

    from gateway.flags import Snapshot, User
    from gateway.streams.heartbeat import HeartbeatWheel
    from gateway.streams.impact import Impact
    from gateway.streams.tail import Observer

RETRY_MILLISECONDS = (2_000, 10_000)  # spreads the browsers' return after a restart; one known client gives up at 30 s
KEPT_SNAPSHOTS = 4  # for patches to paused subscribers; one that is further behind is sent all values
RECENT_SECONDS = 30.0  # after a change, in which a new OFREP stream may have results from before it
CHECKED_AT_ONCE = 128  # cohorts compared between two looks at the clock; 30 µs if the change concerns few of them
INDEXED_AT_ONCE = 256  # cohorts added to an index between two looks at the clock: 0.2 ms


class HubMetrics(Protocol):
    """Counts streams and events; ``flag`` is None for streams of all flags. Methods must not raise."""

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Count a new stream."""

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """Count a closed stream."""

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Count ``count`` events that were sent, heartbeats excluded."""


class Hub:
    """The streams of one SDK.

    :param snapshot: the config to start with; None until the first one is published.
    :param wheel: sends the heartbeats; the hubs of a process share it. To replace it, add the open streams first.
    :param now: returns the time in seconds; OFREP events show it as seconds since 1970.
    :param rng: jitter of ``retry`` times and of OFREP events.
    :param on_write_error: called if writing to a subscriber raises; the others are served. None: ``work`` raises.
    :param expiries: gets the streams that end at a time of their own; its owner ends them.
    """

    def __init__(
        self,
        sdk_id: str,
        snapshot: Snapshot | None,
        *,
        wheel: HeartbeatWheel,
        now: Callable[[], float],
        rng: random.Random,
        metrics: HubMetrics,
        on_write_error: Callable[[Subscriber, Exception], None] | None = None,
        expiries: ExpiryWheel | None = None,
    ) -> None:
        self.sdk_id = sdk_id
        self.snapshot = snapshot
        self.known_configs = KnownConfigs()
        self.now = now
        self.exposures: Observer | None = None
        self.reached = Counts(0, 0, 0)  # by pushes so far
        self._on_write_error = on_write_error
        self.wheel = wheel
        self._expiries = ExpiryWheel() if expiries is None else expiries
        self._rng = rng
        self._metrics = metrics
        self._index = CohortIndex()
        self._queue = PushQueue()
        self._impacts: dict[Snapshot, Impact] = {}  # from each base in the queue to ``snapshot``
        self._prepared: tuple[Snapshot, dict[Snapshot, Impact]] | None = None  # a config to come, and its impacts
        self._large = False  # whether pushes have to be evaluated in steps
        self._evaluation: tuple[Cohort, Generator[None, None, object]] | None = None  # for the next push
        self._kept_tags: dict[Subscriber, str] = {}  # paused delta subscribers, with the config that each was last sent
        self._kept: dict[str, Snapshot] = {}
        self._changed_at = now()
        self._ofrep = OfrepEvents(sdk_id)
        self._events: dict[Mode, Events] = {
            "plain": PlainEvents(sdk_id),
            "delta": DeltaEvents(sdk_id),
            "ofrep": self._ofrep,
        }
        if snapshot is not None:
            self._announce(snapshot)

    def subscribe(
        self, key: str | None, user: User | None, outlet: Outlet, options: StreamOptions = DEFAULT_OPTIONS
    ) -> Subscriber:
        """Open a stream of flag ``key``, or of all flags for None, and write its first frame.

        Without a config that is a comment; the values follow with the first config.
        An exception from building the frame is raised, and the stream is not opened.
        """
        cohort = self._index.get(key, user, options.mode, self.snapshot)
        if cohort.members:
            self._push_now(cohort)
        subscriber = Subscriber(self, cohort, outlet)
        cohort.members.append(subscriber)
        self.wheel.add(subscriber)
        if options.ends:
            self._expiries.add(subscriber, options.ends)
        self._metrics.stream_opened(self.sdk_id, self._index.label(cohort))
        milliseconds = int(self._rng.uniform(*RETRY_MILLISECONDS))  # ``randint`` takes three times as long
        if self.snapshot is None:
            self._queue.unchecked.setdefault(cohort, None)
            subscriber.write(first_frame(milliseconds, WAITING))
            return subscriber
        recent = self.now() - self._changed_at < RECENT_SECONDS
        try:
            digest, frame, shows_values = self._events[options.mode].first(
                self.snapshot, cohort, options, recent=recent
            )
        except Exception:
            subscriber.close()
            raise
        cohort.digest = subscriber.sent_digest = digest
        subscriber.write(first_frame(milliseconds, frame))
        self._count(cohort, None, 1, shows_values=shows_values)
        return subscriber

    def publish(self, snapshot: Snapshot) -> None:
        """Make ``snapshot`` the current config; ``work`` pushes to the cohorts that the change may concern."""
        old, self.snapshot = self.snapshot, snapshot
        prepared, self._prepared = self._prepared, None
        self._large = snapshot.large or (old is not None and old.large)
        self._evaluation = None
        self._impacts = prepared[1] if prepared is not None and prepared[0] is snapshot else {}
        if old is not None and self._index:
            changes = self._impact(old, snapshot).changes
            self._queue.add(self._index.affected_by(changes.affected, reach(old, snapshot, changes)), old)
        self._changed_at = self.now()
        self._announce(snapshot)

    def prepare_in_steps(self, snapshot: Snapshot) -> Generator[None, None, None]:
        """Return a generator that does in steps what ``publish`` would do at once, for a large config.

        ``publish`` uses the result if its config is ``snapshot``.
        """
        impacts: dict[Snapshot, Impact] = {}
        bases = self._queue.bases() | {self.snapshot, *self._kept.values()} if self._index else set()
        for base in bases:
            if base is not None and base is not snapshot:
                impacts[base] = yield from impact_in_steps(base, snapshot)
        self._prepared = snapshot, impacts

    def work(self, out_of_time: Callable[[], bool]) -> bool:
        """Push until no cohort is left (True) or ``out_of_time()`` (False); paced cohorts wait for ``next_due``.

        Cohorts for which a flag turns off come first; an index that the change began is built last.
        An exception from one cohort's values or frame is raised: it is left as it is until the next change, and the
        next call continues with the others.
        """
        target = self.snapshot
        if target is None:
            return True
        queue = self._queue
        streams = users = paced = 0
        try:
            while True:
                due = queue.pop_due(self.now()) if queue.paced else None
                if due is not None and self._large:
                    queue.normal[due[0]] = due[1]
                elif due is not None:
                    paced += self._push(*due, target)
                elif queue.urgent or (queue.normal and not queue.unchecked):
                    place = queue.urgent or queue.normal
                    if self._large and not self._evaluate_next(place, target, out_of_time):
                        break
                    count = self._push(*place.popitem(), target)
                    if count:
                        streams += count
                        users += 1
                elif queue.unchecked:
                    self._check(target)
                elif not self._index.build(INDEXED_AT_ONCE):
                    break
                if out_of_time():
                    break
        finally:  # also after an exception: the cohorts before it were reached
            self.reached = self.reached.plus(streams, users, paced)
        if not queue:
            self._impacts.clear()
        return not (queue.urgent or queue.unchecked or queue.normal or self._index.building)

    def next_due(self) -> float | None:
        """Return the time by ``now`` at which to call ``work`` for a paced cohort; None: not before a change."""
        return self._queue.next_due()

    def keep_base(self, subscriber: Subscriber) -> None:
        """Keep the config that a delta subscriber was last sent; called when it pauses."""
        base = self._queue.base(subscriber.cohort, self.snapshot)
        if base is None:
            return
        self._kept_tags[subscriber] = base.tag
        self._kept[base.tag] = base
        if len(self._kept) > KEPT_SNAPSHOTS:
            del self._kept[next(iter(self._kept))]

    def catch_up(self, subscriber: Subscriber) -> None:
        """Unpause ``subscriber`` and send it the current values if they differ from what it was last sent."""
        cohort = subscriber.cohort
        tag = self._kept_tags.pop(subscriber, "")
        self._push_now(cohort)
        subscriber.paused_since = None  # before the write, which may pause it again
        if self.snapshot is not None and subscriber.sent_digest != cohort.digest:
            base = self._kept.get(tag)
            impact = None if base is None else self._impact(base, self.snapshot)
            _, frame = self._update(cohort, self.snapshot, impact, subscriber.sent_digest)
            subscriber.sent_digest = cohort.digest
            subscriber.write(frame)
            self._count(cohort, impact, 1)
        self._release()

    def remove(self, subscriber: Subscriber) -> None:
        """Forget a closed subscriber, and its cohort if it was the last member."""
        cohort = subscriber.cohort
        cohort.members.remove(subscriber)
        self.wheel.discard(subscriber)
        self._expiries.discard(subscriber)
        self._metrics.stream_closed(self.sdk_id, self._index.label(cohort))
        if self._kept_tags.pop(subscriber, None) is not None:
            self._release()
        if not cohort.members:
            self._queue.remove(cohort)
            self._index.remove(cohort)

    def cohorts(self) -> list[Cohort]:
        """Return all cohorts; one whose members have all left stays in the list."""
        return self._index.cohorts()

    def label(self, cohort: Cohort) -> str | None:
        """Return the flag of a cohort's streams; one name for all flags that are in no config, None for all flags."""
        return self._index.label(cohort)

    def subscribers(self) -> list[Subscriber]:
        """Return all open streams."""
        return self._index.subscribers()

    def _announce(self, snapshot: Snapshot) -> None:
        self._ofrep.payload = refetch_payload(snapshot.etag, int(self._changed_at))
        self.known_configs.add(snapshot.tag, snapshot.etag)

    def _impact(self, base: Snapshot, target: Snapshot) -> Impact:
        impact = self._impacts.get(base)
        if impact is None:
            impact = self._impacts[base] = impact_of(base, target)
        return impact

    def _update(self, cohort: Cohort, target: Snapshot, impact: Impact | None, digest: str) -> tuple[str, bytes]:
        events = self._events[cohort.mode]
        return events.full(target, cohort) if impact is None else events.update(impact, target, cohort, digest)

    def _check(self, target: Snapshot) -> None:
        """Compare unchecked cohorts, and queue those that the change concerns."""
        queue = self._queue
        base, cohorts = queue.take_unchecked(CHECKED_AT_ONCE)
        if base is None:
            queue.urgent.update(dict.fromkeys(cohorts))
            return
        impact = self._impact(base, target)
        kinds: Sequence[int]
        try:
            kinds = impact.kinds(cohorts)
        except Exception:  # noqa: BLE001  (one user's evaluation fails; pushing one by one, it fails for that user only)
            kinds = [VALUE_CHANGED] * len(cohorts)
        for cohort, kind in zip(cohorts, kinds, strict=True):
            if kind == UNCHANGED:
                continue
            events = self._events[cohort.mode]
            if kind < events.threshold:
                continue
            if events.paced:
                queue.add_paced(cohort, base, self.now(), self._rng.random())
            elif impact.can_turn_off and kind != TURNED_OFF:
                queue.normal[cohort] = base
            else:
                queue.urgent[cohort] = base

    def _evaluate_next(
        self, place: dict[Cohort, Snapshot | None], target: Snapshot, out_of_time: Callable[[], bool]
    ) -> bool:
        """Evaluate for the next push from ``place``, until that is done (True) or ``out_of_time()``."""
        cohort = next(reversed(place))
        if cohort.key is not None:
            return True
        if self._evaluation is None or self._evaluation[0] is not cohort:
            base = place[cohort]
            impact = None if base is None else self._impact(base, target)
            self._evaluation = cohort, self._events[cohort.mode].evaluate_in_steps(impact, target, cohort)
        try:
            for _ in self._evaluation[1]:
                if out_of_time():
                    return False
        except Exception:
            del place[cohort]
            self._evaluation = None
            raise
        self._evaluation = None
        return True

    def _push_now(self, cohort: Cohort) -> None:
        """Push to ``cohort`` before its turn, because a member joins or resumes."""
        queued, base = self._queue.remove(cohort)
        if queued and self.snapshot is not None:
            self._push(cohort, base, self.snapshot)
        elif queued:
            self._queue.unchecked[cohort] = None

    def _push(self, cohort: Cohort, base: Snapshot | None, target: Snapshot) -> int:
        """Send a cohort its changes, and return the number of streams that an event was written to."""
        impact = None if base is None else self._impact(base, target)
        digest, frame = self._update(cohort, target, impact, cohort.digest)
        if digest == cohort.digest:
            return 0
        cohort.digest = digest
        count = 0
        for member in tuple(cohort.members):
            if member.paused_since is None:
                member.sent_digest = digest
                try:
                    member.write(frame)
                except Exception as error:
                    if self._on_write_error is None:
                        raise
                    self._on_write_error(member, error)
                else:
                    count += 1
        if count:
            self._count(cohort, impact, count)
        return count

    def _count(self, cohort: Cohort, impact: Impact | None, count: int, *, shows_values: bool = True) -> None:
        self._metrics.frames_sent(self.sdk_id, self._index.label(cohort), count)
        if shows_values and self.exposures is not None and self.snapshot is not None:
            self.exposures.event_sent(cohort, self.snapshot, impact, count)

    def _release(self) -> None:
        """Drop the kept Snapshots once no subscriber needs them."""
        if not self._kept_tags:
            self._kept.clear()
            if not self._queue:
                self._impacts.clear()
