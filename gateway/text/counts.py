"""A number with its noun."""

from __future__ import annotations


def amount(number: int, noun: str) -> str:
    """Return for example ``1 flag`` and ``2 flags``; ``noun`` is one whose plural ends in s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
