"""Timestamps of messages, in the two forms that receivers expect."""

from datetime import UTC, datetime


def milliseconds(at: float) -> int:
    """Return Unix seconds as whole milliseconds."""
    return round(at * 1000)


def iso(at: float, *, precise: bool = False) -> str:
    """Return Unix seconds as ISO 8601 in UTC with ``Z``, in milliseconds, or in microseconds if ``precise``."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="microseconds" if precise else "milliseconds").replace("+00:00", "Z")
