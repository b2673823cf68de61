"""Common forms of flags; many flags of one form are evaluated together (``batch``).

A flag of any other form has None and is evaluated by ``Flag.resolve``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway.flags.conditions.comparators import Salt, hash_lookup
from gateway.flags.definition import (
    Fault,
    FlagDefinition,
    PercentageOption,
    SegmentCondition,
    ServedValue,
    TargetingRule,
    UserCondition,
)
from gateway.flags.percentage import default_text, result_for, results_by_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.flags.result import Result, ResultTable
    from gateway.flags.segment import Segment


@attrs.frozen
class PercentageForm:
    """No targeting rules, only percentage options."""

    attribute: str
    prefix: bytes  # hashed before the attribute's text
    default_text: str | None  # hashed for users without the attribute; None: they get ``skipped``
    results: Sequence[Result]  # by bucket
    skipped: Result


@attrs.frozen
class HashedForm:
    """One rule with one condition: the hashed text of an attribute is among ``digests``."""

    attribute: str
    suffix: bytes  # hashed after the attribute's text
    digests: frozenset[bytes]
    inside: Result
    outside: Result
    skipped: Result  # for users without the attribute


@attrs.frozen(eq=False)
class SegmentForm:
    """One rule with one condition: the user is in a segment, or is not."""

    segment: Segment
    inside: Result
    outside: Result
    skipped: Result  # for users without the attributes of the segment


@attrs.frozen(eq=False)
class PrerequisiteForm:
    """One rule with one condition: another flag has a certain value."""

    key: str  # of the prerequisite
    outcome: Callable[[Result], Result]  # from the prerequisite's result to this flag's


Form = PercentageForm | HashedForm | SegmentForm | PrerequisiteForm


def form_of(
    key: str, definition: FlagDefinition, salt: str | Fault, segments: Sequence[Segment], results: ResultTable
) -> Form | None:
    """Return the form of a flag, or None if it has no common one."""
    default = result_for(definition.served, results, matched=False)
    match definition:
        case FlagDefinition(rules=(), options=(PercentageOption(), *_) as options, attribute=attribute):
            table = [default if found is None else found for found in results_by_bucket(tuple(options), results)]
            return PercentageForm(attribute, key.encode(), default_text(attribute), table, default)
        case FlagDefinition(
            rules=(TargetingRule(conditions=(UserCondition() as condition,), served=ServedValue() as served),),
            options=(),
        ):
            lookup = hash_lookup(condition, Salt(salt, key))
            if lookup is None:
                return None
            matched = result_for(served, results, matched=True)
            inside, outside = (matched, default) if lookup.wanted else (default, matched)
            return HashedForm(condition.attribute, lookup.suffix, lookup.digests, inside, outside, default)
        case FlagDefinition(
            rules=(TargetingRule(conditions=(SegmentCondition() as condition,), served=ServedValue() as served),),
            options=(),
        ):
            if not 0 <= condition.index < len(segments) or isinstance(segments[condition.index].definition, Fault):
                return None
            matched = result_for(served, results, matched=True)
            inside, outside = (default, matched) if condition.negated else (matched, default)
            return SegmentForm(segments[condition.index], inside, outside, default)
        case _:
            return None
