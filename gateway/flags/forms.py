"""The usual forms of flags, of which many can be decided for a user at once.

Formula ──► Share (percentages alone) │ Digest (one hashed text) │ Member (one segment) │ None: any other
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway.flags.conditions.comparators import Salt, digests_of
from gateway.flags.conditions.hashed import Digest
from gateway.flags.definition import Fault, Formula, Option, Rule, SegmentCondition, Served, UserCondition
from gateway.flags.percentage import Share, absent_text, outcome, outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.flags.result import Result, Results
    from gateway.flags.segment import Group


@attrs.frozen(eq=False)
class Member:
    """A flag of one rule with one condition: the user is in a segment, or is not."""

    group: Group
    inside: Result
    outside: Result
    otherwise: Result  # for a user of whom that cannot be said


Form = Share | Digest | Member


def form_of(key: str, formula: Formula, salt: str | Fault, groups: Sequence[Group], results: Results) -> Form | None:
    """Return the form of a flag, which says the same as its formula; None when it has no usual one."""
    default = outcome(formula.served, results, matched=False)
    match formula:
        case Formula(rules=(), options=(Option(), *_) as options, attribute=attribute):
            table = [default if found is None else found for found in outcomes(tuple(options), results)]
            return Share(attribute, key.encode(), table, absent_text(attribute), default)
        case Formula(rules=(Rule(conditions=(UserCondition() as condition,), served=Served() as served),), options=()):
            digests = digests_of(condition, Salt(salt, key))
            if digests is None:
                return None
            holds = outcome(served, results, matched=True)
            inside, outside = (holds, default) if digests.wanted else (default, holds)
            return Digest(condition.attribute, digests.suffix, digests.known, inside, outside, default)
        case Formula(
            rules=(Rule(conditions=(SegmentCondition() as condition,), served=Served() as served),), options=()
        ):
            if not 0 <= condition.index < len(groups) or isinstance(groups[condition.index].segment, Fault):
                return None
            holds = outcome(served, results, matched=True)
            inside, outside = (default, holds) if condition.negated else (holds, default)
            return Member(groups[condition.index], inside, outside, default)
        case _:
            return None
