"""Who watches what: the cohorts of one SDK, found by what they are shown."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from gateway.streams.cohort import COHORTS, Cohort

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.flags import Snapshot, User
    from gateway.streams.cohort import Subscriber
    from gateway.streams.modes import Mode

UNNAMED = "[OTHER]"  # counted in place of a flag that no config has shown yet: a caller's words become no label


class Audience:
    """Cohorts come with their first member and go with their last."""

    def __init__(self) -> None:
        self._all: dict[object, Cohort] = {}
        self._single: dict[str, dict[object, Cohort]] = {}
        self._unnamed: set[Cohort] = set()

    def cohort(self, key: str | None, user: User | None, mode: Mode, snapshot: Snapshot | None) -> Cohort:
        """Return the cohort that watches one flag, or all when ``key`` is None; ``snapshot`` is the current config."""
        made = COHORTS[mode](key, user)
        cohorts = self._all if key is None else self._single.setdefault(key, {})
        cohort = cohorts.setdefault(made.place(), made)
        if cohort is made and key is not None and (snapshot is None or key not in snapshot.flags):
            self._unnamed.add(cohort)
        return cohort

    def forget(self, cohort: Cohort) -> None:
        """Let a cohort go that has no members any more."""
        self._unnamed.discard(cohort)
        watchers = self._all if cohort.key is None else self._single[cohort.key]
        del watchers[cohort.place()]
        if cohort.key is not None and not watchers:
            del self._single[cohort.key]

    def label(self, cohort: Cohort) -> str | None:
        """Return the flag that ``cohort`` is counted under: the same one from its first member to its last."""
        return UNNAMED if cohort in self._unnamed else cohort.key

    def watchers(self, affected: Sequence[str]) -> Iterable[Cohort]:
        """Return the cohorts that a change of these flags may concern, each once; to be read before anybody leaves."""
        watched = [self._single[key].values() for key in affected if key in self._single]
        return chain(*watched, self._all.values() if affected else ())

    def members(self) -> list[Subscriber]:
        """Return every member of every cohort."""
        single = [cohort for cohorts in self._single.values() for cohort in cohorts.values()]
        return [member for cohort in (*self._all.values(), *single) for member in cohort.members]
