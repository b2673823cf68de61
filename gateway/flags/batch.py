"""Evaluation of many flags for one user: flags of the same form share hashing and lookups.

The results are those of ``Flag.resolve``; tests compare the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from operator import getitem, itemgetter
from typing import TYPE_CHECKING

from gateway.flags.conditions.match import EvaluationFailure
from gateway.flags.digests import sha1, sha256
from gateway.flags.forms import HashedForm, PercentageForm, PrerequisiteForm, SegmentForm
from gateway.flags.percentage import first_words
from gateway.flags.result import Result
from gateway.flags.user import User

if TYPE_CHECKING:
    from collections.abc import Hashable

    from gateway.flags.flag import Flag

EvaluateMany = Callable[[User], Sequence[Result]]


def batch_evaluator(flags: Sequence[Flag]) -> EvaluateMany:
    """Return a function that evaluates ``flags`` for a user; it returns the results in their order."""
    keys = {flag.key for flag in flags}
    groups: dict[Hashable, list[tuple[int, Flag]]] = defaultdict(list)
    dependent: list[tuple[int, Flag, PrerequisiteForm]] = []
    for position, flag in enumerate(flags):
        if isinstance(flag.form, PrerequisiteForm) and flag.form.key in keys:
            dependent.append((position, flag, flag.form))
        else:
            groups[_group_key(flag)].append((position, flag))
    dependent.sort(key=lambda item: item[1].depth)  # behind their prerequisites
    order = [item for group in groups.values() for item in group] + [item[:2] for item in dependent]
    places = {flag.key: place for place, (_, flag) in enumerate(order)}
    evaluators = [_group_evaluator([flag for _, flag in group]) for group in groups.values()]
    outcomes = [(places[form.key], form.outcome) for _, _, form in dependent]
    sort = _sorter([position for position, _ in order])

    def evaluate(user: User) -> Sequence[Result]:
        results: list[Result] = []
        for evaluate_group in evaluators:
            results += evaluate_group(user)
        for place, outcome in outcomes:
            results.append(outcome(results[place]))
        return sort(results)

    return evaluate


def one_after_the_other(batches: Sequence[EvaluateMany]) -> EvaluateMany:
    """Return a function with the results of all ``batches``."""

    def evaluate(user: User) -> Sequence[Result]:
        results: list[Result] = []
        for batch in batches:
            results += batch(user)
        return results

    return evaluate


def _group_key(flag: Flag) -> Hashable:
    """Return what flags must have in common to be evaluated together."""
    match flag.form:
        case PercentageForm() as form:
            return PercentageForm, form.attribute, form.default_text
        case HashedForm() as form:
            return HashedForm, form.attribute
        case SegmentForm() as form:
            return SegmentForm, id(form.segment)
        case _:
            return None


def _group_evaluator(flags: Sequence[Flag]) -> EvaluateMany:
    if percentage := [flag.form for flag in flags if isinstance(flag.form, PercentageForm)]:
        return _by_percentage(percentage)
    if hashed := [flag.form for flag in flags if isinstance(flag.form, HashedForm)]:
        return _by_hash(hashed)
    if segment := [flag.form for flag in flags if isinstance(flag.form, SegmentForm)]:
        return _by_segment(segment, flags)
    return _one_by_one(flags)


def _by_percentage(forms: Sequence[PercentageForm]) -> EvaluateMany:
    attribute, default_text, words = forms[0].attribute, forms[0].default_text, first_words(len(forms))
    prefixes, tables = [form.prefix for form in forms], [form.results for form in forms]
    skipped = [form.skipped for form in forms]

    def evaluate(user: User) -> Sequence[Result]:
        text = user.text.get(attribute, default_text)
        if text is None or not user.present:
            return skipped
        data = text.encode()
        hashed = b"".join([sha1(prefix + data).digest() for prefix in prefixes])
        buckets = [(word >> 4) % 100 for word in words(hashed)]  # the same as ``percentage.bucket``
        return list(map(getitem, tables, buckets))

    return evaluate


def _by_hash(forms: Sequence[HashedForm]) -> EvaluateMany:
    attribute = forms[0].attribute
    choices = [(form.suffix, form.digests, form.inside, form.outside) for form in forms]
    skipped = [form.skipped for form in forms]

    def evaluate(user: User) -> Sequence[Result]:
        text = user.text.get(attribute)
        if text is None:
            return skipped
        data = text.encode()
        return [
            inside if sha256(data + suffix).digest() in digests else outside
            for suffix, digests, inside, outside in choices
        ]

    return evaluate


def _by_segment(forms: Sequence[SegmentForm], flags: Sequence[Flag]) -> EvaluateMany:
    contains, one_by_one = forms[0].segment.contains, _one_by_one(flags)
    inside, outside = [form.inside for form in forms], [form.outside for form in forms]
    skipped = [form.skipped for form in forms]

    def evaluate(user: User) -> Sequence[Result]:
        try:
            contained = contains(user)
        except EvaluationFailure:  # each flag has its own Result for it
            return one_by_one(user)
        return skipped if contained is None else inside if contained else outside

    return evaluate


def _one_by_one(flags: Sequence[Flag]) -> EvaluateMany:
    resolvers = [flag.resolve for flag in flags]
    return lambda user: [resolve(user) for resolve in resolvers]


def _sorter(positions: Sequence[int]) -> Callable[[Sequence[Result]], Sequence[Result]]:
    """Return a function that puts results which are in the order of ``positions`` into their ascending order."""
    order = sorted(range(len(positions)), key=positions.__getitem__)
    if order == list(range(len(positions))):
        return lambda results: results
    return itemgetter(*order)
