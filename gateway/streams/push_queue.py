"""The order of a push: the cohorts that are not current yet.

    unchecked ──compared──► urgent (a flag turns off) │ normal │ paced (each at its own time)

A cohort is in one of these places at most, with its base: the Snapshot that it was last pushed (None: nothing yet).
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.flags import Snapshot
    from gateway.streams.cohort import Cohort

PACED_PER_SECOND = 2_000  # each causes one bulk request; a process answers several times as many, and has other work
MAX_DELAY_SECONDS = 5.0  # of a paced cohort; with more than 10,000 of them the rate rises instead


class PushQueue:
    """The cohorts that a push has yet to reach."""

    def __init__(self) -> None:
        self.unchecked: dict[Cohort, Snapshot | None] = {}
        self.urgent: dict[Cohort, Snapshot | None] = {}
        self.normal: dict[Cohort, Snapshot | None] = {}
        self.paced: dict[Cohort, Snapshot | None] = {}
        self._due: list[tuple[float, int, Cohort]] = []
        self._paced_count = 0

    def __bool__(self) -> bool:
        """Whether any cohort is not current."""
        return any(self._places())

    def add(self, cohorts: Iterable[Cohort], base: Snapshot) -> None:
        """Add the ``cohorts`` of a change, with ``base`` unless they have one; all but paced ones are checked again."""
        if not self.normal and not self.urgent and not self.paced:
            self._paced_count = 0
        for checked in (self.urgent, self.normal):
            self.unchecked.update(checked)
            checked.clear()
        added: dict[Cohort, Snapshot | None] = dict.fromkeys(cohorts, base)
        if self.unchecked:
            added.update(self.unchecked)
        for cohort in self.paced:
            added.pop(cohort, None)
        self.unchecked = added

    def base(self, cohort: Cohort, current: Snapshot | None) -> Snapshot | None:
        """Return the base of ``cohort``, or ``current`` if it is not queued."""
        for place in self._places():
            if cohort in place:
                return place[cohort]
        return current

    def bases(self) -> set[Snapshot | None]:
        """Return the bases of all queued cohorts."""
        return {base for place in self._places() for base in place.values()}

    def take_unchecked(self, limit: int) -> tuple[Snapshot | None, list[Cohort]]:
        """Remove ``limit`` unchecked cohorts of one base at most, and return the base and them; needs at least one."""
        unchecked = self.unchecked
        cohort, base = unchecked.popitem()
        taken = [cohort]
        while unchecked and len(taken) < limit:
            cohort, other = unchecked.popitem()
            if other is not base:
                unchecked[cohort] = other
                break
            taken.append(cohort)
        return base, taken

    def add_paced(self, cohort: Cohort, base: Snapshot | None, now: float, jitter: float) -> None:
        """Queue ``cohort`` for its own time; ``jitter`` (0 to 1) varies it between its neighbours'."""
        delay = ((self._paced_count + jitter) / PACED_PER_SECOND) % MAX_DELAY_SECONDS
        self._paced_count += 1
        self.paced[cohort] = base
        heappush(self._due, (now + delay, self._paced_count, cohort))

    def next_due(self) -> float | None:
        """Return the time of the next paced cohort, or None without one."""
        while self._due and self._due[0][2] not in self.paced:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def pop_due(self, now: float) -> tuple[Cohort, Snapshot | None] | None:
        """Remove and return a paced cohort whose time has come, with its base."""
        due = self.next_due()
        if due is None or due > now:
            return None
        cohort = heappop(self._due)[2]
        return cohort, self.paced.pop(cohort)

    def remove(self, cohort: Cohort) -> tuple[bool, Snapshot | None]:
        """Remove ``cohort``; return whether it was queued, and its base."""
        for place in self._places():
            if cohort in place:
                return True, place.pop(cohort)
        return False, None

    def _places(self) -> tuple[dict[Cohort, Snapshot | None], ...]:
        return self.unchecked, self.urgent, self.normal, self.paced
