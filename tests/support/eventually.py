"""Waiting for another process, with a deadline."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

LIMIT = 30.0  # seconds; what is awaited takes well under two on an idle machine
STEP = 0.05


def eventually(
    condition: Callable[[], object], what: Callable[[], object] = lambda: "", *, limit: float = LIMIT
) -> None:
    """Return as soon as the condition holds; after ``limit`` seconds fail, with what ``what`` tells."""
    for _ in range(int(limit / STEP)):
        if condition():
            return
        Event().wait(STEP)
    raise AssertionError(f"did not happen within {limit:.0f} s {what()}")
