"""One port for several processes: the leader sees to it that it is ours, each worker listens on it.

The kernel spreads connections over sockets that are bound with ``SO_REUSEPORT`` by one user; it would let a second
gateway in among them unnoticed.
So the leader first binds without it, and then keeps a socket that is bound and never listens.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from errno import EADDRINUSE
from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError

from gateway.serving import ALL_ADDRESSES, BACKLOG

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IListeningPort

EVERY_IPV4 = "0.0.0.0"  # noqa: S104 - the operator asked for every address


def hold(port: int, bind: str) -> socket.socket:
    """Return a socket that keeps ``port`` ours until it is closed; connections never come to it.

    Raises:
        CannotListenError: somebody else has the port, or it is forbidden, or the address is not ours.
    """
    return _everywhere(port, bind, _hold)


def listen_shared(reactor: Any, port: int, factory: Any, bind: str) -> IListeningPort:
    """Listen on a port that this user's other processes may listen on as well.

    Raises:
        CannotListenError: as for ``hold``.
    """
    with _everywhere(port, bind, _shared) as shared:
        opened: IListeningPort = reactor.adoptStreamPort(shared.fileno(), shared.family, factory)
        return opened


def _everywhere(port: int, bind: str, make: Callable[[int, str], socket.socket]) -> socket.socket:
    """Make a socket on the address ``bind``, or on every address when it is empty, IPv6 as well where there is any."""
    try:
        try:
            return make(port, bind or ALL_ADDRESSES)
        except OSError as error:
            if bind or error.errno == EADDRINUSE:
                raise
            return make(port, EVERY_IPV4)
    except OSError as error:
        raise CannotListenError(bind, port, error) from None


def _hold(port: int, address: str) -> socket.socket:
    with _new(address) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections may linger from before
        probe.bind((address, port))
    # Without SO_REUSEADDR it also stands against those who bind with it, but so do lingering connections of a
    # gateway that did not share its port; then the workers, once they listen, are what stands.
    for reuse in (0, 1):
        held = _new(address)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        try:
            held.bind((address, port))
        except OSError:
            held.close()
            if reuse:
                raise
        else:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            return held
    raise AssertionError  # the loop returns or raises


def _shared(port: int, address: str) -> socket.socket:
    made = _new(address)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((address, port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    made.setblocking(False)
    return made


def _new(address: str) -> socket.socket:
    family = socket.AF_INET
    with suppress(OSError):
        socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
        family = socket.AF_INET6
    return socket.socket(family, socket.SOCK_STREAM)
