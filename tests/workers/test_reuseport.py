"""A port that the workers of one gateway share, and no other process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from twisted.internet.error import CannotListenError

from gateway.serving import listen_error_text
from gateway.settings import Settings
from gateway.workers import reuseport

HOME = "127.0.0.1"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Close every socket at the end."""
    with ExitStack() as opened:
        yield opened


def plain(port: int = 0, *, reuse_port: bool = False) -> socket.socket:
    """Return a listening socket as other servers open it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind((HOME, port))
    except OSError:
        made.close()
        raise
    made.listen()
    return made


def listening(port: int, bind: str = HOME) -> socket.socket:
    """Return the socket of a worker, which listens."""
    made = reuseport.shared_socket(port, bind)
    made.listen()
    made.setblocking(False)
    return made


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOME, 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("reuse_port", [False, True])
def test_a_port_on_which_another_process_listens_is_not_reserved(stack: ExitStack, reuse_port: bool) -> None:
    """Also when that process shares it, as another gateway's workers do; the reason is one line."""
    other = stack.enter_context(plain(reuse_port=reuse_port))
    port = other.getsockname()[1]
    with pytest.raises(CannotListenError) as failed:
        reuseport.reserve_port(port, HOME)
    text = listen_error_text(failed.value, Settings())
    assert text.startswith(f"http.port: port {port} on 127.0.0.1 cannot be opened: Address already in use")


def test_a_reserved_port_is_protected_before_a_worker_listens(stack: ExitStack) -> None:
    """Neither another leader nor another server can bind while the workers start."""
    port = free_port()
    stack.enter_context(reuseport.reserve_port(port, HOME))
    with pytest.raises(CannotListenError):
        reuseport.reserve_port(port, HOME)
    with pytest.raises(OSError, match="Address already in use"):
        plain(port)


def test_workers_share_a_reserved_port_and_get_all_connections(stack: ExitStack) -> None:
    """The socket that reserves the port gets none."""
    port = free_port()
    stack.enter_context(reuseport.reserve_port(port, HOME))
    shared = [stack.enter_context(listening(port)) for _ in range(2)]
    clients = [stack.enter_context(socket.create_connection((HOME, port))) for _ in range(40)]
    accepted = []
    for each in shared:
        with suppress(BlockingIOError):
            while True:
                accepted.append(stack.enter_context(each.accept()[0]))
    assert {client.getsockname() for client in clients} == {conn.getpeername() for conn in accepted}


def test_connections_wait_in_a_socket_that_another_process_has_open(stack: ExitStack) -> None:
    """The end of the process that listened resets none; each process that has the socket can accept them."""
    port = free_port()
    stack.enter_context(reuseport.reserve_port(port, HOME))
    kept = stack.enter_context(reuseport.shared_socket(port, HOME))
    worker = kept.dup()
    worker.listen()
    clients = [stack.enter_context(socket.create_connection((HOME, port))) for _ in range(40)]
    worker.close()
    accepted = [stack.enter_context(kept.accept()[0]) for _ in clients]
    for each in accepted:
        each.sendall(b"x")
    assert [b"x"] * 40 == [client.recv(1) for client in clients]


@pytest.mark.parametrize("reuse_port", [False, True])
def test_connections_in_time_wait_do_not_block_the_port(stack: ExitStack, reuse_port: bool) -> None:
    """A restarted gateway gets its port at once, whether it shared the port before or not."""
    before = plain(reuse_port=reuse_port)
    port = before.getsockname()[1]
    client = socket.create_connection((HOME, port))
    served, _ = before.accept()
    served.close()  # the side that closes first is in TIME_WAIT
    client.close()
    before.close()
    stack.enter_context(reuseport.reserve_port(port, HOME))
    stack.enter_context(listening(port))
    with pytest.raises(CannotListenError):
        reuseport.reserve_port(port, HOME)


def test_every_address_means_ipv6_and_ipv4(stack: ExitStack) -> None:
    """An empty ``bind`` takes connections of both kinds where the host has both."""
    port = free_port()
    reserved = stack.enter_context(reuseport.reserve_port(port, ""))
    shared = stack.enter_context(listening(port, ""))
    assert reserved.family == shared.family
    stack.enter_context(socket.create_connection((HOME, port)))
    if shared.family == socket.AF_INET6:
        stack.enter_context(socket.create_connection(("::1", port)))


def test_an_address_that_the_host_does_not_have_is_named() -> None:
    """The error text contains the address."""
    with pytest.raises(CannotListenError) as failed:
        reuseport.reserve_port(1, "192.0.2.1")
    assert "http.bind: port 1 on 192.0.2.1 cannot be opened" in listen_error_text(failed.value, Settings())
