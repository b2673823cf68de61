"""The first decision in which two explanations of one flag differ: of two users, or of two configs."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

import attrs

from gateway.flags.explanation import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.flags.explanation import ConditionNote, Explanation, PercentageNote, RuleNote

Place = tuple[str, ...]


@attrs.frozen
class Difference:
    """Two decisions at the same ``place``, as lines of the explanations; None if a side does not get there.

    ``place`` names rule and condition, and for a prerequisite or a segment the place in it.
    """

    place: Place
    first: str | None
    second: str | None


class _Step(NamedTuple):
    """A decision in the order of evaluation; ``outcome`` decides whether two are equal, ``line`` is shown."""

    place: Place
    outcome: object
    line: str


def first_difference(first: Explanation, second: Explanation) -> Difference | None:
    """Return the earliest decision that differs; None if both take the same way to the same value."""
    for one, other in zip_longest(_steps(first, ()), _steps(second, ())):
        if one is None or other is None or one[:2] != other[:2]:
            place = (one or other or _Step((), None, "")).place
            same_place = one is not None and other is not None and one.place == other.place
            return Difference(
                place,
                None if one is None else one.line,
                None if other is None else other.line if same_place or one is None else _elsewhere(other),
            )
    return None


def _elsewhere(step: _Step) -> str:
    return f"{', '.join(step.place)}: {step.line}"


def _steps(explanation: Explanation, place: Place) -> Iterator[_Step]:
    """Yield what was decided; what was not reached is left out."""
    for rule in explanation.rules:
        if rule.verdict != "not reached":
            yield from _rule_steps(rule, (*place, f"rule {rule.number}"))
    if explanation.percentage is not None:
        yield _percentage_step(explanation.percentage, (*place, "percentage options"))
    value = None if explanation.error is not None else shown(explanation.value, explanation.variation_id)
    text = next(explanation.lines())
    yield _Step((*place, "value"), (value, explanation.decided_by, explanation.error), text)


def _rule_steps(rule: RuleNote, place: Place) -> Iterator[_Step]:
    for number, condition in enumerate(rule.conditions, 1):
        if condition.verdict != "not reached":
            yield from _condition_steps(condition, (*place, f"condition {number}"))
    if rule.percentage is not None:
        yield _percentage_step(rule.percentage, (*place, "percentage options"))
    yield _Step(place, (rule.verdict, rule.decided, rule.serves, rule.reason), next(rule.lines()))


def _condition_steps(note: ConditionNote, place: Place) -> Iterator[_Step]:
    for number, inner in enumerate(note.inside, 1):
        yield from _condition_steps(inner, (*place, f"segment, condition {number}"))
    if note.prerequisite is not None:
        yield from _steps(note.prerequisite, (*place, f"flag '{note.prerequisite.key}'"))
    yield _Step(place, (note.says, note.verdict), next(note.lines()))


def _percentage_step(note: PercentageNote, place: Place) -> _Step:
    """Return the choice of an option; two buckets of the same option are no difference."""
    chosen = next((each for each in note.options if each.decided), None)
    served = "no option" if chosen is None else f"{chosen.percentage}% [{chosen.start}, {chosen.end}): {chosen.serves}"
    return _Step(place, (note.attribute, served), f"{next(note.lines())}: {served}")
