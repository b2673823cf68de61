"""Who is not current yet, and in which order they are seen to.

    fresh ──judged──► first (a flag turns off) │ rest │ late (paced, each with its time)

Each cohort is in one place at most, with the Snapshot it is at (None: it was sent nothing yet).
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.flags import Snapshot
    from gateway.streams.cohort import Cohort

PACE = 2_000  # calls to ask again per second: a process answers several times as many, and has other work
PACE_LIMIT_SECONDS = 5.0  # nobody's call is put off for longer; beyond 10,000 contexts the calls come closer together


class Backlog:
    """The cohorts a push still has to reach."""

    def __init__(self) -> None:
        self.fresh: dict[Cohort, Snapshot | None] = {}
        self.first: dict[Cohort, Snapshot | None] = {}
        self.rest: dict[Cohort, Snapshot | None] = {}
        self.late: dict[Cohort, Snapshot | None] = {}
        self._due: list[tuple[float, int, Cohort]] = []
        self._turn = 0

    def __contains__(self, cohort: object) -> bool:
        """Whether ``cohort`` is not current."""
        return any(cohort in place for place in self._places())

    def __bool__(self) -> bool:
        """Whether anybody is not current."""
        return any(self._places())

    def begin(self, cohorts: Iterable[Cohort], base: Snapshot) -> None:
        """A change: ``cohorts`` were at ``base`` unless they are here already; all that were judged must be again."""
        if not self.rest and not self.first and not self.late:
            self._turn = 0
        for judged in (self.first, self.rest):
            self.fresh.update(judged)
            judged.clear()
        begun: dict[Cohort, Snapshot | None] = dict.fromkeys(cohorts, base)
        if self.fresh:
            begun.update(self.fresh)
        for cohort in self.late:
            begun.pop(cohort, None)
        self.fresh = begun

    def base(self, cohort: Cohort, current: Snapshot | None) -> Snapshot | None:
        """Return the Snapshot that ``cohort`` is at; ``current`` when it is not here."""
        for place in self._places():
            if cohort in place:
                return place[cohort]
        return current

    def take(self, limit: int) -> tuple[Snapshot | None, list[Cohort]]:
        """Take fresh cohorts, of which there are some: ``limit`` at most, all at the Snapshot that is returned."""
        fresh = self.fresh
        cohort, base = fresh.popitem()
        taken = [cohort]
        while fresh and len(taken) < limit:
            cohort, at = fresh.popitem()
            if at is not base:
                fresh[cohort] = at
                break
            taken.append(cohort)
        return base, taken

    def postpone(self, cohort: Cohort, base: Snapshot | None, now: float, chance: float) -> None:
        """See to ``cohort`` later, each in its turn; ``chance`` (0 to 1) shifts it within that turn."""
        delay = ((self._turn + chance) / PACE) % PACE_LIMIT_SECONDS
        self._turn += 1
        self.late[cohort] = base
        heappush(self._due, (now + delay, self._turn, cohort))

    def next_due(self) -> float | None:
        """Return when the next postponed cohort is due; None when there is none."""
        while self._due and self._due[0][2] not in self.late:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def pop_due(self, now: float) -> tuple[Cohort, Snapshot | None] | None:
        """Take a postponed cohort whose time has come."""
        due = self.next_due()
        if due is None or due > now:
            return None
        cohort = heappop(self._due)[2]
        return cohort, self.late.pop(cohort)

    def discard(self, cohort: Cohort) -> tuple[bool, Snapshot | None]:
        """Take ``cohort`` out; return whether it was here, and the Snapshot it was at."""
        for place in self._places():
            if cohort in place:
                return True, place.pop(cohort)
        return False, None

    def _places(self) -> tuple[dict[Cohort, Snapshot | None], ...]:
        return self.fresh, self.first, self.rest, self.late
