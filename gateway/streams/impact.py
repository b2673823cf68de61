"""What a change of the config changes for each user.

Only the affected flags are evaluated, and each once per distinct set of the attribute values that it reads: a flag
that reads only ``Country`` is evaluated once per country, not once per user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.flags import PERSONAL_ATTRIBUTES, difference_in_steps, finish, pieces, unchanged_test

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from gateway.flags import ConfigDiff, Flag, Result, Snapshot, User
    from gateway.streams.cohort import Cohort

    KindsOf = Callable[[Sequence[Cohort]], Sequence[int]]

MANY_FLAGS = 32  # above it, encoding all flags and comparing digests is cheaper than comparing flag by flag

FLAGS_PER_STEP = 256  # prepared between two pauses: some 2 ms

# Kinds of change, ordered by weight.
UNCHANGED = 0
REASON_CHANGED = 1  # the reason of the OFREP result only, neither value nor variation id
VALUE_CHANGED = 2  # the value or the variation id, or the flag was added or removed
TURNED_OFF = 3  # the value was true and no longer is


class FlagChange(NamedTuple):
    """The change of one flag for one user, with the results around it (None: the flag does not exist)."""

    kind: int
    old: Result | None
    new: Result | None


class Impact:
    """The effect of the change from one Snapshot to another; caches results, so one is made per change and push."""

    def __init__(
        self, base: Snapshot, changes: ConfigDiff, by_key: dict[str, FlagImpact], switches: tuple[FlagImpact, ...]
    ) -> None:
        self.base = base
        self.changes = changes
        self.by_key = by_key
        self._flags = tuple(by_key.values())
        all_changed = bool(changes.added or changes.removed) or len(self._flags) > MANY_FLAGS
        self._least = VALUE_CHANGED if all_changed else UNCHANGED
        if len(switches) > MANY_FLAGS:  # a new salt for example, no kill switch; to check all would delay all
            switches = ()
        self.can_turn_off = bool(switches)
        self._compared = switches if all_changed else self._flags
        self.kinds = self._choose()
        """Return the weightiest kind of change for each cohort, in their order.

        Never too light a kind; when very many flags are affected, VALUE_CHANGED may be too weighty.
        """

    def _choose(self) -> KindsOf:
        # The usual change is of one flag that reads one attribute, and concerns few users.
        if len(self._flags) == 1 and self._least == UNCHANGED:
            return self._flags[0].kinds()
        return lambda cohorts: [self._kind(cohort) for cohort in cohorts]

    def _kind(self, cohort: Cohort) -> int:
        key, user = cohort.key, cohort.user
        if key is not None:
            flag = self.by_key.get(key)
            return UNCHANGED if flag is None else flag.change_for(user).kind
        worst = self._least
        for flag in self._compared:
            kind = flag.change_for(user).kind
            worst = max(worst, kind) if worst else kind
        return worst

    def changes_for(self, key: str | None, user: User | None) -> Sequence[FlagChange]:
        """Return the change of each affected flag, or of flag ``key``, in the order of keys; some may be UNCHANGED."""
        if key is None:
            return [flag.change_for(user) for flag in self._flags]
        flag = self.by_key.get(key)
        return () if flag is None else (flag.change_for(user),)

    def evaluate_in_steps(self, user: User | None) -> Generator[None, None, None]:
        """Return a generator after whose end ``changes_for(None, user)`` takes little time."""
        del user
        yield from ()


class LargeImpact(Impact):
    """The effect of a change of many flags; keeps the changes for one user, which are computed in steps."""

    _latest: tuple[User | None, Sequence[FlagChange]] | None = None

    def evaluate_in_steps(self, user: User | None) -> Generator[None, None, None]:
        """See ``Impact``."""
        changes: list[FlagChange] = []
        for piece in pieces(self._flags, FLAGS_PER_STEP):
            changes += [flag.change_for(user) for flag in piece]
            yield
        self._latest = user, changes

    def changes_for(self, key: str | None, user: User | None) -> Sequence[FlagChange]:
        """See ``Impact``."""
        latest = self._latest
        if key is None and latest is not None and latest[0] is user:
            return latest[1]
        return super().changes_for(key, user)


def impact_of(old: Snapshot, new: Snapshot) -> Impact:
    """Return the effect of the change from ``old`` to ``new``."""
    return finish(impact_in_steps(old, new))


def impact_in_steps(old: Snapshot, new: Snapshot) -> Generator[None, None, Impact]:
    """Return a generator that compares a few flags per step, and returns what ``impact_of`` returns."""
    changes = yield from difference_in_steps(old, new)
    by_key: dict[str, FlagImpact] = {}
    switches = []
    for number, key in enumerate(changes.affected, 1):
        flag = by_key[key] = FlagImpact(old, new, key)
        if flag.can_turn_off:
            switches.append(flag)
        if number % FLAGS_PER_STEP == 0:
            yield
    kind = LargeImpact if len(by_key) > FLAGS_PER_STEP else Impact
    return kind(old, changes, by_key, tuple(switches))


class FlagImpact:
    """The effect of a change on one affected flag."""

    def __init__(self, old: Snapshot, new: Snapshot, key: str) -> None:
        self._old = old if key in old.flags else None
        self._new = new if key in new.flags else None
        self._key = key
        flags = [snapshot.flags[key] for snapshot in (self._old, self._new) if snapshot is not None]
        self._attributes = tuple(sorted({name for flag in flags for name in flag.attributes}))
        # No cache where hardly two users have the same values of these attributes.
        self._cache: dict[object, FlagChange] | None = (
            None if PERSONAL_ATTRIBUTES.intersection(self._attributes) else {}
        )

    @property
    def can_turn_off(self) -> bool:
        """Whether some user may have seen ``true`` before and something else now."""
        if self._old is None or not any(result.value is True for result in self._old.flags[self._key].results):
            return False
        return self._new is None or any(result.value is not True for result in self._new.flags[self._key].results)

    def kinds(self) -> KindsOf:
        """Return a fast ``Impact.kinds`` for a change that affects this flag only."""
        if self._cache is not None and len(self._attributes) == 1:
            return self._kinds_by_attribute(self._attributes[0])
        if self._cache is None and self._old is not None and self._new is not None:
            return self._kinds_by_user(self._old.flags[self._key], self._new.flags[self._key])
        return lambda cohorts: [self._kind(cohort) for cohort in cohorts]

    def _kinds_by_attribute(self, name: str) -> KindsOf:
        kinds: dict[object, int] = {}  # by the value of the one attribute that the flag reads
        kind_of = self._kind

        def known(cohorts: Sequence[Cohort]) -> list[int]:
            return [
                kind_of(cohort)
                if cohort.key is not None or (user := cohort.user) is None
                else kinds[user.values.get(name)]
                for cohort in cohorts
            ]

        def kinds_of(cohorts: Sequence[Cohort]) -> list[int]:
            try:
                return known(cohorts)
            except KeyError:
                for cohort in cohorts:
                    user = cohort.user
                    if user is not None and user.values.get(name) not in kinds:
                        kinds[user.values.get(name)] = self.change_for(user).kind
                return known(cohorts)

        return kinds_of

    def _kinds_by_user(self, before: Flag, after: Flag) -> KindsOf:
        same = unchanged_test(before, after)
        kind_of = self._kind

        def kinds_of(cohorts: Sequence[Cohort]) -> list[int]:
            return [
                UNCHANGED if (user := cohort.user) is not None and same(user) else kind_of(cohort) for cohort in cohorts
            ]

        return kinds_of

    def _kind(self, cohort: Cohort) -> int:
        return self.change_for(cohort.user).kind if cohort.key is None or cohort.key == self._key else UNCHANGED

    def change_for(self, user: User | None) -> FlagChange:
        """Return the change of this flag for ``user``."""
        if self._cache is None:
            return self._compare(user)
        values = None
        if user is not None:
            given = user.values
            values = tuple([given.get(name) for name in self._attributes])
        change = self._cache.get(values)
        if change is None:
            change = self._cache[values] = self._compare(user)
        return change

    def _compare(self, user: User | None) -> FlagChange:
        old = None if self._old is None else self._old.evaluate(self._key, user)
        new = None if self._new is None else self._new.evaluate(self._key, user)
        if old is new:
            return FlagChange(UNCHANGED, old, new)
        if old is not None and new is not None and old.json == new.json:
            return FlagChange(UNCHANGED if old.ofrep == new.ofrep else REASON_CHANGED, old, new)
        off = old is not None and old.value is True and (new is None or new.value is not True)
        return FlagChange(TURNED_OFF if off else VALUE_CHANGED, old, new)
