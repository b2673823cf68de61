"""Prerequisites: how deep they may be nested, and evaluating each of them once per user.

A flag with two rules on the next flag, which has two rules on the one after it, needs 2**n evaluations of the last of
n flags if each condition evaluates its prerequisite. With the results of the current user kept, n are enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.flags.user import MISSING_USER, User

if TYPE_CHECKING:
    from gateway.flags.flag import Resolve
    from gateway.flags.result import Result

DEPTH_LIMIT: Final = 50  # flags in a chain; each takes three frames of the stack, and real configs have two or three
TOO_DEEP: Final = f"prerequisite flags are nested too deeply: more than {DEPTH_LIMIT} flags in a chain"
EVALUATIONS_UNKEPT: Final = 8  # a flag that needs no more, prerequisites included, is evaluated again each time


class Decisions:
    """The results of the flags of one config that need many evaluations, for the user evaluated last.

    It keeps one user, and one result per flag. Users and flags are immutable, so a kept result stays right; two
    threads that take turns only repeat evaluations.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[User, dict[object, Result]] = (MISSING_USER, {})

    def once_per_user(self, resolve: Resolve) -> Resolve:
        """Return a function with the results of ``resolve``, which calls it once for consecutive calls with a user."""

        def resolve_once(user: User) -> Result:
            last, results = self._last
            if last is not user:
                results = {}
                self._last = (user, results)
            result = results.get(resolve)
            if result is None:
                result = results[resolve] = resolve(user)
            return result

        return resolve_once
