"""When to ask again: pure functions of interval, failures in a row and chance."""

from __future__ import annotations

JITTER = 0.1  # share of the interval by which a poll may be early or late, so that a fleet does not poll as one
FIRST_RETRY = 1.0  # seconds after the first failure; then 2, 4, 8, … up to the poll interval
DEFAULT_INTERVAL = 60.0  # seconds; the peer takes it for 0 and for negative intervals


def interval(configured: float) -> float:
    """The poll interval in force, in seconds."""
    return configured if configured > 0 else DEFAULT_INTERVAL


def delay(every: float, failures: int, chance: float) -> float:
    """Seconds until the next poll.

    *failures* counts failed fetches in a row, *chance* is uniform in [0, 1).
    Without failures the result lies within 10 % of *every*.
    After failures it doubles from one second and keeps at least half of its step (the rest is chance);
    it never exceeds *every*, so a failing upstream is asked at least as often as a healthy one.
    """
    if failures == 0:
        return every * (1 + JITTER * (2 * chance - 1))
    step = min(every, FIRST_RETRY * 2.0 ** min(failures - 1, 32))
    return step * (1 - chance / 2)
