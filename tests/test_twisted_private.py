"""Smoke tests of ``gateway.twisted_private``: an upgrade of Twisted that changes a private name fails here."""

import contextlib
import errno
import inspect
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.application import app
from twisted.internet import posixbase, ssl, tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.web import _newclient, http
from twisted.web.http import HTTPChannel

import gateway
import twisted
from gateway import twisted_private as private

CHANGED = (
    f"Twisted {twisted.__version__} changed {{name}}, a private name that gateway/twisted_private.py uses: {{used}}. "
    "Adapt that module, or lower the bound on Twisted in setup.cfg."
)

METHODS = [
    (posixbase._PollLikeMixin, "_doReadOrWrite", "self selectable fd event", "a descriptor is ready"),
    (
        posixbase._DisconnectSelectableMixin,
        "_disconnectSelectable",
        "self selectable why isRead faildict",
        "disconnect",
    ),
    (tcp.Port, "_buildAddr", "self address", "clients are accepted"),
    (HTTPChannel, "_respondToBadRequestAndDisconnect", "self", "the hook for malformed requests"),
    (type(ssl.platformTrust()), "_addCACertsToContext", "self context", "trust roots are combined"),
]


@pytest.mark.parametrize(("owner", "name", "parameters", "used"), METHODS)
def test_methods_have_their_signature(owner: type, name: str, parameters: str, used: str) -> None:
    """Each private method that is called or overridden exists with the parameters that the gateway passes."""
    method = getattr(owner, name, None)
    problem = CHANGED.format(name=f"{owner.__qualname__}.{name}", used=used)
    assert method is not None, problem
    assert parameters.split() == list(inspect.signature(method).parameters), problem


def test_client_error() -> None:
    """The error for a response that is not HTTP is the one that Twisted's HTTP client raises."""
    expected = getattr(_newclient, "ParseError", None)
    assert expected is private.ParseError, CHANGED.format(name="ParseError", used="classify")


class Pending(http.Request):
    """A request that is never answered; its body is in memory."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def process(self) -> None: ...


def test_attributes_of_http1() -> None:
    """A connection's state is read from the attributes in which Twisted keeps it."""
    connection = private.Http1Connection()
    transport = StringTransport()
    connection.makeConnection(transport)
    assert transport.producer is connection, CHANGED.format(name="HTTPChannel._networkProducer", used="unregister")
    connection.dataReceived(b"GET / HT")
    assert connection.has_partial_line, CHANGED.format(name="LineReceiver._buffer", used="a deadline for the head")
    assert not connection.is_handling_request
    connection.dataReceived(b"TP/1.0\r\nA: 1\r\nB: 2\r\n")
    assert not connection.is_http_1_1, CHANGED.format(name="HTTPChannel._version", used="rules by HTTP version")
    assert connection.field_count == 1, CHANGED.format(name="HTTPChannel._receivedHeaderCount", used="a limit")
    connection._version = b"HTTP/1.1"
    assert connection.is_http_1_1
    connection.unregister_from_transport()
    assert transport.producer is None


def test_a_request_is_being_handled() -> None:
    """Between a complete request and its answer the connection reports a request in progress."""
    connection = private.Http1Connection()
    connection.requestFactory = Pending
    connection.makeConnection(StringTransport())
    connection.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connection.is_handling_request, CHANGED.format(name="HTTPChannel._handlingRequest", used="deadlines")


def test_malformed_requests_reach_the_hook() -> None:
    """Twisted's parser calls the hook for a request that it cannot read."""
    refused = []

    class Refusing(private.Http1Connection):
        def malformed(self) -> None:
            refused.append(True)

    connection = Refusing()
    connection.makeConnection(StringTransport())
    connection.dataReceived(b"GET / HTTP/1.1 and more\r\n")
    assert refused == [True], CHANGED.format(name="_respondToBadRequestAndDisconnect", used="malformed requests")
    connection = private.Http1Connection()
    connection.makeConnection(transport := StringTransport())
    connection.dataReceived(b"GET / HTTP/1.1 and more\r\n")
    assert transport.value().startswith(b"HTTP/1.1 400")


def test_the_beginning_of_a_line_is_noticed() -> None:
    """The deadline of a head begins with its first byte."""
    connection = private.Http1Connection()
    connection.requestFactory = Pending
    connection.makeConnection(StringTransport())
    assert not connection.has_partial_line
    connection.dataReceived(b"GET")
    assert connection.has_partial_line, CHANGED.format(name="LineReceiver._buffer", used="deadlines")


