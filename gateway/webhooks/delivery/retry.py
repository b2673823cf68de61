"""When a message is retried after a failed attempt: the schedule of ``docs/webhooks.md`` and ``Retry-After``; pure."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from gateway.http_client import Attempt

MINUTE, HOUR = 60, 3600
DELAYS = (5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR)  # seconds
LONGEST_DELAY = 6 * HOUR  # seconds; from the ninth attempt on
JITTER = 0.2  # share of a delay by which it varies: receivers that fail together are not called together
RETRY_AFTER_LIMIT = 365 * 24 * HOUR  # seconds; ``retry_for`` ends earlier anyway
_SECONDS = re.compile(r"[0-9]+")
_DIGITS = 10  # of a number of seconds; a longer one exceeds the limit in any case


@frozen
class Retry:
    """When a message is due again; Unix seconds."""

    at: float
    not_before: float = 0.0  # the end of ``Retry-After``, which early retries heed too; 0 without one


def next_retry(
    attempt: Attempt, first: float, now: float, number: int, retry_for: float, chance: float
) -> Retry | None:
    """Return when to retry after the failed attempt ``number``; None if ``retry_for`` is over.

    Arguments as for ``next_attempt``.  ``Retry-After`` does not extend ``retry_for``.
    """
    retry_after = None
    if not attempt.fault and attempt.retry_after is not None:
        retry_after = parse_retry_after(attempt.retry_after, now)
    at = next_attempt(first, now, number, retry_for, retry_after, chance)
    if at is None:
        return None
    return Retry(at) if retry_after is None else Retry(at, min(now + retry_after, at))


def delay(number: int, chance: float) -> float:
    """Return the seconds between attempt ``number``, from 1, and the next; ``chance`` is from 0 to 1."""
    plain = DELAYS[max(number, 1) - 1] if number <= len(DELAYS) else LONGEST_DELAY
    return plain * (1 - JITTER + 2 * JITTER * chance)


def next_attempt(
    first: float, now: float, number: int, retry_for: float, retry_after: float | None, chance: float
) -> float | None:
    """Return when to try again after attempt ``number`` failed at ``now``; None if the message has expired.

    Times are Unix seconds; ``first`` is the time of the first attempt, ``retry_after`` a minimum in seconds.  The last
    attempt is made at ``first + retry_for``, whatever ``retry_after`` demands.
    """
    end = first + retry_for
    if now >= end:
        return None
    pause = delay(number, chance)
    if retry_after is not None:
        pause = max(pause, retry_after)
    return min(now + pause, end)


def parse_retry_after(value: str, now: float) -> float | None:
    """Return the seconds from ``now`` in a ``Retry-After`` header, at least 0; None if it cannot be read.

    It holds a number of seconds or an HTTP date (RFC 9110, 10.2.3); a date in the past is 0.
    """
    text = value.strip(" \t")
    if _SECONDS.fullmatch(text):
        return float(min(int(text), RETRY_AFTER_LIMIT)) if len(text) <= _DIGITS else float(RETRY_AFTER_LIMIT)
    try:
        moment = parsedate_to_datetime(text)
        # HTTP dates are in UTC, also those without a zone.
        at = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return float(min(max(at - now, 0.0), RETRY_AFTER_LIMIT))
