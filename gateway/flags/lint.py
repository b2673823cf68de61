"""Which flags of a config cannot serve everybody, and why: found when the config comes, not by a failing request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags.compile import Surroundings, condition_match
from gateway.flags.config_json import read_piece
from gateway.flags.definition import Fault, Formula, SegmentCondition, read_formula
from gateway.flags.errors import EvaluationFailure
from gateway.flags.user import User

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.flags.definition import Condition, Option
    from gateway.flags.flag import Flag
    from gateway.flags.snapshot import Snapshot

_SOMEBODY = User({})  # whoever it is: what is missing is skipped, what is broken fails


def faults(snapshot: Snapshot, previous: Snapshot | None, known: Mapping[str, str]) -> dict[str, str]:
    """Return the first fault of each flag that has one, made of the config alone; by key, in the order of ``keys``.

    A flag with a fault may still serve those users whom another rule decides.
    ``known`` are the faults of ``previous``: flags taken over from it are not looked at again.
    """
    around = Surroundings(snapshot.salt, snapshot.groups, snapshot.flags)
    found: dict[str, str] = {}
    for key, flag in snapshot.flags.items():
        kept = previous is not None and previous.flags.get(key) is flag
        fault = known.get(key) if kept else next(_faults_of(flag, around), None)
        if fault is not None:
            found[key] = fault
    return found


def _faults_of(flag: Flag, around: Surroundings) -> Iterator[str]:
    if flag.fault is not None:
        yield flag.fault
        return
    formula = read_formula(read_piece(flag.source))
    assert isinstance(formula, Formula)
    for rule in formula.rules:
        for condition in rule.conditions:
            yield from _failures(condition, flag.key, around)
        if rule.served is None:
            yield from _faults_in(rule.options)
        elif isinstance(rule.served.value, Fault):
            yield rule.served.value.reason
    yield from _faults_in(formula.options)
    if isinstance(formula.served.value, Fault):
        yield formula.served.value.reason


def _failures(condition: Condition, key: str, around: Surroundings) -> Iterator[str]:
    matches = [condition_match(condition, key, around)]
    if isinstance(condition, SegmentCondition) and 0 <= condition.index < len(around.groups):
        matches += around.groups[condition.index].matches  # each: the first one that is skipped ends a segment
    for match in matches:
        try:
            match(_SOMEBODY)
        except EvaluationFailure as failure:
            yield failure.message


def _faults_in(options: tuple[Option, ...] | Fault) -> Iterator[str]:
    if isinstance(options, Fault):
        yield options.reason
        return
    for option in options:
        if isinstance(option.served.value, Fault):
            yield option.served.value.reason
