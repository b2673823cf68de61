"""What signals do: SIGHUP reloads, SIGTERM and SIGINT drain, and stop waiting the second time, SIGUSR1 reopens the log.

Twisted's own handlers end the process *by* the signal once it has stopped; a drained gateway exits with status 0.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def catch_signals(
    reactor: Any, *, reload: Callable[[], None], stop: Callable[[], None], rotated: Callable[[], None]
) -> None:
    """Call ``reload``, ``stop`` and ``rotated`` in the reactor thread, from the moment the reactor runs.

    A SIGHUP or SIGUSR1 that comes before that is kept until then.
    At a terminal SIGHUP still ends the process, because there it means that the terminal is gone.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        signal.signal(signal.SIGHUP, lambda _number, _frame: reactor.callFromThread(reload))

    signal.signal(signal.SIGUSR1, lambda _number, _frame: reactor.callFromThread(rotated))

    def install() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: reactor.callFromThread(stop))

    # Twisted installs its own handlers for these two when the reactor starts, so ours must come after.
    reactor.callWhenRunning(install)
