"""The end of a worker with its leader: Linux kills it, even while it is stopped and cannot see that its link closed."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from struct import Struct

PR_SET_PDEATHSIG = 1  # prctl(2)
_CREDENTIALS = Struct("3i")  # struct ucred of unix(7): process, user, group


def die_with_leader(link: socket.socket) -> bool:
    """Have the kernel kill this process when the leader dies; return whether the leader still lives.

    ``link`` is the worker's end of a pair of sockets that the leader has made.  Elsewhere than on Linux nothing is
    done.  The leader starts workers in its main thread, on whose end the signal depends.
    """
    if sys.platform != "linux":
        return True
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    leader, _, _ = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return bool(os.getppid() == leader)  # it may have died before the call
