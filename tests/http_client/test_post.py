"""One attempt over real sockets, mostly with hostile receivers."""

from __future__ import annotations

import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
import trustme
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from gateway.http_client.attempt import ANSWER_KEPT, Attempt
from gateway.http_client.post import Route, make_sender
from gateway.settings import Delivery
from receiver import Receiver
from tcp_server import server

HEADERS = [("Content-Type", "application/json"), ("X-Flaggateway-Delivery", "id-1")]
BODY = b'{"a":1}'
OK = b"HTTP/1.1 200 OK\r\n"

REFUSED_CERTIFICATE = "the TLS handshake failed: certificate verify failed"


async def attempt(
    url: str,
    *,
    within: float = 5.0,
    ca_file: str = "",
    reactor=None,
    sends: int = 1,
    **delivery,
) -> Attempt:
    """POST once, or several times over one sender, and close; the last attempt."""
    if reactor is None:
        from twisted.internet import reactor  # noqa: TID251 - real sockets
    sender = make_sender(reactor, Route(url, ca_file, 2, within, Delivery(**delivery)))
    try:
        for _ in range(sends):
            done = await sender.send(HEADERS, BODY)
        return done
    finally:
        await sender.close()


def answering(*parts: bytes, endless: bytes = b"") -> Callable[[socket.socket], None]:
    """Read a request, send the parts, and then the endless one again and again."""

    def act(connection: socket.socket) -> None:
        request = b""
        while not request.endswith(BODY):  # closing with unread bytes would be a reset
            request += connection.recv(65536)
        for part in parts:
            connection.sendall(part)
        while endless:
            connection.sendall(endless)

    return act


@pytest_twisted.ensureDeferred
async def test_a_receiver_gets_the_body_and_the_headers() -> None:
    """The bytes that are signed are the bytes that are sent."""
    with Receiver(lambda _: 202) as receiver:
        done = await attempt(receiver.url)
    assert (done.status, done.fault) == (202, "")
    (call,) = receiver.calls
    assert (call.body, call.id) == (b'{"a":1}', "id-1")


@pytest_twisted.ensureDeferred
async def test_a_name_and_password_in_the_address_become_credentials() -> None:
    """As in every HTTP client; they are not part of the request target."""
    with Receiver() as receiver:
        await attempt(receiver.url.replace("//", "//anna:p%40ss@"))
    (call,) = receiver.calls
    assert call.headers["authorization"] == "Basic " + b64encode(b"anna:p@ss").decode()
    assert (call.path, call.headers["host"]) == ("/hook", receiver.url.split("/")[2])


@pytest_twisted.ensureDeferred
async def test_no_cookie_comes_back() -> None:
    """Attempts have nothing to do with each other."""
    requests = []

    def act(connection: socket.socket) -> None:
        heard = b""
        while data := connection.recv(65536):
            heard += data
            if heard.endswith(BODY):
                requests.append(heard)
                heard = b""
                connection.sendall(OK + b"Set-Cookie: seen=1; Path=/\r\nContent-Length: 0\r\n\r\n")

    with server(act) as port:
        await attempt(f"http://127.0.0.1:{port}/", sends=3)
    assert len(requests) == 3
    assert all(b"cookie" not in each.lower() for each in requests)


@pytest_twisted.ensureDeferred
async def test_host_names_that_idna_refuses_are_called() -> None:
    """Containers have underscores in their names; a name in another script goes out as it is in the DNS."""
    with Receiver() as receiver:
        port = receiver.url.rsplit(":", 1)[1]
        for name, sent in (("my_service", "my_service"), ("bücher.test", "xn--bcher-kva.test")):
            done = await attempt(f"http://{name}:{port}", reactor=Rebinding(["127.0.0.1"]))
            assert (done.status, done.fault) == (204, "")
            assert receiver.calls[-1].headers["host"].startswith(sent)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
@pytest_twisted.ensureDeferred
async def test_an_ipv6_address_is_called() -> None:
    """With its brackets, as it is written in a URL."""
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with server(answering(OK + b"Content-Length: 0\r\n\r\n"), listening) as port:
        done = await attempt(f"http://[::1]:{port}/hook")
    assert (done.status, done.fault) == (200, "")


@pytest_twisted.ensureDeferred
async def test_connections_are_used_again() -> None:
    """Several messages need one handshake."""
    seen = []

    def act(connection: socket.socket) -> None:
        seen.append(connection)
        heard = b""
        while data := connection.recv(65536):
            heard += data
            if heard.endswith(BODY):  # head and body may come apart; one request gets one answer
                heard = b""
                connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with server(act) as port:
        await attempt(f"http://127.0.0.1:{port}/", sends=5)
    assert len(seen) == 1


