"""What the main port's connections ask of the kernel, so that a slow reader shows early and a lost one at all.

Linux hands the options of a listening socket down to those it accepts: three calls less for each stream that opens.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper

UNSENT_LIMIT = 16 * 1024
"""Bytes that wait unsent in the kernel, and again in the process, before a reader counts as paused.

By default the kernel alone swallows some 2.6 MB of old values before anybody notices; so bounded it is 20 to 60 KB.
A small ``SO_SNDBUF`` beside it was measured to save nothing more, and would slow down readers that are far away.
"""

NAME = "event stream"

USER_TIMEOUT_LIMIT = 2**31 - 1  # milliseconds; what the socket option holds


def configure_listener(listening: socket.socket, stall_timeout: float) -> None:
    """Set what the connections begin with that are accepted from now on; TCP only.

    What is sent and not acknowledged for ``stall_timeout`` seconds ends the connection: a reader that is gone without
    a word would otherwise be held for a quarter of an hour. 0 leaves that as it is.
    """
    milliseconds = min(max(1, round(stall_timeout * 1000)), USER_TIMEOUT_LIMIT) if stall_timeout else 0
    for option, value in (
        (socket.TCP_NODELAY, 1),
        (socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT),
        (socket.TCP_USER_TIMEOUT, milliseconds),
    ):
        listening.setsockopt(socket.IPPROTO_TCP, option, value)


def configure_stream(transport: Any) -> None:
    """Make ``transport``, or what it wraps, small, and tell its producer early that the reader is slow.

    So the latest value wins. The two names that Twisted gives each connection take 150 bytes, and nobody reads them.
    """
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    if isinstance(transport, Connection):
        transport.bufferSize = UNSENT_LIMIT
        transport.logstr = transport.repstr = NAME  # type: ignore[attr-defined]  # of a server's only
