"""Subscribers, their cohorts and the index of cohorts.

A cohort is the subscribers with equal users and the same stream: they share one state and one encoded frame.

Rule 1: users are equal when all their attributes are equal (``gateway.flags.User``); a hash alone never decides.
Rule 2: a subscriber has no queue. While paused it keeps only the digest of what it was last sent; when it resumes,
it gets one frame with the current values, if they differ.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from gateway.streams.attribute_index import AttributeIndexes, worth_it

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.flags import Snapshot, User

Mode = Literal["plain", "delta", "ofrep"]
UNKNOWN_FLAG = "[OTHER]"  # metric label of flags that are in no config: text of a client never becomes a label
NOTHING_SENT = ""  # the digest before the first event


class Outlet(Protocol):
    """The connection of one subscriber.

    Methods neither block nor raise: once the connection is gone, data is discarded until ``Subscriber.close``.
    """

    def write(self, data: bytes) -> None:
        """Send ``data``; calls ``Subscriber.pause`` when the transport is full."""

    def finish(self) -> None:
        """End the response regularly: the client reconnects after its ``retry`` time."""

    def abort(self) -> None:
        """Drop the connection, unsent data included."""


class Owner(Protocol):
    """The methods of the hub that its subscribers call."""

    def now(self) -> float:
        """Return the time in seconds."""

    def keep_base(self, subscriber: Subscriber) -> None:
        """Keep the config that a delta subscriber was last sent; called when it pauses."""

    def catch_up(self, subscriber: Subscriber) -> None:
        """Unpause ``subscriber`` and send it the current values if they differ from what it was last sent."""

    def remove(self, subscriber: Subscriber) -> None:
        """Forget a closed subscriber."""


class Cohort:
    """Subscribers of one stream: one flag (``key``) or all flags (None), one user, one mode."""

    __slots__ = ("digest", "key", "members", "user")
    mode: ClassVar[Mode] = "plain"  # a subclass per mode instead of a slot: there are thousands of cohorts

    def __init__(self, key: str | None, user: User | None) -> None:
        self.key = key
        self.user = user
        self.digest = NOTHING_SENT  # of the values that the members have which are not paused
        self.members: list[Subscriber] = []

    def index_key(self) -> object:
        """Return the key of this cohort among the cohorts of the same flag."""
        return self.user if self.mode == "plain" else (self.mode, self.user)


class DeltaCohort(Cohort):
    """Subscribers in delta mode."""

    __slots__ = ()
    mode = "delta"


class OfrepCohort(Cohort):
    """Subscribers of OFREP event streams."""

    __slots__ = ()
    mode = "ofrep"


COHORTS: dict[Mode, type[Cohort]] = {kind.mode: kind for kind in (Cohort, DeltaCohort, OfrepCohort)}


class Subscriber:
    """One open stream. The web room calls ``pause``, ``resume`` and ``close`` as the transport changes."""

    __slots__ = ("_hub", "active", "cohort", "is_open", "outlet", "paused_since", "sent_digest", "slot")

    def __init__(self, hub: Owner, cohort: Cohort, outlet: Outlet) -> None:
        self._hub = hub
        self.is_open = True  # until ``close``
        self.cohort = cohort
        self.outlet = outlet
        self.sent_digest = NOTHING_SENT
        self.active = True  # written to since its last heartbeat
        self.paused_since: float | None = None
        self.slot = 0  # of the heartbeat wheel

    def write(self, data: bytes) -> None:
        """Send ``data`` and skip the next heartbeat."""
        self.active = True
        self.outlet.write(data)

    def pause(self) -> None:
        """Stop sending: the transport is full."""
        if self.is_open and self.paused_since is None:
            self.paused_since = self._hub.now()
            if self.cohort.mode == "delta":
                self._hub.keep_base(self)

    def resume(self) -> None:
        """Send again; what changed during the pause is sent at once, as one frame."""
        if self.is_open and self.paused_since is not None:
            self._hub.catch_up(self)

    def close(self) -> None:
        """Forget this stream; a second call has no effect."""
        if self.is_open:
            self.is_open = False
            self._hub.remove(self)


class CohortIndex:
    """Finds cohorts by flag, user and mode; a cohort is created for its first member and removed with its last."""

    def __init__(self) -> None:
        self._all_flags: dict[object, Cohort] = {}
        self._by_flag: dict[str, dict[object, Cohort]] = {}
        self._unknown: set[Cohort] = set()
        self._indexes: AttributeIndexes[Cohort] = AttributeIndexes()

    def __bool__(self) -> bool:
        """Whether there is any cohort."""
        return bool(self._all_flags or self._by_flag)

    def get(self, key: str | None, user: User | None, mode: Mode, snapshot: Snapshot | None) -> Cohort:
        """Return the cohort of flag ``key``, or of all flags for None; ``snapshot`` is the current config."""
        new = COHORTS[mode](key, user)
        cohorts = self._all_flags if key is None else self._by_flag.setdefault(key, {})
        cohort = cohorts.setdefault(new.index_key(), new)
        if cohort is new:
            for index in self._indexes.all:
                index.add(cohort)
            if key is not None and (snapshot is None or key not in snapshot.flags):
                self._unknown.add(cohort)
        return cohort

    def remove(self, cohort: Cohort) -> None:
        """Remove a cohort without members."""
        self._unknown.discard(cohort)
        cohorts = self._all_flags if cohort.key is None else self._by_flag[cohort.key]
        del cohorts[cohort.index_key()]
        for index in self._indexes.all:
            index.remove(cohort)
        if cohort.key is not None and not cohorts:
            del self._by_flag[cohort.key]

    def label(self, cohort: Cohort) -> str | None:
        """Return the flag that metrics count ``cohort`` under; it does not change during the cohort's life."""
        return UNKNOWN_FLAG if cohort in self._unknown else cohort.key

    def affected_by(self, flags: Sequence[str], texts: Mapping[str, frozenset[str]] | None = None) -> Iterable[Cohort]:
        """Yield each cohort that a change of these flags may concern once; invalid once a cohort is removed.

        With ``texts``, by attribute, the change concerns only users who have one of them: the cohorts are looked up if
        that is faster and ``build`` has completed the index, which the first such change begins.
        """
        if texts is not None and worth_it(texts, self._count()):
            found = self._indexes.find(texts, self._all)
            if found is not None:
                return found
        single = [self._by_flag[key].values() for key in flags if key in self._by_flag]
        return chain(*single, self._all_flags.values() if flags else ())

    @property
    def building(self) -> bool:
        """Whether ``build`` has more to do."""
        return self._indexes.building

    def build(self, limit: int) -> bool:
        """Continue to build an index with at most ``limit`` cohorts; return whether there was something to do."""
        return self._indexes.build(limit)

    def _all(self) -> Iterable[Cohort]:
        return chain(self._all_flags.values(), *[cohorts.values() for cohorts in self._by_flag.values()])

    def _count(self) -> int:
        return len(self._all_flags) + sum(map(len, self._by_flag.values()))

    def cohorts(self) -> list[Cohort]:
        """Return all cohorts."""
        return list(self._all())

    def subscribers(self) -> list[Subscriber]:
        """Return the members of all cohorts."""
        return [member for cohort in self._all() for member in cohort.members]
