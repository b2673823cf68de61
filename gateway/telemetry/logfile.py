"""Where lines go: standard output, unless twistd was told a file, or is a daemon and has no standard output.

Worker processes inherit the place, since they inherit standard output.
Whoever rotates the file moves it away and sends SIGUSR1, twistd's own signal for it; every process then goes on in a
new one.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = component_logger("gateway")  # these lines are about the gateway, not about its diagnostics

DEFAULT = "twistd.log"  # what a daemon of twistd writes to when nothing is said
MODE = 0o640


def log_file(options: Mapping[str, object] | None) -> str:
    """Return the absolute path that twistd's own ``options`` ask for; empty means standard output."""
    if options is None:
        return ""
    name = options.get("logfile")
    if name == "-" or (not name and options.get("nodaemon")):
        return ""
    return os.path.abspath(str(name or DEFAULT))  # noqa: PTH100 - twistd may change the directory before it is opened


def write_to(path: str) -> None:
    """Have standard output and standard error go to the end of a file, which is made if need be; raises OSError.

    Always to what is the end then, so a file that logrotate cuts by ``copytruncate`` goes on from its new beginning.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
    sys.stdout.flush()
    sys.stderr.flush()
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def begin_file(path: str) -> None:
    """Write to the file from now on, where there is one; one that cannot be opened ends the process with status 1."""
    if path:
        try:
            write_to(path)
        except OSError as error:
            _log.critical("not started: the log file cannot be opened: {reason}", reason=error.strerror)
            raise SystemExit(1) from None


def open_again(path: str) -> bool:
    """Write to the file of this name from now on, since the one that had it was moved away; returns whether it works.

    Otherwise lines go on to where they went.  Either way a line says so.
    """
    if not path:
        _log.info("SIGUSR1: lines go to standard output, there is no log file to open again", report=True)
        return False
    try:
        write_to(path)
    except OSError as error:
        _log.warn("the log file cannot be opened again, the old one goes on: {reason}", reason=error.strerror)
        return False
    _log.info("log file opened again", report=True)
    return True
