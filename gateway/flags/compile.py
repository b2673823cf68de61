"""From a definition to one function of the user; the only place that knows how a flag is decided.

    bytes ──► Formula ──► Flag.resolve(user) ──► Result

The order is the SDK's: the first rule whose conditions all hold and that has something to serve, then the
percentage options of the setting, then its default value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway.flags.conditions.comparators import Salt, build, comparator_of
from gateway.flags.conditions.match import Match, failing
from gateway.flags.config_json import read_piece
from gateway.flags.definition import (
    Condition,
    Fault,
    Formula,
    PrerequisiteCondition,
    Rule,
    SegmentCondition,
    UserCondition,
    read_segment,
    read_value,
)
from gateway.flags.encoding import encode_value
from gateway.flags.errors import EvaluationFailure
from gateway.flags.flag import Flag, Resolve
from gateway.flags.forms import Form, form_of
from gateway.flags.percentage import Choose, Share, by_share, chooser, outcome
from gateway.flags.result import Result, Results
from gateway.flags.segment import Group

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.flags.user import User

DEPTH_LIMIT = 50  # prerequisites below one another: each takes some stack, and real configs have two or three
WEIGHT_LIMIT = 1000  # evaluations that one flag may cost: shared prerequisites multiply with every level
TOO_DEEP = "prerequisite flags are nested too deeply"


@attrs.frozen
class Surroundings:
    """What a flag can refer to: the salt, the segments by position and the flags compiled before it."""

    salt: str | Fault
    groups: Sequence[Group]
    flags: Mapping[str, Flag]


def compile_group(source: bytes, salt: str | Fault) -> Group:
    """Compile one segment; its hashed conditions use the segment's name as context."""
    segment = read_segment(read_piece(source))
    if isinstance(segment, Fault):
        return Group(source, segment)
    conditions = [c for c in segment.conditions if isinstance(c, UserCondition)]
    return Group(
        source,
        segment,
        matches=tuple(_user_match(condition, Salt(salt, segment.name)) for condition in segment.conditions),
        hashed=any(_is_hashed(condition) for condition in conditions),
        attributes=frozenset(condition.attribute for condition in conditions),
    )


def compile_flag(
    key: str,
    source: bytes,
    formula: Formula | Fault,
    around: Surroundings,
    *,
    circle: str | None = None,
    earlier: Results | None = None,
) -> Flag:
    """Compile one flag, whose prerequisites are compiled already unless it reaches a ``circle`` of them.

    ``earlier`` are the Results of the same flag in the config before, to take over where they mean the same.
    """
    results = Results(key, earlier)
    if isinstance(formula, Fault):
        return _unusable(key, source, formula, results)
    asked = [around.flags[name] for name in formula.prerequisites if name in around.flags]
    named = [c.index for c in formula.conditions if isinstance(c, SegmentCondition)]
    groups = [around.groups[index] for index in named if 0 <= index < len(around.groups)]
    weight, depth = 1 + _weight(formula, around), 1 + max((flag.depth for flag in asked), default=0)
    fault = TOO_DEEP if circle is None and (weight > WEIGHT_LIMIT or depth > DEPTH_LIMIT) else circle
    if fault is not None:
        weight = depth = 1
    form = None if fault is not None else form_of(key, formula, around.salt, around.groups, results)
    return Flag(
        key=key,
        source=source,
        kind=formula.kind,
        attributes=tuple(
            sorted(_attributes(formula).union(*(g.attributes for g in groups), *(f.attributes for f in asked)))
        ),
        segments=frozenset(named),
        prerequisites=formula.prerequisites,
        hashed=any(group.hashed for group in groups) or any(map(_is_hashed, formula.conditions)),
        weight=weight,
        fault=fault,
        depth=depth,
        resolve=constant(results.fail(fault)) if fault is not None else resolver(key, formula, around, results, form),
        outcomes=results,
        form=form,
    )


def _unusable(key: str, source: bytes, fault: Fault, results: Results) -> Flag:
    return Flag(
        key=key,
        source=source,
        kind=fault,
        attributes=(),
        segments=frozenset(),
        prerequisites=(),
        hashed=False,
        weight=1,
        fault=fault.reason,
        depth=1,
        resolve=constant(results.fail(fault.reason)),
        outcomes=results,
    )


def _weight(formula: Formula, around: Surroundings) -> int:
    asked = [c.key for c in formula.conditions if isinstance(c, PrerequisiteCondition)]
    return sum(around.flags[key].weight for key in asked if key in around.flags)


