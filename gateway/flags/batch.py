"""Flags that each user decides alone, many at once: what they have in common is done once.

    Flag.form ──► Share, Digest: one loop per attribute    Member: one look per segment    others: Flag.resolve

The outcomes are those of ``Flag.resolve``; tests hold the two to one meaning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from hashlib import sha1, sha256
from operator import getitem, itemgetter
from typing import TYPE_CHECKING

from gateway.flags.conditions.hashed import Digest
from gateway.flags.errors import EvaluationFailure
from gateway.flags.forms import Member
from gateway.flags.percentage import Share, first_words
from gateway.flags.result import Result
from gateway.flags.user import User

if TYPE_CHECKING:
    from collections.abc import Hashable

    from gateway.flags.flag import Flag

Decide = Callable[[User], Sequence[Result]]


class Decider:
    """Decides some flags for one user after the other."""

    __slots__ = ("_arranged", "_groups")

    def __init__(self, flags: Sequence[Flag]) -> None:
        groups: dict[Hashable, list[tuple[int, Flag]]] = defaultdict(list)
        for place, flag in enumerate(flags):
            groups[_common(flag)].append((place, flag))
        self._groups = [_together([flag for _, flag in group]) for group in groups.values()]
        self._arranged = _arrangement([place for group in groups.values() for place, _ in group])

    def __call__(self, user: User) -> Sequence[Result]:
        """Return the outcomes, in the order of the flags."""
        found: list[Result] = []
        for decide in self._groups:
            found += decide(user)
        return self._arranged(found)


def _common(flag: Flag) -> Hashable:
    """Return what flags must share to be decided together; all without a form are."""
    match flag.form:
        case Share() as share:
            return Share, share.attribute, share.absent
        case Digest() as digest:
            return Digest, digest.attribute
        case Member() as member:
            return Member, id(member.group)
        case None:
            return None


def _together(flags: Sequence[Flag]) -> Decide:
    """Return what decides flags with something in common."""
    if shares := [flag.form for flag in flags if isinstance(flag.form, Share)]:
        return _by_shares(shares)
    if digests := [flag.form for flag in flags if isinstance(flag.form, Digest)]:
        return _by_digests(digests)
    if members := [flag.form for flag in flags if isinstance(flag.form, Member)]:
        return _by_segment(members, flags)
    return _one_by_one(flags)


def _by_shares(shares: Sequence[Share]) -> Decide:
    attribute, absent, words = shares[0].attribute, shares[0].absent, first_words(len(shares))
    prefixes, tables = [share.prefix for share in shares], [share.table for share in shares]
    otherwise = [share.otherwise for share in shares]

    def decide(user: User) -> Sequence[Result]:
        text = user.text.get(attribute, absent)
        if text is None or not user.present:
            return otherwise
        data = text.encode()
        hashed = b"".join([sha1(prefix + data, usedforsecurity=False).digest() for prefix in prefixes])
        places = [(word >> 4) % 100 for word in words(hashed)]  # as ``bucket`` does for one
        return list(map(getitem, tables, places))

    return decide


def _by_digests(digests: Sequence[Digest]) -> Decide:
    attribute = digests[0].attribute
    choices = [(one.suffix, one.digests, one.inside, one.outside) for one in digests]
    otherwise = [one.otherwise for one in digests]

    def decide(user: User) -> Sequence[Result]:
        text = user.text.get(attribute)
        if text is None:
            return otherwise
        data = text.encode()
        return [
            inside if sha256(data + suffix).digest() in known else outside for suffix, known, inside, outside in choices
        ]

    return decide


def _by_segment(members: Sequence[Member], flags: Sequence[Flag]) -> Decide:
    holds, each_for_itself = members[0].group.holds, _one_by_one(flags)
    inside, outside = [one.inside for one in members], [one.outside for one in members]
    otherwise = [one.otherwise for one in members]

    def decide(user: User) -> Sequence[Result]:
        try:
            verdict = holds(user)
        except EvaluationFailure:  # of which each flag has an outcome of its own
            return each_for_itself(user)
        return otherwise if verdict is None else inside if verdict else outside

    return decide


def _one_by_one(flags: Sequence[Flag]) -> Decide:
    resolvers = [flag.resolve for flag in flags]
    return lambda user: [resolve(user) for resolve in resolvers]


def _arrangement(places: Sequence[int]) -> Callable[[Sequence[Result]], Sequence[Result]]:
    """Return what puts into order the outcomes that were found in the order of ``places``."""
    found_at = sorted(range(len(places)), key=places.__getitem__)
    if found_at == list(range(len(places))):
        return lambda found: found
    return itemgetter(*found_at)
