"""Where lines go: standard output, unless twistd was told a file, or is a daemon and has no standard output.

Worker processes inherit the place, since they inherit standard output.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
