"""The events of each mode, also the first one of a resumed stream.

Modes: all values each time, changes only, or the OFREP call to evaluate again.

A digest identifies the values that a client has after an event; it depends on SDK, route and mode, too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen
from msgspec import Struct

from gateway.flags import fingerprint_of, fingerprint_text, pieces
from gateway.streams.impact import REASON_CHANGED, VALUE_CHANGED
from gateway.streams.sse import DELETED_FLAG, event, recovered

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from gateway.flags import Result, Snapshot, User
    from gateway.streams.cohort import Cohort, Mode
    from gateway.streams.impact import FlagChange, Impact

# OFREP providers ignore unknown types, also those that pay no attention to the names of events.
OFREP_RECOVERED = b'{"type":"recovered"}'

CHANGES_PER_STEP = 2048  # collected between two pauses: some 2 ms

_Patch = tuple[int, list[bytes], list[bytes]]  # added to the number of the digest; members that changed; keys removed
Update = tuple[str, bytes]  # the client's digest after the frame, and the frame
First = tuple[str, bytes, bool]  # the same of a new stream, and whether the frame shows the values


class StreamOptions(Struct, frozen=True):
    """What a client requests of its stream.

    It ends at ``ends``, Unix seconds; 0: not by itself.
    ``last_digest`` is from the last event id that it received, empty without one; with ``quiet`` it wants no data
    if that digest is current.
    """

    mode: Mode = "plain"
    last_digest: str = ""
    quiet: bool = False
    ends: float = 0.0


DEFAULT_OPTIONS = StreamOptions()


def causes_event(mode: Mode, key: str | None, change: FlagChange) -> bool:
    """Return whether a stream of flag ``key``, or of all flags for None, gets an event for the change of its flag."""
    if mode == "ofrep":
        return change.kind >= OfrepEvents.threshold
    if change.kind < Events.threshold:
        return False
    if mode == "delta" or key is None:
        return True
    before, after = (DELETED_FLAG if result is None else result.json for result in (change.old, change.new))
    return before != after  # a flag that fails and one that does not exist have the same payload


class Events(ABC):
    """Builds the events of one mode for one SDK."""

    mode: ClassVar[Mode]
    threshold: ClassVar[int] = VALUE_CHANGED  # the lightest kind of change that causes an event
    paced: ClassVar[bool] = False  # whether the events of a push are spread over time

    def __init__(self, sdk_id: str) -> None:
        self._sdk_id = sdk_id
        self._all_flags = fingerprint_of(self._scope(None))

    def _scope(self, key: str | None) -> bytes:
        """Return the part of a digest's input that differs between SDKs, routes and modes."""
        route = "eval-all" if key is None else "eval/" + key
        return f"{self._sdk_id}\n{route}\n{self.mode}\n".encode()

    @abstractmethod
    def full(self, snapshot: Snapshot, cohort: Cohort) -> Update:
        """Return the update to ``snapshot`` for a client with any earlier values."""

    def evaluate_in_steps(
        self, impact: Impact | None, snapshot: Snapshot, cohort: Cohort
    ) -> Generator[None, None, object]:
        """Return a generator after whose end ``update``, or ``full`` without ``impact``, takes little time."""
        if impact is None:
            return snapshot.evaluate_all_in_steps(cohort.user)
        return impact.evaluate_in_steps(cohort.user)

    @abstractmethod
    def first(self, snapshot: Snapshot, cohort: Cohort, options: StreamOptions, *, recent: bool) -> First:
        """Return what a new stream begins with; ``recent``: the config changed a moment ago."""

    @abstractmethod
    def update(self, impact: Impact, snapshot: Snapshot, cohort: Cohort, digest: str) -> Update:
        """Return the update from ``digest`` to ``snapshot`` across ``impact``; the same digest if nothing changed."""


