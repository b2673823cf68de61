"""Open a port, and describe in one line why a port could not be opened."""

from __future__ import annotations

from errno import EADDRINUSE
from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTCP

BACKLOG = 4096  # connections that wait in the kernel: thousands of browsers return within seconds after a restart
ALL_ADDRESSES = "::"  # IPv6 and, on Linux, IPv4


def listen(reactor: IReactorTCP, port: int, factory: IProtocolFactory, bind: str) -> IListeningPort:
    """Listen on ``port`` of the address ``bind``, or of all addresses if it is empty.

    :raises CannotListenError: if the port is taken or forbidden, or the address is not one of this host.
    """
    typed: Any = factory  # listenTCP is annotated with ServerFactory, which the factory of TLS connections is not
    if bind:
        return reactor.listenTCP(port, typed, BACKLOG, bind)
    try:
        return reactor.listenTCP(port, typed, BACKLOG, ALL_ADDRESSES)
    except CannotListenError as error:
        if isinstance(error.socketError, OSError) and error.socketError.errno == EADDRINUSE:
            raise
        return reactor.listenTCP(port, typed, BACKLOG)  # a host without IPv6


def listen_error_text(error: CannotListenError) -> str:
    """Return which port could not be opened, and why."""
    reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
    return f"port {error.port} on {error.interface or 'all addresses'} cannot be opened: {reason}"
