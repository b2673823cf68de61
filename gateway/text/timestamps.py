"""Moments as the formats spell them."""

from __future__ import annotations

from datetime import UTC, datetime


def milliseconds(at: float) -> int:
    """Return Unix seconds as whole milliseconds."""
    return round(at * 1000)


def iso(at: float, *, precise: bool = False) -> str:
    """Return Unix seconds as ISO 8601 in UTC, ending in ``Z``: to the millisecond, or to the microsecond."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="microseconds" if precise else "milliseconds").replace("+00:00", "Z")