def test_exit_signal_is_forgotten() -> None:
    """The reactor's exit signal, by which twistd ends the process, is unset."""
    problem = CHANGED.format(name="ReactorBase._exitSignal", used="a drained gateway exits with status 0")
    assert ReactorBase._exitSignal is None, problem
    assert "_exitSignal" in inspect.getsource(app.ApplicationRunner), problem
    reactor: Any = type("Reactor", (), {"_exitSignal": 15})()
    private.forget_exit_signal(reactor)
    assert reactor._exitSignal is None


class Socket:
    """Takes ``room`` bytes, or raises when nothing fits."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sent = b""

    def send(self, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        sent = data[: self.room]
        self.room -= len(sent)
        self.sent += sent
        return len(sent)


class Watching:
    def addWriter(self, descriptor: object) -> None: ...


def test_direct_writes_keep_their_order() -> None:
    """Bytes go to the socket, those that do not fit to the transport's buffer, and later ones behind them."""
    transport: Any = FileDescriptor(Watching())  # type: ignore[arg-type]
    transport.connected = 1
    transport.socket = Socket(3)
    for data in (b"ab", b"cd", b"ef"):
        private.write_directly(transport, data)
    assert transport.socket.sent == b"abc"
    problem = CHANGED.format(name="FileDescriptor._tempDataBuffer", used="direct writes")
    assert transport._tempDataBuffer == [b"d", b"ef"], problem
    transport.writeSomeData = lambda data: 1
    transport.doWrite()
    transport.socket.room = 10
    private.write_directly(transport, b"gh")
    assert (b"abc", b"def") == (transport.socket.sent, bytes(transport.dataBuffer)), problem


def test_trust_roots_are_combined() -> None:
    """A context trusts the platform's authorities and the extra ones."""
    added = []

    class Store:
        def add_cert(self, certificate: object) -> None:
            added.append(certificate)

    class Context(SSL.Context):
        platform = False

        def set_default_verify_paths(self) -> None:
            self.platform = True

        def get_cert_store(self) -> Any:
            return Store()

    context = Context(SSL.TLS_CLIENT_METHOD)
    private.ExtraTrustRoot([1, 2])._addCACertsToContext(context)  # type: ignore[list-item]
    assert added == [1, 2]
    assert context.platform, CHANGED.format(name="IOpenSSLTrustRoot", used="trust roots are combined")


def test_closed_idle_clients_are_not_logged(capsys: Any) -> None:
    """Twisted's HTTP connections log to ``_log``, which the gateway replaces."""
    assert hasattr(HTTPChannel, "_log"), CHANGED.format(name="HTTPChannel._log", used="no line per idle client")
    assert private.no_log.observer is not None


PRIVATE_IMPORT = re.compile(r"from twisted\S*\._|import twisted\S*\._|from twisted\S* import [^\n]*\b_[a-zA-Z]")
OUTSIDE_ACCESS = re.compile(r"SLF001")


def test_no_other_module_uses_private_names() -> None:
    """Only ``gateway.twisted_private`` imports private names of Twisted, and only it and ``h2_private`` read any."""
    root = Path(gateway.__file__).parent
    found = [
        f"{path.relative_to(root)}: {match[0]}"
        for path in root.rglob("*.py")
        if path.name not in {"twisted_private.py", "h2_private.py"}
        for pattern in (PRIVATE_IMPORT, OUTSIDE_ACCESS)
        for match in pattern.finditer(path.read_text())
    ]
    assert [] == found


