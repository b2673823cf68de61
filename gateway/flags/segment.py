"""A compiled segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from gateway.flags.conditions.match import Match
    from gateway.flags.definition import Fault, SegmentDefinition
    from gateway.flags.user import User


@attrs.frozen
class Segment:
    """A segment with compiled conditions, shared by all flags that use it."""

    source: bytes  # the JSON of the definition
    definition: SegmentDefinition | Fault
    matches: tuple[Match, ...] = ()
    hashed: bool = False  # whether a condition compares hashes, which depend on the config's salt
    attributes: frozenset[str] = frozenset()

    def contains(self, user: User) -> bool | None:
        """Return whether ``user`` is in the segment; None if a rule with this condition is to be skipped.

        :raises EvaluationFailure: if a condition is broken.
        """
        if not user.present:
            return None
        for match in self.matches:
            met = match(user)
            if not met:
                return None if met is None else False
        return True
