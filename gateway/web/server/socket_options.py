"""Socket options of the main port's connections: slow readers are noticed early, and lost ones at all.

Accepted sockets inherit the options of their listening socket on Linux, which saves three calls per stream.
"""

import socket
from typing import Any

from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper

UNSENT_LIMIT = 16 * 1024
"""Bytes that wait unsent in the kernel, and again in the process, before a reader counts as paused.

By default the kernel alone buffers some 2.6 MB of old values; with this limit it is 20 to 60 KB.
A small ``SO_SNDBUF`` in addition saved nothing in measurements, and would slow down distant readers.
"""

NAME = "event stream"

USER_TIMEOUT_LIMIT = 2**31 - 1  # milliseconds; the largest value of the socket option


def configure_listener(listening: socket.socket, stall_timeout: float) -> None:
    """Set the options of the connections that a TCP socket accepts from now on.

    Data that is not acknowledged for ``stall_timeout`` seconds ends the connection; otherwise a reader that vanished
    would be kept for a quarter of an hour.  0 keeps the kernel's default.
    """
    milliseconds = min(max(1, round(stall_timeout * 1000)), USER_TIMEOUT_LIMIT) if stall_timeout else 0
    for option, value in (
        (socket.TCP_NODELAY, 1),
        (socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT),
        (socket.TCP_USER_TIMEOUT, milliseconds),
    ):
        listening.setsockopt(socket.IPPROTO_TCP, option, value)


def configure_stream(transport: Any) -> None:
    """Give a stream's transport, or the one that it wraps, a small buffer: its producer is paused early.

    A slow reader then gets the latest value.  Both names that Twisted gives a connection are replaced by a shared one,
    which saves 150 bytes.
    """
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    if isinstance(transport, Connection):
        transport.bufferSize = UNSENT_LIMIT
        transport.logstr = transport.repstr = NAME  # type: ignore[attr-defined]  # of a server's only