def test_import_installs_no_reactor() -> None:
    """The module can be imported before a reactor is chosen."""
    code = "import gateway.twisted_private, sys; sys.exit('twisted.internet.reactor' in sys.modules)"
    assert subprocess.run([sys.executable, "-Ic", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", ["epoll", "asyncio"])
def test_timers_of_a_reactor_run_on_the_monotonic_clock(kind: str) -> None:
    """A call that was pending keeps its time; none waits for the system clock, which is at ``wall``."""
    code = f"""
import time
ahead = [0.0]
true_time = time.time
time.time = lambda: true_time() + ahead[0]
from twisted.internet import {kind}reactor
{kind}reactor.install()
from twisted.internet import reactor
from gateway.clocks import wall_clock
from gateway.twisted_private import use_monotonic_timers
assert wall_clock(reactor) is reactor.seconds
calls = []
reactor.callLater(0.02, calls.append, "pending")
reactor.callLater(1000, calls.append, "never")
use_monotonic_timers(reactor)
use_monotonic_timers(reactor)
ahead[0] = -3600.0
assert abs(wall_clock(reactor)() - (true_time() - 3600)) < 100
reactor.callLater(0.04, calls.append, "new")
reactor.callLater(0.06, reactor.stop)
reactor.run()
assert calls == ["pending", "new"], calls
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_names_are_looked_up_in_daemon_threads() -> None:
    """The exit of a process waits for no look-up."""
    script = """
import socket, time
socket.getaddrinfo = lambda *_, **__: time.sleep(600)
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from gateway.twisted_private import resolve_in_daemon_threads
resolve_in_daemon_threads(reactor)
endpoint = HostnameEndpoint(reactor, "slow.invalid", 80, timeout=600)
endpoint.connect(Factory.forProtocol(Protocol)).addErrback(lambda _: None)
reactor.callLater(0.5, reactor.stop)
reactor.run()
print("ended")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "ended\n", CHANGED.format(name="GAIResolver", used="a stop waits for no look-up")


class Clients(Factory):
    """Builds protocols, or refuses connections."""

    noisy = False
    protocol = Protocol

    def __init__(self) -> None:
        self.refuses = False
        self.built: list[Any] = []
        self.addresses: list[Any] = []

    def buildProtocol(self, address: Any) -> Any:
        if self.refuses:
            return None
        self.addresses.append(address)
        self.built.append(super().buildProtocol(address))
        return self.built[-1]


@contextlib.contextmanager
def listening(interface: str) -> Iterator[tuple[Any, Clients]]:
    """Open a port on an address of loopback; nothing reads from it."""
    reactor: Any = EPollReactor()
    clients = Clients()
    port: Any = reactor.listenTCP(0, clients, interface=interface)
    port.stopReading()
    yield port, clients
    for built in clients.built:
        built.transport.abortConnection()
    port.stopListening()
    reactor.runUntilCurrent()


def wait(port: Any, count: int) -> list[socket.socket]:
    """Connect clients, which then wait to be accepted."""
    return [socket.create_connection(port.socket.getsockname()[:2], 10) for _ in range(count)]


@pytest.mark.parametrize("interface", ["127.0.0.1", "::1"])
def test_clients_are_accepted_as_by_twisted(interface: str) -> None:
    """Both ways give the same addresses and a connection that can be written to, at most ``numberAccepts`` at once."""
    with listening(interface) as (port, clients):
        port.numberAccepts = 2
        waiting = wait(port, 4)
        private.accept_clients(port)
        assert 2 == len(clients.built)
        port.doRead()
        assert 4 == len(clients.built)
        for client, built, address in zip(waiting, clients.built, clients.addresses, strict=True):
            transport = built.transport
            host, number = client.getsockname()[:2]
            assert (host, number) == (address.host, address.port) == (transport.hostname, transport.getPeer().port)
            assert type(address) is type(transport.getPeer()) is type(port.getHost())
            assert port.getHost() == transport.getHost()
            transport.write(b"x")
            transport.doWrite()
            assert b"x" == client.recv(9)
            client.close()
        private.accept_clients(port)
        assert 4 == len(clients.built)


def test_refused_clients_are_closed() -> None:
    """A connection for which the factory builds no protocol is closed; the next one is accepted."""
    with listening("127.0.0.1") as (port, clients):
        clients.refuses = True
        (client,) = wait(port, 1)
        private.accept_clients(port)
        assert b"" == client.recv(9)
        client.close()
        clients.refuses = False
        (client,) = wait(port, 1)
        private.accept_clients(port)
        assert 1 == len(clients.built)
        client.close()


def test_errors_of_accepting_are_left_to_twisted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without free file numbers Twisted closes the connections that wait, and logs it."""
    met: list[Any] = []
    with listening("127.0.0.1") as (port, clients):

        def full(_: socket.socket) -> Any:
            raise OSError(errno.EMFILE, "too many open files")

        monkeypatch.setattr(socket.socket, "accept", full)
        monkeypatch.setattr(tcp.Port, "doRead", met.append)
        private.accept_clients(port)
        assert ([port], []) == (met, clients.built)
