"""Two clocks: the reactor's timers and all durations are monotonic; what is shown, signed or stored is wall time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime


def wall_clock(clock: IReactorTime) -> Callable[[], float]:
    """Return the wall clock that belongs to ``clock``; it returns Unix seconds, which may jump.

    That is ``clock.wall`` where ``twisted_private.use_monotonic_timers`` has set it, and otherwise ``clock.seconds``:
    a clock of a test is both.
    """
    wall: Callable[[], float] = getattr(clock, "wall", clock.seconds)
    return wall
