"""The destination of log lines: standard output, or the file of twistd's options; a daemon always has a file.

Worker processes inherit standard output, and with it the destination.
To rotate the file, move it away and send SIGUSR1 as for twistd: every process then writes to a new file.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = component_logger("gateway")  # the component of these lines, although they are in this room

DEFAULT = "twistd.log"  # the default file of a daemon of twistd
MODE = 0o640


def log_file_path(options: Mapping[str, object] | None) -> str:
    """Return the absolute path in twistd's ``options``; empty means standard output."""
    if options is None:
        return ""
    name = options.get("logfile")
    if name == "-" or (not name and options.get("nodaemon")):
        return ""
    return os.path.abspath(str(name or DEFAULT))  # noqa: PTH100 - Path.absolute() would keep ".." parts


def redirect_output(path: str) -> None:
    """Redirect standard output and standard error to a file, which is created if it is missing.

    Each write goes to the current end of the file, also after logrotate has truncated it by ``copytruncate``.

    :raises OSError: when the file cannot be opened
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
    sys.stdout.flush()
    sys.stderr.flush()
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def open_log_file(path: str) -> None:
    """Redirect the output to the file unless ``path`` is empty; exit with status 1 if it cannot be opened."""
    if path:
        try:
            redirect_output(path)
        except OSError as error:
            _log.critical("not started: the log file cannot be opened: {reason}", reason=error.strerror)
            raise SystemExit(1) from None


def reopen_log_file(path: str) -> bool:
    """Redirect the output to a new file of this name, after the old one was moved away; return whether that worked.

    On failure the old file stays in use.  Both results are logged.
    """
    if not path:
        _log.info("SIGUSR1: no log file to reopen, log lines are written to standard output", report=True)
        return False
    try:
        redirect_output(path)
    except OSError as error:
        _log.warn("the log file cannot be reopened, log lines go to the old one: {reason}", reason=error.strerror)
        return False
    _log.info("log file reopened", report=True)
    return True
