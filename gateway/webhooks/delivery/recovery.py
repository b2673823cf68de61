"""When waiting messages go before they are due: their endpoint takes messages again, after it took none.

    took ──► Early ──► the next of them, in order, as many as may be in flight ──► took ──► Early …

Only a success lets more of them go, so an endpoint that falls again meets no more than it has in flight.  Pure.
"""

from __future__ import annotations

from typing import Final

import attrs

# Seconds between two failures, with no success between them, that make an outage.  After a shorter one what was made in
# it waits for some two minutes at most.  A message that is refused whenever it comes, among others that are taken, goes
# early once for each failure of its own schedule at most: the early one alone makes no outage.  Several such make
# outages for each other; then a success has as many of them tried as may be in flight, and their failures end it.
OUTAGE: Final = 60.0


@attrs.frozen
class Early:
    """Messages that were made before ``before`` and stand behind row ``after`` may go early."""

    before: float  # Unix seconds
    after: int = 0


@attrs.define
class CatchingUp:
    """One endpoint's, in a run that began at ``began``: of what was before, the first success is the end.

    ``early`` is None while nothing goes early.
    """

    _began: float | None  # Unix seconds; None after the first success
    early: Early | None = attrs.field(default=None, init=False)

    def took(self, now: float, silence: float) -> None:
        """Hear that a message was taken, after failures over ``silence`` seconds."""
        if silence >= OUTAGE:
            self.early = Early(now)
        elif self._began is not None:
            self.early = Early(self._began)
        self._began = None

    def reached(self, early: Early, rest: Early | None) -> None:
        """Hear that of ``early`` only ``rest`` is left, or nothing."""
        if self.early is early:  # else it has begun anew meanwhile
            self.early = rest