class PlainEvents(Events):
    """All values in each event."""

    mode = "plain"

    def evaluate_in_steps(
        self, impact: Impact | None, snapshot: Snapshot, cohort: Cohort
    ) -> Generator[None, None, object]:
        """Evaluate all flags."""
        del impact
        return snapshot.evaluate_all_in_steps(cohort.user)

    def full(self, snapshot: Snapshot, cohort: Cohort) -> Update:
        """Return all values."""
        key = cohort.key
        if key is None:
            evaluation = snapshot.evaluate_all(cohort.user, remember=True)
            payload, digest = evaluation.json(), fingerprint_text(self._all_flags + evaluation.fingerprint())
        else:
            payload = snapshot.evaluate(key, cohort.user).json if key in snapshot.flags else DELETED_FLAG
            # Of the payload only: a failing flag and a deleted one are equal to the client.
            digest = fingerprint_text(fingerprint_of(self._scope(key) + payload))
        return digest, event(snapshot.tag, digest, payload)

    def first(self, snapshot: Snapshot, cohort: Cohort, options: StreamOptions, *, recent: bool) -> First:
        """Return all values, or ``recovered`` to a quiet client that has them."""
        del recent
        digest, frame = self.full(snapshot, cohort)
        if options.quiet and options.last_digest == digest:
            return digest, recovered(snapshot.tag, digest), False
        return digest, frame, True

    def update(self, impact: Impact, snapshot: Snapshot, cohort: Cohort, digest: str) -> Update:
        """Return all values."""
        del impact, digest
        return self.full(snapshot, cohort)


class DeltaEvents(Events):
    """All values in the first event (``put``), then changes only (``patch``)."""

    mode = "delta"
    _ready: tuple[Impact, User | None, _Patch] | None = None  # made in steps, for the next update

    def evaluate_in_steps(
        self, impact: Impact | None, snapshot: Snapshot, cohort: Cohort
    ) -> Generator[None, None, object]:
        """Evaluate what changed, and collect it."""
        self._ready = None
        if impact is None:
            return (yield from snapshot.evaluate_all_in_steps(cohort.user))
        yield from impact.evaluate_in_steps(cohort.user)
        change, changed, removed = 0, list[bytes](), list[bytes]()
        for piece in pieces(impact.changes_for(None, cohort.user), CHANGES_PER_STEP):
            part = _patch_of(piece)
            change += part[0]
            changed += part[1]
            removed += part[2]
            yield
        self._ready = impact, cohort.user, (change, changed, removed)
        return None

    def full(self, snapshot: Snapshot, cohort: Cohort) -> Update:
        """Return a ``put``."""
        digest, payload = self._values(snapshot, cohort.key, cohort.user)
        return digest, event(snapshot.tag, digest, payload, b"put")

    def first(self, snapshot: Snapshot, cohort: Cohort, options: StreamOptions, *, recent: bool) -> First:
        """Return a ``put``, or ``recovered`` to a client that has the values."""
        del recent
        digest, payload = self._values(snapshot, cohort.key, cohort.user)
        if options.last_digest == digest:
            return digest, recovered(snapshot.tag, digest), False
        return digest, event(snapshot.tag, digest, payload, b"put"), True

    def update(self, impact: Impact, snapshot: Snapshot, cohort: Cohort, digest: str) -> Update:
        """Return a ``patch``."""
        ready = self._ready
        if ready is not None and cohort.key is None and ready[0] is impact and ready[1] is cohort.user:
            self._ready = None
            change, changed, removed = ready[2]
        else:
            change, changed, removed = _patch_of(impact.changes_for(cohort.key, cohort.user))
        if not changed and not removed:
            return digest, b""
        digest = fingerprint_text(int(digest, 16) + change)
        patch = b'{"changed":{%b},"removed":[%b]}' % (b",".join(changed), b",".join(removed))
        return digest, event(snapshot.tag, digest, patch, b"patch")

    def _values(self, snapshot: Snapshot, key: str | None, user: User | None) -> tuple[str, bytes]:
        """Return the digest and the map of values."""
        if key is None:
            evaluation = snapshot.evaluate_all(user)
            return fingerprint_text(self._all_flags + evaluation.fingerprint()), evaluation.json()
        start = fingerprint_of(self._scope(key))
        if key not in snapshot.flags:
            return fingerprint_text(start), b"{}"
        result = snapshot.evaluate(key, user)
        return fingerprint_text(start + result.fingerprint), b"{%b}" % result.entry


