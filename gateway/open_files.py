"""How many more files this process may open, and for what: each connection is one.

    0 ── files in use ── streams end here ── connections of the main port end here ── limit
                               └── STREAM_RESERVE ──────────────────────────────────────┘
                                                          └── CONNECTION_RESERVE ───────┘

What is left at the end serves probes on the diagnostics port, upstreams, receivers and the disk.
"""

from __future__ import annotations

import os
import resource
from typing import Final

STREAM_RESERVE: Final = 64  # files that an event stream leaves for everything else
CONNECTION_RESERVE: Final = 32  # files that a connection of the main port leaves for everything but clients
SHARES: Final = {STREAM_RESERVE: 4, CONNECTION_RESERVE: 8}  # of a low limit at most this part: a quarter, an eighth


def room_for_stream() -> bool:
    """Return whether an event stream may be opened."""
    return files_left(STREAM_RESERVE)


def room_for_connection() -> bool:
    """Return whether the main port may accept a connection."""
    return files_left(CONNECTION_RESERVE)


def files_left(reserve: int = 0) -> bool:
    """Return whether one more file can be opened such that ``reserve`` more could follow; takes some 2 microseconds.

    The system gives each new file the lowest free number, so all lower numbers are in use.
    """
    try:
        number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(number)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return True
    return number < limit - min(reserve, limit // SHARES.get(reserve, 1))
