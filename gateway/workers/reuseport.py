"""One port for several processes: the leader reserves it and opens a socket on it for each worker.

The kernel distributes connections over the sockets of one user that are bound with ``SO_REUSEPORT``; a second gateway
could join them unnoticed.
So the leader first binds without that option, and then keeps a bound socket that never listens.

The leader and all workers have each of these sockets open as long as they run: the kernel resets the connections that
wait in a socket when the last process closes it, and gives new ones to those that are left.
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

    from twisted.internet.interfaces import IListeningPort, IReactorSocket

EVERY_IPV4 = "0.0.0.0"  # noqa: S104 - the operator configured every address


def reserve_port(port: int, bind: str) -> socket.socket:
    """Return a socket that keeps other processes from using ``port`` until it is closed; it gets no connections.

    :raises CannotListenError: if the port is taken or forbidden, or the host does not have the address
    """
    return _bind(port, bind, _reserve)


def shared_socket(port: int, bind: str) -> socket.socket:
    """Return a socket for one worker, bound to a port that other sockets of this user may use; it does not listen.

    :raises CannotListenError: as for ``reserve_port``
    """
    return _bind(port, bind, _share)


def listen_shared(reactor: IReactorSocket, shared: socket.socket, factory: Any) -> IListeningPort:
    """Listen on a ``shared_socket``, which stays open; ``factory`` is an ``IProtocolFactory``.

    :raises CannotListenError: when a program that does not share the port listens on it
    """
    try:
        shared.listen(BACKLOG)
    except OSError as error:
        bind, port = shared.getsockname()[:2]
        raise CannotListenError(bind, port, error) from None
    shared.setblocking(False)
    opened: IListeningPort = reactor.adoptStreamPort(shared.fileno(), shared.family, factory)
    return opened


def _bind(port: int, bind: str, make: Callable[[int, str], socket.socket]) -> socket.socket:
    """Make a socket on the address ``bind``, or on every address when it is empty, with IPv6 if the host has it."""
    try:
        try:
            return make(port, bind or ALL_ADDRESSES)
        except OSError as error:
            if bind or error.errno == EADDRINUSE:
                raise
            return make(port, EVERY_IPV4)
    except OSError as error:
        raise CannotListenError(bind, port, error) from None


def _reserve(port: int, address: str) -> socket.socket:
    with _new_socket(address) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections may be in TIME_WAIT
        probe.bind((address, port))
    # Without SO_REUSEADDR the socket also blocks programs that bind with it, but connections in TIME_WAIT of a gateway
    # that did not share its port block this socket; then only the listening workers keep other programs out.
    for reuse in (0, 1):
        reserved = _new_socket(address)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        try:
            reserved.bind((address, port))
        except OSError:
            reserved.close()
            if reuse:
                raise
        else:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            return reserved
    raise AssertionError  # the loop returns or raises


def _share(port: int, address: str) -> socket.socket:
    made = _new_socket(address)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


def _new_socket(address: str) -> socket.socket:
    family = socket.AF_INET
    with suppress(OSError):
        socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
        family = socket.AF_INET6
    return socket.socket(family, socket.SOCK_STREAM)
