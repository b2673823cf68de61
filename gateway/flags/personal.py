"""Flags that each user decides alone, many at once: hashing for all of them in one loop saves a call or three each.

    Flag.batch ──► Share, Digest: one loop per attribute      others: Flag.resolve

The outcomes are those of ``Flag.resolve``; tests hold the two to one meaning.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha1, sha256
from itertools import chain
from operator import getitem, itemgetter
from typing import TYPE_CHECKING

from gateway.flags.hashed import Digest
from gateway.flags.percentage import Share, first_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.flags.flag import Flag
    from gateway.flags.result import Result
    from gateway.flags.user import User


class Decider:
    """Decides some flags for one user after the other."""

    __slots__ = ("_arranged", "_digests", "_others", "_shares")

    def __init__(self, flags: Sequence[Flag]) -> None:
        shares: dict[tuple[str, str | None], list[tuple[int, Share]]] = defaultdict(list)
        digests: dict[str, list[tuple[int, Digest]]] = defaultdict(list)
        others: list[tuple[int, Flag]] = []
        for place, flag in enumerate(flags):
            match flag.batch:
                case Share() as share:
                    shares[share.attribute, share.absent].append((place, share))
                case Digest() as digest:
                    digests[digest.attribute].append((place, digest))
                case None:
                    others.append((place, flag))
        self._shares = [
            (
                *key,
                [one.prefix for _, one in group],
                first_words(len(group)),
                [one.table for _, one in group],
                [one.otherwise for _, one in group],
            )
            for key, group in shares.items()
        ]
        self._digests = [
            (
                attribute,
                [(one.suffix, one.digests, one.inside, one.outside) for _, one in group],
                [one.otherwise for _, one in group],
            )
            for attribute, group in digests.items()
        ]
        self._others = [flag.resolve for _, flag in others]
        found = chain(*shares.values(), *digests.values(), others)  # the order in which outcomes are found
        self._arranged = _arrangement([place for place, _ in found])

    def __call__(self, user: User) -> Sequence[Result]:
        """Return the outcomes, in the order of the flags."""
        texts, found = user.text, []
        for attribute, absent, prefixes, words, tables, otherwise in self._shares:
            text = texts.get(attribute, absent)
            if text is None or not user.present:
                found += otherwise
            else:
                data = text.encode()
                hashed = b"".join([sha1(prefix + data, usedforsecurity=False).digest() for prefix in prefixes])
                places = [(word >> 4) % 100 for word in words(hashed)]  # as ``bucket`` does for one
                found += map(getitem, tables, places)
        for attribute, digests, otherwise in self._digests:
            text = texts.get(attribute)
            if text is None:
                found += otherwise
            else:
                data = text.encode()
                found += [
                    inside if sha256(data + suffix).digest() in known else outside
                    for suffix, known, inside, outside in digests
                ]
        found += [resolve(user) for resolve in self._others]
        return self._arranged(found)


def _arrangement(places: Sequence[int]) -> Callable[[Sequence[Result]], Sequence[Result]]:
    """Return what puts into order the outcomes that were found in the order of ``places``."""
    found_at = sorted(range(len(places)), key=places.__getitem__)
    if found_at == list(range(len(places))):
        return lambda found: found
    return itemgetter(*found_at)
