"""The agent's options: repeated requests, the guard of a proxy's address, connections that are closed."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import pytest_twisted
from twisted.web.http_headers import Headers

from gateway.http_client.address_guard import AddressRefused, Guard
from gateway.http_client.agent import HttpAgent, Limits
from gateway.http_client.bounded_body import Excerpt, read_body
from gateway.http_client.errors import NetworkError, classify
from gateway.http_client.proxies import ProxyRules
from gateway.http_client.trust import load_trust
from tcp_server import server

LIMITS = Limits(response_bytes=10_000, connect_seconds=5, idle_connections=1, idle_seconds=30)
NO_CONTENT = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def make_agent(limits: Limits = LIMITS, **options: object) -> HttpAgent:
    """An agent on the real reactor."""
    from twisted.internet import reactor  # noqa: TID251 - real sockets

    return HttpAgent(reactor, load_trust("", "ca_file"), limits, **options)


def answering_once(opened: list[socket.socket]) -> Callable[[socket.socket], None]:
    """A server that answers one request per connection, and closes the connection at the second."""

    def act(connection: socket.socket) -> None:
        opened.append(connection)
        connection.recv(65536)
        connection.sendall(NO_CONTENT)
        connection.recv(65536)

    return act


async def send(agent: HttpAgent, method: str, port: int) -> int:
    """The status of one request."""
    response = await agent.send(method, f"http://127.0.0.1:{port}/", Headers(), b"x" if method == "POST" else None)
    await read_body(response, Excerpt(1000, 1000))
    return response.code


@pytest.mark.parametrize(("retry", "method"), [(True, "GET"), (False, "GET"), (True, "POST"), (False, "POST")])
@pytest_twisted.ensureDeferred
async def test_only_a_get_with_retry_is_repeated(retry, method):
    """A kept connection that turns out to be closed costs a GET nothing, and fails a POST: it may have arrived."""
    opened: list[socket.socket] = []
    with server(answering_once(opened)) as port:
        agent = make_agent(retry=retry)
        assert 200 == await send(agent, method, port)
        if retry and method == "GET":
            assert 200 == await send(agent, method, port)
            assert 2 == len(opened)
        else:
            with pytest.raises(Exception) as caught:
                await send(agent, method, port)
            assert NetworkError.LOST is classify(caught.value)[0]
            assert 1 == len(opened)
        await agent.close_connections()


@pytest_twisted.ensureDeferred
async def test_the_guard_checks_the_address_of_a_proxy():
    """The proxy is what the gateway connects to, for both schemes."""
    proxies = ProxyRules.from_settings("http://127.0.0.1:1", {}, lambda where, why: None)
    agent = make_agent(guard=Guard.from_settings([], ["127.0.0.0/8"]), proxies=proxies)
    for url in ("http://example.test/", "https://example.test/"):
        with pytest.raises(AddressRefused):
            await agent.send("GET", url, Headers())


@pytest_twisted.ensureDeferred
async def test_closing_waits_for_every_connection_and_leaves_the_agent_usable():
    """It fires at once without connections; the next request opens a new one."""
    opened: list[socket.socket] = []
    with server(answering_once(opened)) as port:
        agent = make_agent()
        assert agent.close_connections().called
        assert 200 == await send(agent, "GET", port)
        closed = agent.close_connections()
        assert not closed.called
        await closed
        assert set() == agent.opened
        assert 200 == await send(agent, "GET", port)
        await agent.close_connections()
    assert 2 == len(opened)


@pytest_twisted.ensureDeferred
async def test_the_limit_counts_from_zero_for_each_request():
    """Many small responses over one connection are no large one."""
    opened: list[socket.socket] = []

    def act(connection: socket.socket) -> None:
        opened.append(connection)
        while connection.recv(65536):
            connection.sendall(NO_CONTENT)

    with server(act) as port:
        agent = make_agent(Limits(2 * len(NO_CONTENT), 5, 1, 30))
        for _ in range(10):
            assert 200 == await send(agent, "GET", port)
        await agent.close_connections()
    assert 1 == len(opened)
