"""What readers were shown, told to whoever counts evaluations: the outcomes behind the events of streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from gateway.streams.impact import SHOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.flags import Result, Snapshot, User
    from gateway.streams.cohort import Cohort
    from gateway.streams.impact import Touch


@frozen
class Exposure:
    """``tell`` is given the outcomes, the user, and how many readers got them; it never raises.

    Streams of all flags count only ``whole``.
    """

    tell: Callable[[Sequence[Result], User | None, int], None]
    whole: bool = False

    def sent(self, cohort: Cohort, snapshot: Snapshot, touch: Touch | None, count: int) -> None:
        """``count`` readers were brought to ``snapshot``: over ``touch``, or by all there is when it is None."""
        if cohort.mode == "ofrep" or (cohort.key is None and not self.whole):
            return
        results = outcomes(cohort, snapshot, touch)
        if results:
            self.tell(results, cohort.user, count)


def outcomes(cohort: Cohort, snapshot: Snapshot, touch: Touch | None) -> Sequence[Result]:
    """Return the outcomes that the event shows; a flag that is gone has none."""
    key, user = cohort.key, cohort.user
    if key is not None:
        return [snapshot.evaluate(key, user)] if key in snapshot.flags else []
    if touch is None or cohort.mode == "plain":
        return snapshot.outcomes(user)
    return [step.new for step in touch.steps(None, user) if step.kind >= SHOWN and step.new is not None]
