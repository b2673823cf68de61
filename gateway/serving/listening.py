"""Open a port, or describe in one line why it could not be opened."""

from __future__ import annotations

from errno import EADDRINUSE
from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IReactorTCP

BACKLOG = 4096  # connections the kernel holds for us: thousands of browsers come back within seconds of a restart
EVERYWHERE = "::"  # IPv6 and, on Linux, IPv4 as well


def listen(reactor: IReactorTCP, port: int, factory: Any, bind: str) -> IListeningPort:
    """Listen on ``port`` of the address ``bind``, or of every address when it is empty.

    Raises:
        CannotListenError: the port is taken, forbidden, or the address is not ours.
    """
    if bind:
        return reactor.listenTCP(port, factory, BACKLOG, bind)
    try:
        return reactor.listenTCP(port, factory, BACKLOG, EVERYWHERE)
    except CannotListenError as error:
        if isinstance(error.socketError, OSError) and error.socketError.errno == EADDRINUSE:
            raise
        return reactor.listenTCP(port, factory, BACKLOG)  # a host without IPv6


def listen_error_text(error: CannotListenError) -> str:
    """Return which port could not be opened, and why."""
    reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
    return f"port {error.port} on {error.interface or 'all addresses'} cannot be opened: {reason}"
