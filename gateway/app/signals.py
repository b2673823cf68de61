"""Signals: SIGTERM and SIGINT drain, SIGHUP reloads, SIGUSR1 reopens the log file.

Twisted's own handlers end the process *by* the signal once the reactor has stopped; a drained gateway exits with 0.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from gateway.twisted_private import forget_exit_signal

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def catch_signals(
    reactor: Any, *, reload: Callable[[], None], stop: Callable[[], None], reopen_log: Callable[[], None]
) -> None:
    """Call ``reload``, ``stop`` and ``reopen_log`` in the reactor thread from the moment the reactor runs.

    A signal that arrives earlier is kept until then.  After the shutdown further stop signals are ignored, so that the
    exit status stays 0.  At a terminal SIGHUP ends the process, because there it means that the terminal is gone.
    """

    def catch(number: int, call: Callable[[], None]) -> None:
        signal.signal(number, lambda _number, _frame: reactor.callFromThread(call))

    def catch_stop() -> None:
        for number in STOP_SIGNALS:
            catch(number, stop)

    if sys.stdin is None or not sys.stdin.isatty():
        catch(signal.SIGHUP, reload)
    catch(signal.SIGUSR1, reopen_log)
    catch_stop()
    # Twisted replaces these handlers when the reactor starts.
    reactor.callWhenRunning(catch_stop)
    reactor.addSystemEventTrigger("after", "shutdown", _ignore_stop_signals, reactor)


def _ignore_stop_signals(reactor: Any) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # Set when a signal arrived between the installation of Twisted's handlers and ours: twistd would end by it.
    forget_exit_signal(reactor)
