"""Compile the definition of a flag into one function of the user.

    bytes ──► FlagDefinition ──► Flag.resolve(user) ──► Result

The order is that of ConfigCat's SDKs: the first rule whose conditions all hold and that has something to serve, then
the percentage options of the setting, then its default value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway.flags.conditions.comparators import Salt, build, comparator_of
from gateway.flags.conditions.match import EvaluationFailure, Match, failing
from gateway.flags.config_json import decode_piece
from gateway.flags.definition import (
    Condition,
    Fault,
    FlagDefinition,
    PrerequisiteCondition,
    SegmentCondition,
    ServedValue,
    TargetingRule,
    UserCondition,
    parse_segment,
    typed_value,
)
from gateway.flags.encoding import encode_number, encode_value
from gateway.flags.flag import Flag, Resolve
from gateway.flags.forms import Form, PercentageForm, PrerequisiteForm, form_of
from gateway.flags.percentage import PickOption, by_bucket, option_picker, result_for
from gateway.flags.prerequisites import DEPTH_LIMIT, EVALUATIONS_UNKEPT, TOO_DEEP, Decisions
from gateway.flags.result import Result, ResultTable
from gateway.flags.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.flags.user import User


@attrs.frozen
class CompileContext:
    """What a flag may refer to: the salt, the segments by position and the flags compiled before it."""

    salt: str | Fault
    segments: Sequence[Segment]
    flags: Mapping[str, Flag]
    decisions: Decisions = attrs.field(factory=Decisions)


def compile_segment(source: bytes, salt: str | Fault) -> Segment:
    """Compile a segment; its hashed conditions use its name as context."""
    definition = parse_segment(decode_piece(source))
    if isinstance(definition, Fault):
        return Segment(source, definition)
    conditions = [c for c in definition.conditions if isinstance(c, UserCondition)]
    return Segment(
        source,
        definition,
        matches=tuple(_user_match(condition, Salt(salt, definition.name)) for condition in definition.conditions),
        hashed=any(_is_hashed(condition) for condition in conditions),
        attributes=frozenset(condition.attribute for condition in conditions),
    )


def compile_flag(
    key: str,
    source: bytes,
    definition: FlagDefinition | Fault,
    context: CompileContext,
    *,
    circle: str | None = None,
    earlier: ResultTable | None = None,
) -> Flag:
    """Compile a flag; its prerequisites are compiled already unless it reaches a ``circle`` of them.

    ``earlier`` is the ResultTable of the same flag in the previous config, whose equal results are reused.
    """
    results = ResultTable(key, earlier)
    if isinstance(definition, Fault):
        return _unusable(key, source, definition, results)
    asked = [context.flags[name] for name in definition.prerequisites if name in context.flags]
    named = [c.index for c in definition.conditions if isinstance(c, SegmentCondition)]
    segments = [context.segments[index] for index in named if 0 <= index < len(context.segments)]
    depth = 1 + max((flag.depth for flag in asked), default=0)
    fault = TOO_DEEP if circle is None and depth > DEPTH_LIMIT else circle
    if fault is not None:
        depth = 1
    form: Form | None = None
    if fault is None:
        form = form_of(key, definition, context.salt, context.segments, results)
        form = form or _prerequisite_form(definition, context, results)
    resolve = constant(results.fail(fault)) if fault is not None else resolver(key, definition, context, results, form)
    evaluations = 1 if fault is not None else 1 + _evaluations(definition, context)
    if evaluations > EVALUATIONS_UNKEPT:
        resolve, evaluations = context.decisions.once_per_user(resolve), 1
    return Flag(
        key=key,
        source=source,
        setting_type=definition.setting_type,
        attributes=tuple(
            sorted(_attributes(definition).union(*(g.attributes for g in segments), *(f.attributes for f in asked)))
        ),
        segment_indexes=frozenset(named),
        prerequisites=definition.prerequisites,
        hashed=any(segment.hashed for segment in segments) or any(map(_is_hashed, definition.conditions)),
        evaluations=evaluations,
        fault=fault,
        depth=depth,
        resolve=resolve,
        result_table=results,
        form=form,
    )


def _unusable(key: str, source: bytes, fault: Fault, results: ResultTable) -> Flag:
    return Flag(
        key=key,
        source=source,
        setting_type=fault,
        attributes=(),
        segment_indexes=frozenset(),
        prerequisites=(),
        hashed=False,
        evaluations=1,
        fault=fault.reason,
        depth=1,
        resolve=constant(results.fail(fault.reason)),
        result_table=results,
    )


def _evaluations(definition: FlagDefinition, context: CompileContext) -> int:
    """Return how many evaluations the prerequisites need at most."""
    asked = [c.key for c in definition.conditions if isinstance(c, PrerequisiteCondition)]
    return sum(context.flags[key].evaluations for key in asked if key in context.flags)


def _attributes(definition: FlagDefinition) -> frozenset[str]:
    found = {c.attribute for c in definition.conditions if isinstance(c, UserCondition)}
    if definition.options or any(rule.options for rule in definition.rules):
        found.add(definition.attribute)
    return frozenset(found)


def _is_hashed(condition: Condition) -> bool:
    comparator = comparator_of(condition) if isinstance(condition, UserCondition) else None
    return comparator is not None and comparator.hashed


# Conditions


def condition_match(condition: Condition, key: str, context: CompileContext) -> Match:
    """Return the Match of one condition of the flag ``key``."""
    match condition:
        case SegmentCondition():
            return _segment_match(condition, context)
        case PrerequisiteCondition():
            return _prerequisite_match(condition, context)
        case _:
            return _user_match(condition, Salt(context.salt, key))


def _user_match(condition: UserCondition | Fault, salt: Salt) -> Match:
    return failing(condition.reason) if isinstance(condition, Fault) else build(condition, salt)


def _segment_match(condition: SegmentCondition, context: CompileContext) -> Match:
    if not 0 <= condition.index < len(context.segments):
        return failing("segment reference is invalid")
    segment = context.segments[condition.index]
    if isinstance(segment.definition, Fault):
        return failing(segment.definition.reason)
    if not condition.negated:
        return segment.contains
    contains = segment.contains

    def match(user: User) -> bool | None:
        inside = contains(user)
        return None if inside is None else not inside

    return match


def _prerequisite_match(condition: PrerequisiteCondition, context: CompileContext) -> Match:
    holds = _prerequisite_test(condition, context)
    if isinstance(holds, Fault):
        return failing(holds.reason)
    resolve = context.flags[condition.key].resolve
    return lambda user: holds(resolve(user))


def _prerequisite_test(condition: PrerequisiteCondition, context: CompileContext) -> Callable[[Result], bool] | Fault:
    """Return whether a result of the prerequisite meets the condition, or why the condition fails for every user."""
    asked = context.flags.get(condition.key)
    if asked is None:
        return Fault(f"prerequisite '{condition.key}' not found")
    if isinstance(asked.setting_type, Fault):
        return asked.setting_type
    expected = typed_value(condition.raw.get("v"), asked.setting_type)
    if isinstance(expected, Fault):
        shown = _shown(condition.raw.get("v"))
        return Fault(f"type mismatch between comparison value '{shown}' and prerequisite flag '{condition.key}'")
    wanted = not condition.negated

    def holds(result: Result) -> bool:
        if result.error is not None:
            raise EvaluationFailure(result.error)
        return (result.value == expected) is wanted

    return holds


def _prerequisite_form(
    definition: FlagDefinition, context: CompileContext, results: ResultTable
) -> PrerequisiteForm | None:
    """Return the form of a flag that depends on one prerequisite only, or None."""
    match definition:
        case FlagDefinition(
            rules=(TargetingRule(conditions=(PrerequisiteCondition() as condition,), served=ServedValue() as served),),
            options=(),
        ):
            holds = _prerequisite_test(condition, context)
            if isinstance(holds, Fault):
                return None
            matched = result_for(served, results, matched=True)
            default = result_for(definition.served, results, matched=False)
            return PrerequisiteForm(condition.key, _outcome(holds, matched, default, results))
        case _:
            return None


def _outcome(
    holds: Callable[[Result], bool], matched: Result, default: Result, results: ResultTable
) -> Callable[[Result], Result]:
    def outcome(prerequisite: Result) -> Result:
        try:
            return matched if holds(prerequisite) else default
        except EvaluationFailure as failure:
            return results.fail(failure.message)

    return outcome


def _shown(raw: object) -> str:
    values = [raw[field] for field in "bids" if raw.get(field) is not None] if isinstance(raw, dict) else []
    value = next((value for value in values if isinstance(value, str | int | float)), None)
    if isinstance(value, float):
        return encode_number(value).decode()
    return value if isinstance(value, str) else encode_value(value).decode().replace("null", "<nil>")


# Outcomes


def constant(result: Result) -> Resolve:
    """Return a function with the same result for every user."""

    def resolve(_user: User) -> Result:
        return result

    return resolve


def resolver(
    key: str, definition: FlagDefinition, context: CompileContext, results: ResultTable, form: Form | None
) -> Resolve:
    """Return the function that evaluates a flag; it never raises.  ``form`` is its common form, if it has one."""
    if isinstance(form, PercentageForm):
        return by_bucket(form.attribute, form.prefix, form.default_text, form.results, form.skipped)
    default = result_for(definition.served, results, matched=False)
    choose = option_picker(definition.options, key, definition.attribute, results)
    rules = tuple(_compiled_rule(rule, key, definition, context, results) for rule in definition.rules)
    if not rules and choose is None:
        return constant(default)
    if len(rules) == 1 and len(rules[0][0]) == 1 and rules[0][1] is not None and choose is None:
        return _single(rules[0][0][0], rules[0][1], default, results)
    return _general(rules, choose, default, results)


_Compiled = tuple[tuple[Match, ...], Result | None, PickOption | None]


def _compiled_rule(
    rule: TargetingRule, key: str, definition: FlagDefinition, context: CompileContext, results: ResultTable
) -> _Compiled:
    return (
        tuple(condition_match(condition, key, context) for condition in rule.conditions),
        None if rule.served is None else result_for(rule.served, results, matched=True),
        option_picker(rule.options, key, definition.attribute, results) if rule.served is None else None,
    )


def _single(match: Match, served: Result, default: Result, results: ResultTable) -> Resolve:
    def resolve(user: User) -> Result:
        try:
            return served if match(user) else default
        except EvaluationFailure as failure:
            return results.fail(failure.message)

    return resolve


def _general(rules: Sequence[_Compiled], choose: PickOption | None, default: Result, results: ResultTable) -> Resolve:
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