def _attributes(formula: Formula) -> frozenset[str]:
    found = {c.attribute for c in formula.conditions if isinstance(c, UserCondition)}
    if formula.options or any(rule.options for rule in formula.rules):
        found.add(formula.attribute)
    return frozenset(found)


def _is_hashed(condition: Condition) -> bool:
    comparator = comparator_of(condition) if isinstance(condition, UserCondition) else None
    return comparator is not None and comparator.hashed


# Conditions


def condition_match(condition: Condition, key: str, around: Surroundings) -> Match:
    """Return the Match of one condition of the flag ``key``."""
    match condition:
        case SegmentCondition():
            return _segment_match(condition, around)
        case PrerequisiteCondition():
            return _prerequisite_match(condition, around)
        case _:
            return _user_match(condition, Salt(around.salt, key))


def _user_match(condition: UserCondition | Fault, salt: Salt) -> Match:
    return failing(condition.reason) if isinstance(condition, Fault) else build(condition, salt)


def _segment_match(condition: SegmentCondition, around: Surroundings) -> Match:
    if not 0 <= condition.index < len(around.groups):
        return failing("segment reference is invalid")
    group = around.groups[condition.index]
    if isinstance(group.segment, Fault):
        return failing(group.segment.reason)
    if not condition.negated:
        return group.holds
    holds = group.holds

    def match(user: User) -> bool | None:
        inside = holds(user)
        return None if inside is None else not inside

    return match


def _prerequisite_match(condition: PrerequisiteCondition, around: Surroundings) -> Match:
    asked = around.flags.get(condition.key)
    if asked is None:
        return failing(f"prerequisite '{condition.key}' not found")
    if isinstance(asked.kind, Fault):
        return failing(asked.kind.reason)
    expected = read_value(condition.raw.get("v"), asked.kind)
    if isinstance(expected, Fault):
        shown = _shown(condition.raw.get("v"))
        return failing(f"type mismatch between comparison value '{shown}' and prerequisite flag '{condition.key}'")
    resolve, wanted = asked.resolve, not condition.negated

    def match(user: User) -> bool:
        result = resolve(user)
        if result.error is not None:
            raise EvaluationFailure(result.error)
        return (result.value == expected) is wanted

    return match


def _shown(raw: object) -> str:
    values = [raw[field] for field in "bids" if raw.get(field) is not None] if isinstance(raw, dict) else []
    value = next((value for value in values if isinstance(value, str | int | float)), None)
    return value if isinstance(value, str) else encode_value(value).decode().replace("null", "<nil>")


# Outcomes


def constant(result: Result) -> Resolve:
    """Return a function that gives everybody the same outcome."""

    def resolve(_user: User) -> Result:
        return result

    return resolve


def resolver(key: str, formula: Formula, around: Surroundings, results: Results, form: Form | None) -> Resolve:
    """Return the function that decides one flag, whose usual ``form`` is known if it has one; it never raises."""
    if isinstance(form, Share):
        return by_share(form)
    default = outcome(formula.served, results, matched=False)
    choose = chooser(formula.options, key, formula.attribute, results)
    rules = tuple(_compiled_rule(rule, key, formula, around, results) for rule in formula.rules)
    if not rules and choose is None:
        return constant(default)
    if len(rules) == 1 and len(rules[0][0]) == 1 and rules[0][1] is not None and choose is None:
        return _single(rules[0][0][0], rules[0][1], default, results)
    return _general(rules, choose, default, results)


_Compiled = tuple[tuple[Match, ...], Result | None, Choose | None]


def _compiled_rule(rule: Rule, key: str, formula: Formula, around: Surroundings, results: Results) -> _Compiled:
    return (
        tuple(condition_match(condition, key, around) for condition in rule.conditions),
        None if rule.served is None else outcome(rule.served, results, matched=True),
        chooser(rule.options, key, formula.attribute, results) if rule.served is None else None,
    )


def _single(match: Match, served: Result, default: Result, results: Results) -> Resolve:
    def resolve(user: User) -> Result:
        try:
            return served if match(user) else default
        except EvaluationFailure as failure:
            return results.fail(failure.message)

    return resolve


def _general(rules: Sequence[_Compiled], choose: Choose | None, default: Result, results: Results) -> Resolve:
    def resolve(user: User) -> Result:
        try:
            for matches, served, pick in rules:
                for match in matches:
                    if not match(user):
                        break
                else:
                    if served is not None:
                        return served
                    picked = pick(user) if pick is not None else None
                    if picked is not None:
                        return picked
            picked = choose(user) if choose is not None else None
        except EvaluationFailure as failure:
            return results.fail(failure.message)
        return default if picked is None else picked

    return resolve
