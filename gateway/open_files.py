"""How many more files this process may open, and for what: each connection is one.

    0 ── files in use ── a worker leaves new clients to others ── no streams ── no connections of the main port ── limit
                               └── HANDOVER_RESERVE ───────────────────────────────────────────────────────────────┘
                                                                     └── STREAM_RESERVE ───────────────────────────┘
                                                                                       └── CONNECTION_RESERVE ─────┘

What is left at the end serves probes on the diagnostics port, upstreams, receivers and the disk.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

HANDOVER_RESERVE: Final = 16_384  # files above the next one that a worker leaves: connections that come meanwhile
STREAM_RESERVE: Final = 64  # files that an event stream leaves for everything else
CONNECTION_RESERVE: Final = 32  # files that a connection of the main port leaves for everything but clients
OWN_FILES: Final = Path("/proc/self/fd")
MANY: Final = 1_000_000  # files, where there is no limit
SHARES: Final = {HANDOVER_RESERVE: 16, STREAM_RESERVE: 4, CONNECTION_RESERVE: 8}  # of a low limit at most this part


class Room:
    """Called for each new client; returns whether its file may be opened such that ``reserve`` more could follow.

    Counting the open files takes some microseconds.  It is left out for a quarter of those that were left at the last
    count: meanwhile the process may open three times as many files for other purposes.
    """

    def __init__(self, reserve: int) -> None:
        self._reserve = reserve
        self._uncounted = 0  # clients until the next count

    def __call__(self) -> bool:
        """See the class."""
        if self._uncounted:
            self._uncounted -= 1
            return True
        left = files_left(self._reserve)
        self._uncounted = max(0, left // 4)
        return left > 0


room_before_handover: Final = Room(HANDOVER_RESERVE)
room_for_stream: Final = Room(STREAM_RESERVE)
room_for_connection: Final = Room(CONNECTION_RESERVE)


def files_left(reserve: int = 0, times: int = 1, *, exact: bool = False) -> int:
    """Return how many more files can be opened such that ``reserve`` more could follow; 0 or less if none can.

    With a low limit it is a share of the limit.  ``times`` as many are kept.
    Where the system has no count of the open files, it may return too many once some were closed, unless ``exact``,
    which takes milliseconds there.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        limit = MANY
    try:
        files = _open_files(exact=exact)
    except OSError:  # none can be opened
        return 0
    return limit - times * _kept(reserve, limit) - files


def _open_files(*, exact: bool) -> int:
    """Return the number of open files; raises ``OSError`` at the limit."""
    with suppress(OSError):  # no /proc
        if counted := OWN_FILES.stat().st_size:  # since Linux 6.2
            return counted
        if exact:
            return sum(1 for _ in OWN_FILES.iterdir())
    # The system gives each new file the lowest free number, so all lower numbers are in use.
    number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(number)
    return number


def _kept(reserve: int, limit: int) -> int:
    files = min(reserve, limit // SHARES.get(reserve, 1))
    return files + _kept(STREAM_RESERVE, limit) if reserve == HANDOVER_RESERVE else files