@pytest_twisted.ensureDeferred
async def test_the_answer_s_first_bytes_and_its_retry_after_are_kept() -> None:
    """1 KiB of the body as received, whatever its encoding."""
    head = b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Encoding: gzip\r\nContent-Length: 5000\r\n\r\n"
    with server(answering(head, b"x" * 5000)) as port:
        done = await attempt(f"http://127.0.0.1:{port}/")
    assert (done.status, done.fault, done.retry_after) == (503, "", "7")
    assert done.answer == b"x" * ANSWER_KEPT


@pytest_twisted.ensureDeferred
async def test_a_redirect_is_not_followed() -> None:
    """Neither to an allowed address nor to a cloud's credentials."""
    with Receiver() as other:
        for target in (other.url, "http://169.254.169.254/latest/meta-data/"):
            head = f"HTTP/1.1 307 Away\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
            with server(answering(head)) as port:
                done = await attempt(f"http://127.0.0.1:{port}/")
            assert (done.status, done.fault) == (307, "")
    assert other.calls == []


@pytest_twisted.ensureDeferred
async def test_an_endless_body_is_cut() -> None:
    """A failed attempt, although its status was fine; memory stays bounded."""
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    with server(answering(head, endless=chunk)) as port:
        done = await attempt(f"http://127.0.0.1:{port}/")
    assert (done.status, done.fault) == (200, "the answer is too long")


@pytest_twisted.ensureDeferred
async def test_an_endless_head_is_cut() -> None:
    """Header after header: the connection is cut, the attempt has failed."""
    with server(answering(OK, endless=b"X-More: " + b"x" * 1000 + b"\r\n")) as port:
        done = await attempt(f"http://127.0.0.1:{port}/")
    assert (done.status, done.fault) == (None, "the connection was lost")


