"""Waiting for another process, with a deadline."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

LIMIT = 30.0  # seconds; what is awaited takes well under two on an idle machine
STEP = 0.05


def eventually(
    condition: Callable[[], object], what: Callable[[], object] = lambda: "", *, limit: float = LIMIT
) -> None:
    """Return as soon as the condition holds; after ``limit`` seconds fail, with the result of ``what``.

    A condition that reads a file which does not exist yet does not hold yet.
    """
    missing: FileNotFoundError | None = None
    for _ in range(int(limit / STEP)):
        try:
            if condition():
                return
            missing = None
        except FileNotFoundError as error:
            missing = error
        Event().wait(STEP)
    raise AssertionError(f"did not happen within {limit:.0f} s {what()}") from missing