def _patch_of(changes: Sequence[FlagChange]) -> _Patch:
    change = 0
    changed: list[bytes] = []
    removed: list[bytes] = []
    for kind, old, new in changes:
        if kind < VALUE_CHANGED:
            continue
        if old is not None:
            change -= old.fingerprint
            if new is None:
                removed.append(old.entry[: -len(old.json) - 1])
        if new is not None:
            change += new.fingerprint
            changed.append(new.entry)
    return change, changed, removed


class OfrepEvents(Events):
    """No values, only the call to evaluate again, for changed values and changed reasons."""

    mode = "ofrep"
    threshold = REASON_CHANGED
    paced = True
    payload = b""  # of the call, for the current config

    def full(self, snapshot: Snapshot, cohort: Cohort) -> Update:
        """Return the call."""
        digest = self._digest(snapshot, cohort)
        return digest, event(snapshot.tag, digest, self.payload)

    def first(self, snapshot: Snapshot, cohort: Cohort, options: StreamOptions, *, recent: bool) -> First:
        """Return ``recovered``; the call if the client has, or may have, results from before a change."""
        digest = self._digest(snapshot, cohort)
        if options.last_digest == digest or (not options.last_digest and not recent):
            return digest, recovered(snapshot.tag, digest, OFREP_RECOVERED), False
        return digest, event(snapshot.tag, digest, self.payload), False

    def update(self, impact: Impact, snapshot: Snapshot, cohort: Cohort, digest: str) -> Update:
        """Return the call if a value or a reason differs."""
        number = int(digest, 16)
        for kind, old, new in impact.changes_for(cohort.key, cohort.user):
            if kind >= REASON_CHANGED:
                number -= 0 if old is None else old.ofrep_fingerprint
                number += 0 if new is None else new.ofrep_fingerprint
        after = fingerprint_text(number)
        return after, b"" if after == digest else event(snapshot.tag, after, self.payload)

    def _digest(self, snapshot: Snapshot, cohort: Cohort) -> str:
        key, user = cohort.key, cohort.user
        if key is None:
            return fingerprint_text(self._all_flags + snapshot.evaluate_all(user).ofrep_fingerprint())
        start = fingerprint_of(self._scope(key))
        return fingerprint_text(
            start + (snapshot.evaluate(key, user).ofrep_fingerprint if key in snapshot.flags else 0)
        )


@frozen
class ExposureRecorder:
    """Reports the evaluation results that events show.

    :param record: called with the results, the user and the number of subscribers; must not raise.
    :param all_flags: whether events of all-flags streams are reported, too.
    """

    record: Callable[[Sequence[Result], User | None, int], None]
    all_flags: bool = False

    def event_sent(self, cohort: Cohort, snapshot: Snapshot, impact: Impact | None, count: int) -> None:
        """Report an event that ``count`` members were sent; it shows the changes of ``impact``, or all values."""
        key, user = cohort.key, cohort.user
        if cohort.mode == "ofrep" or (key is None and not self.all_flags):
            return
        results: Sequence[Result]
        if key is not None:
            results = [snapshot.evaluate(key, user)] if key in snapshot.flags else []
        elif impact is None or cohort.mode == "plain":
            results = snapshot.evaluate_all(user, remember=True).results()
        else:
            results = [
                new for kind, _, new in impact.changes_for(None, user) if kind >= VALUE_CHANGED and new is not None
            ]
        if results:
            self.record(results, user, count)
