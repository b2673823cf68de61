"""Whether a change concerns a user: only affected flags are evaluated, once per distinct projection.

A flag that reads only ``Country`` is evaluated once per country and push, not once per user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags import difference
from gateway.streams.frame import payload_for

if TYPE_CHECKING:
    from gateway.flags import Snapshot, User

MANY_FLAGS = 32  # beyond this, encoding the whole payload and comparing digests costs less than comparing flag by flag
UNIQUE_ATTRIBUTES = frozenset({"Identifier", "Email"})  # one value per user as a rule: remembering would only cost


class Touch:
    """The step from one Snapshot to another, asked once per cohort."""

    def __init__(self, old: Snapshot, new: Snapshot) -> None:
        changes = difference(old, new)
        self._affected = frozenset(changes.affected)
        self._always = bool(changes.added or changes.removed) or len(self._affected) > MANY_FLAGS
        self._tests = {key: FlagTouch(old, new, key) for key in changes.affected}

    def concerns(self, key: str | None, user: User | None) -> bool:
        """Return False only when what ``user`` sees of ``key`` (None: of all flags) is surely unchanged."""
        if key is not None:
            return key in self._affected and self._tests[key].changed(user)
        return self._always or any(test.changed(user) for test in self._tests.values())


class FlagTouch:
    """One affected flag: does its outcome differ for a user?"""

    def __init__(self, old: Snapshot, new: Snapshot, key: str) -> None:
        self._old = old
        self._new = new
        self._key = key
        flags = [snapshot.flags[key] for snapshot in (old, new) if key in snapshot.flags]
        self._attributes = tuple(sorted({name for flag in flags for name in flag.attributes}))
        self._known: dict[object, bool] | None = None if UNIQUE_ATTRIBUTES.intersection(self._attributes) else {}

    def changed(self, user: User | None) -> bool:
        """Return whether ``user`` is shown something else for this flag than before."""
        if self._known is None:
            return self._compare(user)
        projection = None if user is None else tuple(user.attributes.get(name) for name in self._attributes)
        known = self._known.get(projection)
        if known is None:
            known = self._known[projection] = self._compare(user)
        return known

    def _compare(self, user: User | None) -> bool:
        return payload_for(self._old, self._key, user) != payload_for(self._new, self._key, user)
