"""What one attempt came to, and what follows from it.

status, fault ──► Attempt.outcome() ──► Outcome ──► follow() ──► Done | Again | Expired
"""

from __future__ import annotations

from typing import Literal

import attrs

from gateway.webhooks.delivery.schedule import next_attempt

Label = Literal["delivered", "refused", "timeout", "broken"]


@attrs.frozen
class Delivered:
    """The receiver answered 2xx in time."""

    status: int


@attrs.frozen
class Refused:
    """The receiver answered anything else: 3xx, which is never followed, 4xx or 5xx."""

    status: int
    retry_after: float | None = None  # seconds that it asked to be left alone


@attrs.frozen
class TimedOut:
    """No whole answer came in time."""


@attrs.frozen
class Failed:
    """No answer came: ``kind`` says why, in words without address or secret."""

    kind: str


Outcome = Delivered | Refused | TimedOut | Failed


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


def answered(status: int, retry_after: float | None = None) -> Delivered | Refused:
    """Return the outcome of a whole answer."""
    return Delivered(status) if 200 <= status <= 299 else Refused(status, retry_after)


def label(outcome: Outcome) -> Label:
    """Return the outcome as one of the few words that metrics and lists know."""
    match outcome:
        case Delivered():
            return "delivered"
        case Refused():
            return "refused"
        case TimedOut():
            return "timeout"
        case Failed():
            return "broken"


def text(outcome: Outcome) -> str:
    """Return the outcome in a few words, for logs, lists and ``DELIVERY_FAILED``."""
    match outcome:
        case Delivered(status) | Refused(status):
            return f"answered {status}"
        case TimedOut():
            return "timed out"
        case Failed(kind):
            return kind


def follow(outcome: Outcome, first: float, now: float, attempt: int, retry_for: float, chance: float) -> Step:
    """Return what follows from attempt number ``attempt``, which ended at ``now``; arguments as ``next_attempt``.

    ``asked`` of the answer is never later than ``at``: nobody is left alone beyond the end of ``retry_for``.
    """
    if isinstance(outcome, Delivered):
        return Done()
    asked = outcome.retry_after if isinstance(outcome, Refused) else None
    at = next_attempt(first, now, attempt, retry_for, asked, chance)
    if at is None:
        return Expired(text(outcome))
    return Again(at) if asked is None else Again(at, min(now + asked, at))
