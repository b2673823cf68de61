"""What SIGHUP, SIGTERM and SIGINT do: reload, drain, and, the second time, stop waiting.

Twisted's own handlers end the process *by* the signal once it has stopped; a drained gateway exits with status 0.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def catch_signals(reactor: Any, *, reload: Callable[[], None], stop: Callable[[], None]) -> None:
    """Call ``reload`` and ``stop`` in the reactor thread, from the moment the reactor runs.

    A SIGHUP that comes before that is kept until then.
    At a terminal SIGHUP still ends the process, because there it means that the terminal is gone.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        signal.signal(signal.SIGHUP, lambda _number, _frame: reactor.callFromThread(reload))

    def install() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: reactor.callFromThread(stop))

    # Twisted installs its own handlers for these two when the reactor starts, so ours must come after.
    reactor.callWhenRunning(install)
