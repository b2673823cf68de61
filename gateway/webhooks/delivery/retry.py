"""What follows from one attempt: the message is delivered, tried again or given up.

Attempt ──► follow() ──► Done | Again | Expired
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway.webhooks.delivery.schedule import next_attempt, parse_retry_after

if TYPE_CHECKING:
    from gateway.http_client import Attempt


@attrs.frozen
class Done:
    """The message was delivered."""


@attrs.frozen
class Again:
    """The message is to be tried again."""

    at: float  # Unix seconds
    asked: float = 0.0  # Unix seconds: not before that, says the receiver; 0 when it says nothing


@attrs.frozen
class Expired:
    """The message has failed for good."""

    error: str


Step = Done | Again | Expired


def follow(attempt: Attempt, first: float, now: float, number: int, retry_for: float, chance: float) -> Step:
    """Return what follows from attempt number ``number``, which ended at ``now``; arguments as ``next_attempt``.

    ``asked`` of the answer is never later than ``at``: ``Retry-After`` does not extend ``retry_for``.
    """
    if attempt.delivered:
        return Done()
    answered = not attempt.fault and attempt.retry_after is not None
    asked = parse_retry_after(attempt.retry_after or "", now) if answered else None
    at = next_attempt(first, now, number, retry_for, asked, chance)
    if at is None:
        return Expired(attempt.text)
    return Again(at) if asked is None else Again(at, min(now + asked, at))
