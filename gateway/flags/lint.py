"""Find flags that fail for some users, when the config arrives and not at the first failing request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags.compile import CompileContext, condition_match
from gateway.flags.conditions.match import EvaluationFailure
from gateway.flags.config_json import decode_piece
from gateway.flags.definition import Fault, FlagDefinition, SegmentCondition, parse_flag
from gateway.flags.steps import CHEAP, finish
from gateway.flags.user import User

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from gateway.flags.definition import Condition, PercentageOption
    from gateway.flags.flag import Flag
    from gateway.flags.snapshot import Snapshot

FLAGS_PER_STEP = 64  # checked between two pauses: some 2 ms
_SOMEBODY = User({})  # attributes do not matter: rules on missing ones are skipped, broken parts fail


def find_failing_flags(snapshot: Snapshot, previous: Snapshot | None, known: Mapping[str, str]) -> dict[str, str]:
    """Return the first fault of each flag that has one, by key in the order of ``keys``.

    A flag with a fault may still have a value for users that match an earlier rule.
    ``known`` are the faults of ``previous``; flags kept from it are not checked again.
    """
    return finish(find_failing_flags_in_steps(snapshot, previous, known))


def find_failing_flags_in_steps(
    snapshot: Snapshot, previous: Snapshot | None, known: Mapping[str, str]
) -> Generator[None, None, dict[str, str]]:
    """Return a generator that checks a few flags per step, and returns what ``find_failing_flags`` returns."""
    context = CompileContext(snapshot.salt, snapshot.segments, snapshot.flags)
    found: dict[str, str] = {}
    checked = 0
    for number, (key, flag) in enumerate(snapshot.flags.items()):
        kept = previous is not None and previous.flags.get(key) is flag
        if not kept:
            checked += 1
        if (not kept and checked % FLAGS_PER_STEP == 0) or number % CHEAP == 0:
            yield
        fault = known.get(key) if kept else next(_faults_of(flag, context), None)
        if fault is not None:
            found[key] = fault
    return found


def _faults_of(flag: Flag, context: CompileContext) -> Iterator[str]:
    if flag.fault is not None:
        yield flag.fault
        return
    definition = parse_flag(decode_piece(flag.source))
    assert isinstance(definition, FlagDefinition)
    for rule in definition.rules:
        for condition in rule.conditions:
            yield from _failures(condition, flag.key, context)
        if rule.served is None:
            yield from _faults_in(rule.options)
        elif isinstance(rule.served.value, Fault):
            yield rule.served.value.reason
    yield from _faults_in(definition.options)
    if isinstance(definition.served.value, Fault):
        yield definition.served.value.reason


def _failures(condition: Condition, key: str, context: CompileContext) -> Iterator[str]:
    matches = [condition_match(condition, key, context)]
    if isinstance(condition, SegmentCondition) and 0 <= condition.index < len(context.segments):
        matches += context.segments[condition.index].matches  # one by one: a skipped condition ends a segment
    for match in matches:
        try:
            match(_SOMEBODY)
        except EvaluationFailure as failure:
            yield failure.message


def _faults_in(options: tuple[PercentageOption, ...] | Fault) -> Iterator[str]:
    if isinstance(options, Fault):
        yield options.reason
        return
    for option in options:
        if isinstance(option.served.value, Fault):
            yield option.served.value.reason
