"""The time of the next poll, with backoff after failures: pure functions of interval, failures and a random number."""

from typing import Final

JITTER: Final = 0.1  # share of the interval by which a poll is early or late, so that a fleet does not poll in step
FIRST_RETRY: Final = 1.0  # seconds after the first failure; then 2, 4, 8, … up to the poll interval
DEFAULT_INTERVAL: Final = 60.0  # seconds; ConfigCat Proxy's for intervals of 0 and less


def interval(configured: float) -> float:
    """Return the poll interval in force, in seconds."""
    return configured if configured > 0 else DEFAULT_INTERVAL


def delay(every: float, failures: int, chance: float) -> float:
    """Return the seconds until the next poll.

    ``failures`` counts failed fetches in a row, ``chance`` is uniform in [0, 1).
    Without failures the result is within 10 % of ``every``.
    With failures it doubles from one second, of which chance takes up to half, and never exceeds ``every``: a failing
    upstream is polled at least as often as a healthy one.
    """
    if failures == 0:
        return every * (1 + JITTER * (2 * chance - 1))
    step = min(every, FIRST_RETRY * 2.0 ** min(failures - 1, 32))
    return step * (1 - chance / 2)
