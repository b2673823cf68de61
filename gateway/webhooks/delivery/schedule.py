"""When a message that was not taken is tried again: the table of ``docs/webhooks.md``; pure."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

MINUTE, HOUR = 60, 3600
DELAYS = (5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR)  # seconds
LONGEST_DELAY = 6 * HOUR  # seconds; from the ninth attempt on
JITTER = 0.2  # share of a delay by which it varies, so that receivers do not meet every message at once again
RETRY_AFTER_LIMIT = 365 * 24 * HOUR  # seconds; longer ones are cut, as they are by every ``retry_for`` anyway
_SECONDS = re.compile(r"[0-9]+")
_DIGITS = 10  # of a number of seconds; more is beyond the limit in any case


def delay(attempt: int, chance: float) -> float:
    """Return the seconds between attempt number ``attempt``, from 1, and the next; ``chance`` is from 0 to 1."""
    plain = DELAYS[max(attempt, 1) - 1] if attempt <= len(DELAYS) else LONGEST_DELAY
    return plain * (1 - JITTER + 2 * JITTER * chance)


def next_attempt(
    first: float, now: float, attempt: int, retry_for: float, retry_after: float | None, chance: float
) -> float | None:
    """Return when to try again after attempt number ``attempt`` has failed; None when the message has expired.

    All moments are Unix seconds; ``first`` is when the first attempt was made, ``retry_after`` the seconds that the
    receiver asked for, a minimum. The last attempt is made at ``first + retry_for``, whatever the receiver asked for.
    """
    end = first + retry_for
    if now >= end:
        return None
    pause = delay(attempt, chance)
    if retry_after is not None:
        pause = max(pause, retry_after)
    return min(now + pause, end)


def parse_retry_after(value: str, now: float) -> float | None:
    """Return the seconds from ``now`` that a ``Retry-After`` header asks for, from 0; None when it says nothing.

    It is a number of seconds or an HTTP date (RFC 9110, 10.2.3); a date that is past asks for nothing, which is 0.
    """
    text = value.strip(" \t")
    if _SECONDS.fullmatch(text):
        return float(min(int(text), RETRY_AFTER_LIMIT)) if len(text) <= _DIGITS else float(RETRY_AFTER_LIMIT)
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is in UTC: HTTP knows no other.
        at = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return float(min(max(at - now, 0.0), RETRY_AFTER_LIMIT))
