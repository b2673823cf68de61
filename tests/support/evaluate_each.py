"""Evaluation of all flags one by one, to compare with evaluation of all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.flags import Result, Snapshot, User


def evaluate_each(snapshot: Snapshot, user: User | None) -> list[Result]:
    """Return the results of all flags in the order of their keys."""
    return [snapshot.evaluate(key, user) for key in snapshot.keys]
