"""The cohorts of one SDK, indexed by flag."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from gateway.streams.cohort import COHORTS, Cohort

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.flags import Snapshot, User
    from gateway.streams.cohort import Mode, Subscriber

UNKNOWN_FLAG = "[OTHER]"  # metric label of flags that are in no config: text of a client never becomes a label


class CohortIndex:
    """Finds cohorts by flag, user and mode; a cohort is created for its first member and removed with its last."""

    def __init__(self) -> None:
        self._all_flags: dict[object, Cohort] = {}
        self._by_flag: dict[str, dict[object, Cohort]] = {}
        self._unknown: set[Cohort] = set()

    def get(self, key: str | None, user: User | None, mode: Mode, snapshot: Snapshot | None) -> Cohort:
        """Return the cohort of flag ``key``, or of all flags for None; ``snapshot`` is the current config."""
        new = COHORTS[mode](key, user)
        cohorts = self._all_flags if key is None else self._by_flag.setdefault(key, {})
        cohort = cohorts.setdefault(new.index_key(), new)
        if cohort is new and key is not None and (snapshot is None or key not in snapshot.flags):
            self._unknown.add(cohort)
        return cohort

    def remove(self, cohort: Cohort) -> None:
        """Remove a cohort without members."""
        self._unknown.discard(cohort)
        cohorts = self._all_flags if cohort.key is None else self._by_flag[cohort.key]
        del cohorts[cohort.index_key()]
        if cohort.key is not None and not cohorts:
            del self._by_flag[cohort.key]

    def label(self, cohort: Cohort) -> str | None:
        """Return the flag that metrics count ``cohort`` under; it does not change during the cohort's life."""
        return UNKNOWN_FLAG if cohort in self._unknown else cohort.key

    def affected_by(self, flags: Sequence[str]) -> Iterable[Cohort]:
        """Yield each cohort that a change of these flags may concern once; invalid once a cohort is removed."""
        single = [self._by_flag[key].values() for key in flags if key in self._by_flag]
        return chain(*single, self._all_flags.values() if flags else ())

    def subscribers(self) -> list[Subscriber]:
        """Return the members of all cohorts."""
        single = [cohort for cohorts in self._by_flag.values() for cohort in cohorts.values()]
        return [member for cohort in (*self._all_flags.values(), *single) for member in cohort.members]
