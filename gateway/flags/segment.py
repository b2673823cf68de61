"""A compiled segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from gateway.flags.conditions.match import Match
    from gateway.flags.definition import Fault, Segment
    from gateway.flags.user import User


@attrs.frozen
class Group:
    """A segment, its conditions compiled; many flags share one."""

    source: bytes
    segment: Segment | Fault
    matches: tuple[Match, ...] = ()
    hashed: bool = False  # whether a condition compares hashes, so that the config's salt matters
    attributes: frozenset[str] = frozenset()

    def holds(self, user: User) -> bool | None:
        """Return whether ``user`` is inside; None when that cannot be said.

        :raises EvaluationFailure: when a condition is broken.
        """
        if not user.present:
            return None
        for match in self.matches:
            met = match(user)
            if not met:
                return None if met is None else False
        return True
