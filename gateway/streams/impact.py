"""What a change does to a user: only affected flags are evaluated, once per distinct projection.

A flag that reads only ``Country`` is evaluated once per country and push, not once per user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.flags import PERSONAL_ATTRIBUTES, difference, unmoved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.flags import ChangeSet, Flag, Result, Snapshot, User
    from gateway.streams.cohort import Cohort

    Judge = Callable[[Sequence[Cohort]], Sequence[int]]

MANY_FLAGS = 32  # beyond this, encoding the whole payload and comparing digests costs less than comparing flag by flag

SAME = 0
REASON = 1  # only the reason of OFREP differs, not the value or the variation id
SHOWN = 2  # the value or the variation id differs, or the flag came or went
OFF = 3  # as SHOWN, and it was on before and is not now


class Step(NamedTuple):
    """One flag for one user: what kind of change it is, and the outcomes around it (None: there is no such flag)."""

    kind: int
    old: Result | None
    new: Result | None


class Touch:
    """The step from one Snapshot to another; remembers what it found out, so one is made per step and push."""

    def __init__(self, old: Snapshot, new: Snapshot, changes: ChangeSet | None = None) -> None:
        changes = difference(old, new) if changes is None else changes
        self._tests = {key: FlagTouch(old, new, key) for key in changes.affected}
        self._flags = tuple(self._tests.values())
        switches = tuple(test for test in self._flags if test.may_turn_off)
        sweeping = bool(changes.added or changes.removed) or len(self._flags) > MANY_FLAGS
        self._floor = SHOWN if sweeping else SAME
        if len(switches) > MANY_FLAGS:  # a new salt, say: that is no kill switch, and finding out would delay all
            switches = ()
        self.may_turn_off = bool(switches)
        self._judges = switches if sweeping else self._flags
        self.judge = self._chosen()
        """Return the gravest kind of change of what each cohort sees, in their order.

        Never less than it is; SHOWN may turn out to be less when very many flags are affected.
        """

    def _chosen(self) -> Judge:
        """Return the way to judge: most changes are of one flag that reads one attribute, and most users untouched."""
        if len(self._flags) == 1 and self._floor == SAME:
            return self._flags[0].judge()
        return lambda cohorts: [self._gravest(cohort) for cohort in cohorts]

    def _gravest(self, cohort: Cohort) -> int:
        key, user = cohort.key, cohort.user
        if key is not None:
            test = self._tests.get(key)
            return SAME if test is None else test.look(user).kind
        worst = self._floor
        for test in self._judges:
            kind = test.look(user).kind
            worst = max(worst, kind) if worst else kind
        return worst

    def steps(self, key: str | None, user: User | None) -> Sequence[Step]:
        """Return what each affected flag does for ``user``, in the order of the keys; SAME ones may be among them."""
        if key is None:
            return [test.look(user) for test in self._flags]
        test = self._tests.get(key)
        return () if test is None else (test.look(user),)


class FlagTouch:
    """One affected flag: its outcomes for a user before and after."""

    def __init__(self, old: Snapshot, new: Snapshot, key: str) -> None:
        self._old = old if key in old.flags else None
        self._new = new if key in new.flags else None
        self._key = key
        flags = [snapshot.flags[key] for snapshot in (self._old, self._new) if snapshot is not None]
        self._attributes = tuple(sorted({name for flag in flags for name in flag.attributes}))
        # Where hardly two users have the same projection, remembering would only cost.
        self._known: dict[object, Step] | None = None if PERSONAL_ATTRIBUTES.intersection(self._attributes) else {}

    @property
    def may_turn_off(self) -> bool:
        """Whether somebody could see ``true`` before and something else after."""
        if self._old is None or not any(result.value is True for result in self._old.flags[self._key].results):
            return False
        return self._new is None or any(result.value is not True for result in self._new.flags[self._key].results)

    def judge(self) -> Judge:
        """Return a quick way to the kinds of change where this flag is the only one."""
        if self._known is not None and len(self._attributes) == 1:
            return self._judge_by(self._attributes[0])
        if self._known is None and self._old is not None and self._new is not None:
            return self._judge_each(self._old.flags[self._key], self._new.flags[self._key])
        return lambda cohorts: [self._kind(cohort) for cohort in cohorts]

    def _judge_by(self, name: str) -> Judge:
        """Judge by the one attribute that is read, which users share."""
        kinds: dict[object, int] = {}
        kind_of = self._kind

        def judged(cohorts: Sequence[Cohort]) -> list[int]:
            return [
                kind_of(cohort)
                if cohort.key is not None or (user := cohort.user) is None
                else kinds[user.given.get(name)]
                for cohort in cohorts
            ]

        def judge(cohorts: Sequence[Cohort]) -> list[int]:
            try:
                return judged(cohorts)
            except KeyError:
                for cohort in cohorts:
                    user = cohort.user
                    if user is not None and user.given.get(name) not in kinds:
                        kinds[user.given.get(name)] = self.look(user).kind
                return judged(cohorts)

        return judge

    def _judge_each(self, before: Flag, after: Flag) -> Judge:
        """Judge each user: nobody shares what is read."""
        same = unmoved(before, after)
        kind_of = self._kind

        def judge(cohorts: Sequence[Cohort]) -> list[int]:
            return [SAME if (user := cohort.user) is not None and same(user) else kind_of(cohort) for cohort in cohorts]

        return judge

    def _kind(self, cohort: Cohort) -> int:
        return self.look(cohort.user).kind if cohort.key is None or cohort.key == self._key else SAME

    def look(self, user: User | None) -> Step:
        """Return what the change does to this flag for ``user``."""
        if self._known is None:
            return self._compare(user)
        projection = None
        if user is not None:
            given = user.given
            projection = tuple([given.get(name) for name in self._attributes])
        known = self._known.get(projection)
        if known is None:
            known = self._known[projection] = self._compare(user)
        return known

    def _compare(self, user: User | None) -> Step:
        old = None if self._old is None else self._old.evaluate(self._key, user)
        new = None if self._new is None else self._new.evaluate(self._key, user)
        if old is new:
            return Step(SAME, old, new)
        if old is not None and new is not None and old.json == new.json:
            return Step(SAME if old.ofrep == new.ofrep else REASON, old, new)
        off = old is not None and old.value is True and (new is None or new.value is not True)
        return Step(OFF if off else SHOWN, old, new)
