"""Open a port, and describe in one line why a port could not be opened."""

from __future__ import annotations

from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL, EPERM
from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ServerFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTCP

    from gateway.settings import Settings

BACKLOG = 4096  # connections that wait in the kernel: thousands of browsers return within seconds after a restart
ALL_ADDRESSES = "::"  # IPv6 and, on Linux, IPv4


class BoundedFactory(ServerFactory):
    """Builds the protocols of ``factory`` while ``has_room()``; other connections are closed at once."""

    noisy = False

    def __init__(self, factory: IProtocolFactory, has_room: Callable[[], bool]) -> None:
        self._factory = factory
        self._has_room = has_room

    def doStart(self) -> None:
        """Start the factory."""
        self._factory.doStart()

    def doStop(self) -> None:
        """Stop the factory."""
        self._factory.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        """Return the protocol of a connection, or None to close it."""
        return self._factory.buildProtocol(addr) if self._has_room() else None


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


def listen_error(error: OSError, settings: Settings, port: int, bind: str) -> tuple[str, str]:
    """Return the option that names a port which could not be opened, and the reason."""
    diag = settings.diag
    # Both servers may have one port, on different addresses.
    same = diag.enabled and diag.port == port and (diag.bind or ALL_ADDRESSES) == (bind or ALL_ADDRESSES)
    section = "diag" if same else "http"
    option = f"{section}.bind" if error.errno == EADDRNOTAVAIL else f"{section}.port"
    hint = ""
    if error.errno == EADDRINUSE:
        hint = f"; stop the program that uses it (ss -ltnp sport = :{port}), or set another port"
    elif error.errno in {EACCES, EPERM}:
        hint = "; ports below 1024 need the capability CAP_NET_BIND_SERVICE, or set a higher port"
    elif error.errno == EADDRNOTAVAIL:
        hint = "; this machine does not have the address"
    reason = error.strerror or str(error)
    place = "all addresses" if bind in {"", ALL_ADDRESSES} else bind
    return option, f"port {port} on {place} cannot be opened: {reason}{hint}"


def listen_error_text(error: CannotListenError, settings: Settings) -> str:
    """Return in one line which option names the port that could not be opened, and why."""
    cause = error.socketError
    cause = cause if isinstance(cause, OSError) else OSError(None, str(cause))
    option, text = listen_error(cause, settings, error.port, error.interface or "")
    return f"{option}: {text}"