@pytest_twisted.ensureDeferred
async def test_a_slow_answer_ends_with_the_timeout() -> None:
    """One byte at a time does not extend the timeout, in the head or in the body."""

    def drip(first: bytes) -> Callable[[socket.socket], None]:
        def act(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.sendall(first)
            connection.settimeout(0.02)
            while True:
                connection.sendall(b"x")
                try:
                    if not connection.recv(1):
                        return
                except TimeoutError:
                    continue

        return act

    for first in (OK + b"X-Long: ", OK + b"Content-Length: 90000\r\n\r\n"):
        with server(drip(first)) as port:
            done = await attempt(f"http://127.0.0.1:{port}/", within=0.3)
        assert done.fault == "timed out"
        assert 0.25 <= done.duration < 3


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_never_answers_ends_with_the_timeout() -> None:
    """Silence is a failed attempt."""
    with Receiver(lambda _: "hang") as receiver:
        done = await attempt(receiver.url, within=0.3)
    assert (done.status, done.fault) == (None, "timed out")


@pytest_twisted.ensureDeferred
async def test_a_reset_and_a_closed_port_are_failed_attempts() -> None:
    """Each with its reason."""
    with Receiver(lambda _: "reset") as receiver:
        done = await attempt(receiver.url)
    assert (done.status, done.fault) == (None, "the connection was lost")
    done = await attempt(receiver.url)
    assert (done.status, done.fault) == (None, "the connection failed: Connection refused")


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_does_not_speak_http_is_a_failed_attempt() -> None:
    """An SMTP greeting instead of a response."""
    with server(answering(b"220 smtp.example.org ready\r\n" * 4)) as port:
        done = await attempt(f"http://127.0.0.1:{port}/")
    assert done.status is None
    assert done.fault in {"the receiver does not speak HTTP", "the connection was lost"}


@pytest_twisted.ensureDeferred
async def test_networks_that_are_denied_are_not_connected_to() -> None:
    """The guard checks before a socket is opened."""
    with Receiver() as receiver:
        done = await attempt(receiver.url, denied_networks=["127.0.0.0/8"])
        assert done.fault == "not called: in a network that delivery.denied_networks names"
    assert receiver.calls == []


@pytest_twisted.ensureDeferred
async def test_odd_spellings_of_an_address_are_the_address() -> None:
    """The guard checks the address that the system's resolver returns."""
    done = await attempt("http://0xa9fea9fe/", within=2)
    assert done.fault == "not called: link-local and cloud metadata addresses are never called"


class Rebinding:
    """A reactor whose resolver returns another address each time, the harmless one first."""

    def __init__(self, *answers: list[str]) -> None:
        from twisted.internet import reactor  # noqa: TID251 - real sockets

        self._real = reactor
        self._answers = list(answers)
        self.resolved = 0

    @property
    def nameResolver(self):
        """The resolver is the reactor itself."""
        return self

    def resolveHostName(self, receiver, host, port=0, *_, **__):
        """Answer with the next list."""
        found = self._answers[min(self.resolved, len(self._answers) - 1)]
        self.resolved += 1
        receiver.resolutionBegan(None)
        for address in found:
            receiver.addressResolved(IPv4Address("TCP", address, port))
        receiver.resolutionComplete()

    def __getattr__(self, name):
        return getattr(self._real, name)


@pytest_twisted.ensureDeferred
async def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    """A name is resolved once per connection, and the address of the second connection is checked like the first."""
    with Receiver() as receiver:
        port = receiver.url.rsplit(":", 1)[1]
        rebinding = Rebinding(["127.0.0.1"], ["169.254.169.254"])
        done = await attempt(f"http://rebind.test:{port}", reactor=rebinding)
        assert (done.status, rebinding.resolved) == (204, 1)
        assert receiver.calls[0].headers["host"].startswith("rebind.test")
        done = await attempt(f"http://rebind.test:{port}", reactor=rebinding)
        assert done.fault == "not called: link-local and cloud metadata addresses are never called"


@pytest_twisted.ensureDeferred
async def test_the_first_address_that_is_allowed_and_answers_is_used() -> None:
    """One is forbidden, one refuses the connection, one answers."""
    with Receiver() as receiver:
        port = receiver.url.rsplit(":", 1)[1]
        rebinding = Rebinding(["169.254.169.254", "127.0.0.2", "127.0.0.1"])
        done = await attempt(f"http://many.test:{port}", reactor=rebinding)
    assert done.status == 204


@pytest_twisted.ensureDeferred
async def test_calls_come_from_the_source_address() -> None:
    """So that receivers can allow-list the gateway."""
    peers = []

    def act(connection: socket.socket) -> None:
        peers.append(connection.getpeername()[0])
        answering(OK + b"Content-Length: 0\r\n\r\n")(connection)

    with server(act) as port:
        done = await attempt(f"http://127.0.0.1:{port}/", source_address="127.0.0.9")
    assert (done.status, peers) == (200, ["127.0.0.9"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A private certificate authority."""
    return trustme.CA()


def tls_server(authority: trustme.CA, name: str, seen: list[str | None]) -> Callable[[socket.socket], None]:
    """A receiver with a certificate for ``name``; collects the names of the TLS handshakes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    context.sni_callback = lambda _, name, __: seen.append(name)

    def act(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            answering(OK + b"Content-Length: 0\r\n\r\n")(secure)

    return act


@pytest_twisted.ensureDeferred
async def test_tls_checks_the_host_name(authority: trustme.CA, tmp_path: Path) -> None:
    """The name is sent and checked against the endpoint's own authority, whatever address it has."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    seen: list[str | None] = []
    with server(tls_server(authority, "hooks.test", seen)) as port:
        rebinding = Rebinding(["127.0.0.1"])
        done = await attempt(f"https://hooks.test:{port}/", ca_file=str(tmp_path / "ca.pem"), reactor=rebinding)
        assert (done.status, done.fault, seen) == (200, "", ["hooks.test"])
        done = await attempt(f"https://other.test:{port}/", ca_file=str(tmp_path / "ca.pem"), reactor=rebinding)
        assert done.fault.startswith(("the receiver's certificate is for another host", "the TLS handshake failed: "))
        done = await attempt(f"https://hooks.test:{port}/", reactor=rebinding)
        assert done.fault == f"{REFUSED_CERTIFICATE}: unable to get local issuer certificate"


def test_a_cancellation_while_connecting_is_no_timeout() -> None:
    """The attempt's own timer is a timeout; an attempt that is cancelled is not, and still returns an Attempt."""
    reactor = MemoryReactorClock()  # its connections are never made
    sender = make_sender(reactor, Route("http://192.0.2.1/", "", 1, 5.0, Delivery()))
    faults: list[tuple[str, float]] = []
    sender.send(HEADERS, BODY).addCallback(lambda done: faults.append((done.fault, done.duration)))
    reactor.advance(5)
    sent = sender.send(HEADERS, BODY).addCallback(lambda done: faults.append((done.fault, done.duration)))
    reactor.advance(1)
    sent.cancel()
    assert [("timed out", 5.0), ("the request was cancelled", 1.0)] == faults


@pytest_twisted.ensureDeferred
async def test_a_cancelled_attempt_is_no_timeout() -> None:
    """Cancelled while the receiver is silent; its connection is gone when the sender is closed."""
    from twisted.internet import reactor  # noqa: TID251 - real sockets

    heard: Deferred[None] = Deferred()

    def act(connection: socket.socket) -> None:
        connection.recv(65536)
        reactor.callFromThread(heard.callback, None)
        while connection.recv(65536):  # head and body may come apart
            pass

    with server(act) as port:
        sender = make_sender(reactor, Route(f"http://127.0.0.1:{port}/", "", 1, 20.0, Delivery()))
        sent = sender.send(HEADERS, BODY)
        await heard
        sent.cancel()
        done = await sent
        await sender.close()
    assert (done.status, done.fault, done.label) == (None, "the request was cancelled", "broken")
