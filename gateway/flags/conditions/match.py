"""A compiled condition: a function of the user that returns True, False, or None to skip the rule.

None means that the user or the attribute is missing or cannot be read; the whole rule is then skipped, negated or not.
A Match raises EvaluationFailure if the definition itself is broken.
"""

from collections.abc import Callable

import attrs

from gateway.flags.user import User


class EvaluationFailure(Exception):
    """A flag cannot be evaluated; becomes the ``error`` of a Result and never leaves this room.

    The message contains parts of the config only, nothing of the user.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


Match = Callable[[User], bool | None]


@attrs.frozen
class MatchParameters:
    """How a comparator is used: the result that makes the condition hold, and the suffix of hashed texts."""

    wanted: bool
    suffix: bytes


def failing(reason: str) -> Match:
    """Return a Match that ends the evaluation of the flag."""

    def match(_user: User) -> None:
        raise EvaluationFailure(reason)

    return match


def failing_for_users(reason: str) -> Match:
    """Return a Match that ends the evaluation, but skips the rule without a user."""

    def match(user: User) -> None:
        if user.present:
            raise EvaluationFailure(reason)

    return match


def skipping(_user: User) -> None:
    """Skip the rule for every user."""
