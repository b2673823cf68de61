"""Upstreams over TLS and through forward proxies, on loopback, with certificate authorities of the test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
import pytest
import pytest_twisted
import trustme
from OpenSSL import SSL
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import WrappingFactory
from zope.interface import implementer

from gateway.settings import Settings
from gateway.testing.cdn import FakeCdn
from gateway.upstream import Registry

KEY = "a" * 22 + "/" + "b" * 22
PATH = f"/configuration-files/{KEY}/config_v6.json"
BODY = msgspec.json.encode({"f": {"flag": {"t": 1, "v": {"s": "red"}}}})


HANDSHAKE = "config fetch failed: the TLS handshake with the upstream failed: certificate verify failed"


class Proxied(Protocol):
    """A minimal forward proxy: CONNECT opens a tunnel, other requests go to the host of their absolute URL."""

    def connectionMade(self):
        self.head, self.peer = b"", None

    def dataReceived(self, data):
        if self.peer is not None:
            self.peer.transport.write(data)
            return
        self.head += data
        if b"\r\n\r\n" in self.head:
            self.factory.heads.append(self.head.split(b"\r\n\r\n")[0].decode())
            self.answer()

    def answer(self):
        behaviour = self.factory.behaviour
        if behaviour == "hang":
            return
        if behaviour != "ok":
            self.transport.write(behaviour)
            if behaviour.endswith(b"\r\n\r\n"):
                self.transport.loseConnection()
            return
        method, target, _ = self.factory.heads[-1].split("\r\n")[0].split(" ")
        where = target if method == "CONNECT" else target.split("/")[2]
        host, port = where.rsplit(":", 1)
        peer = Relay(self)
        connecting = connectProtocol(HostnameEndpoint(self.factory.reactor, host, int(port)), peer)
        connecting.addCallback(lambda _: self.joined(peer, method))

    def joined(self, peer, method):
        self.peer = peer
        if method == "CONNECT":
            self.transport.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
        else:
            peer.transport.write(self.head.replace(self.head.split(b" ")[1], PATH.encode(), 1))

    def connectionLost(self, reason):
        if self.peer is not None:
            self.peer.transport.loseConnection()


class Relay(Protocol):
    def __init__(self, back):
        self.back = back

    def dataReceived(self, data):
        self.back.transport.write(data)

    def connectionLost(self, reason):
        self.back.transport.loseConnection()


class Proxies(Factory):
    protocol = Proxied
    noisy = False

    def __init__(self, reactor):
        self.reactor = reactor
        self.behaviour = "ok"
        self.heads = []


class Remembering:
    def __init__(self):
        self.outcomes = []
        self.messages = []

    def record(self, sdk_id, ok, message):
        self.messages.append(message)

    def requested(self, sdk_id, status, seconds): ...

    def fetched(self, sdk_id, outcome, seconds):
        self.outcomes.append(outcome)


@implementer(IOpenSSLServerConnectionCreator)
class Contexts:
    """A server's TLS contexts, from one file with key and certificates."""

    def __init__(self, path):
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.use_privatekey_file(path)
        self.context.use_certificate_chain_file(path)

    def serverConnectionForTLS(self, tlsProtocol):
        return SSL.Connection(self.context, None)


class Net:
    """A CDN with and without TLS, a proxy, an authority; everything on loopback."""

    def __init__(self, reactor, home):
        self.reactor = reactor
        self.authority = trustme.CA()
        self.ca_file = home / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.closing = []
        self.reporter = Remembering()
        self.registry = None
        self.proxies = Proxies(reactor)
        self.proxy = f"127.0.0.1:{self.listen(WrappingFactory(self.proxies))}"

    def listen(self, factory, tls=None):
        if tls is None:
            port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = self.reactor.listenSSL(0, factory, tls, interface="127.0.0.1")

        def close():
            for protocol in list(factory.protocols):
                protocol.transport.abortConnection()
            return maybeDeferred(port.stopListening)

        self.closing.append(close)
        return port.getHost().port

    def context(self, *names):
        path = self.ca_file.with_name("-".join(names) + ".pem")
        self.authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(path)
        return Contexts(str(path))

    def cdn(self, *names):
        """A CDN; with *names*, one that speaks TLS with a certificate for them."""
        cdn = FakeCdn(BODY)
        port = cdn.listen(self.reactor, self.context(*names) if names else None)
        self.closing.append(cdn.close)
        return cdn, port

    async def open(self, base, *, proxy="", environ=None, **limits):
        settings = msgspec.convert(
            {
                "sdks": {"one": {"key": KEY, "base_url": base, "poll_interval": 3600}},
                "upstream": {"timeout": 5, **limits},
                "http_proxy": {"url": proxy},
            },
            Settings,
        )
        self.registry = Registry(
            self.reactor,
            settings,
            rng=Random(1),
            reporter=self.reporter,
            environ=environ,
            on_change=lambda sdk, old, new: None,
        )
        self.registry.start()
        sdk = self.registry.by_id("one")
        await sdk.when_loaded()
        return sdk

    async def close(self):
        if self.registry is not None:
            await self.registry.stop()
        await gatherResults([close() for close in self.closing])


@pytest_twisted.async_yield_fixture
async def net(reactor, tmp_path):
    """Everything on loopback."""
    made = Net(reactor, tmp_path)
    yield made
    await made.close()


def loaded(sdk):
    return sdk.snapshot is not None and sdk.snapshot.body == BODY


@pytest_twisted.ensureDeferred
async def test_private_authorities(net):
    """A certificate of a private authority is accepted once upstream.ca_file names it."""
    _, port = net.cdn("localhost")
    assert loaded(await net.open(f"https://localhost:{port}", ca_file=str(net.ca_file)))


@pytest_twisted.ensureDeferred
async def test_unknown_authorities_are_refused(net):
    """Without the authority the handshake fails, and that is the kind of the failure."""
    cdn, port = net.cdn("localhost")
    sdk = await net.open(f"https://localhost:{port}")
    assert (False, ["tls"], 0) == (loaded(sdk), net.reporter.outcomes, cdn.count)
    assert [f"{HANDSHAKE}: unable to get local issuer certificate (localhost:{port})"] == net.reporter.messages


@pytest_twisted.ensureDeferred
async def test_an_expired_certificate_is_called_that(net):
    """The most usual reason by far why one that was good is refused."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    path = net.ca_file.with_name("expired.pem")
    expired = net.authority.issue_cert("localhost", not_before=past - timedelta(1), not_after=past)
    expired.private_key_and_cert_chain_pem.write_to_path(path)
    cdn = FakeCdn(BODY)
    port = cdn.listen(net.reactor, Contexts(str(path)))
    net.closing.append(cdn.close)
    await net.open(f"https://localhost:{port}", ca_file=str(net.ca_file))
    assert [f"{HANDSHAKE}: certificate has expired (localhost:{port})"] == net.reporter.messages


@pytest_twisted.ensureDeferred
async def test_certificates_of_others_are_refused(net):
    """A certificate for another host name fails the handshake."""
    cdn, port = net.cdn("elsewhere.example")
    sdk = await net.open(f"https://localhost:{port}", ca_file=str(net.ca_file))
    assert (False, ["tls"], 0) == (loaded(sdk), net.reporter.outcomes, cdn.count)


@pytest_twisted.ensureDeferred
async def test_an_endless_body_over_tls_is_cut_off(net):
    """The connection of a body that is too large is aborted, and the next fetch makes a new one."""
    cdn, port = net.cdn("localhost")
    cdn.mode = "oversized"
    await net.open(f"https://localhost:{port}", ca_file=str(net.ca_file), max_bytes=100_000)
    assert ["too_large"] == net.reporter.outcomes
    sent = cdn.sent
    cdn.mode = "ok"
    assert (await net.registry.by_id("one").refresh()).changed
    assert sent == cdn.sent


@pytest_twisted.ensureDeferred
async def test_http_through_a_proxy(net):
    """An http upstream is requested in absolute form, with the proxy's credentials, over one kept connection."""
    cdn, port = net.cdn()
    sdk = await net.open(f"http://127.0.0.1:{port}", proxy=f"http://me:pass%20word@{net.proxy}")
    assert (True, 1) == (loaded(sdk), cdn.count)
    first, *headers = net.proxies.heads[0].split("\r\n")
    assert f"GET http://127.0.0.1:{port}{PATH} HTTP/1.1" == first
    assert "proxy-authorization: basic bwu6cgfzcyb3b3jk" in [header.lower() for header in headers]
    assert "proxy-authorization" in cdn.seen[0]  # this little proxy passes everything on; a real one takes it out


@pytest_twisted.ensureDeferred
async def test_https_through_a_proxy(net):
    """An https upstream is reached by CONNECT; key and headers stay inside the tunnel."""
    cdn, port = net.cdn("localhost")
    sdk = await net.open(f"https://localhost:{port}", proxy=f"http://me:pw@{net.proxy}", ca_file=str(net.ca_file))
    assert (True, 1) == (loaded(sdk), cdn.count)
    assert None is (await sdk.refresh()).error
    assert [
        f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\nProxy-Authorization: Basic bWU6cHc="
    ] == net.proxies.heads
    assert "proxy-authorization" not in cdn.seen[0]


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_speaks_tls(net):
    """The connection to the proxy may use TLS as well, also with a tunnel inside."""
    secure = net.listen(WrappingFactory(net.proxies), net.context("localhost"))
    cdn, port = net.cdn("localhost")
    sdk = await net.open(f"https://localhost:{port}", proxy=f"https://localhost:{secure}", ca_file=str(net.ca_file))
    assert (True, 1, 1) == (loaded(sdk), cdn.count, len(net.proxies.heads))


@pytest_twisted.ensureDeferred
async def test_the_environment_names_a_proxy(net):
    """HTTPS_PROXY is used for names that are not loopback; here the tunnel's far end cannot be resolved."""
    net.proxies.behaviour = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
    environ = {"HTTPS_PROXY": f"http://{net.proxy}", "NO_PROXY": "other.example"}
    sdk = await net.open("https://cdn.example", environ=environ)
    assert (False, ["proxy"]) == (loaded(sdk), net.reporter.outcomes)
    assert ["CONNECT cdn.example:443 HTTP/1.1\r\nHost: cdn.example:443"] == net.proxies.heads


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy refused to connect: 407"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "the proxy does not speak HTTP"),
        (b"\r\n\r\n", "the proxy does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 17_000, "the proxy's answer to CONNECT is too long"),
        ("hang", "the proxy did not answer in time"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_faults_of_a_proxy(net, behaviour, reason):
    """A proxy that refuses, sends too much or never answers: each has its text, in bounded time and memory."""
    net.proxies.behaviour = behaviour
    sdk = await net.open("https://cdn.example", proxy=f"http://{net.proxy}", connect_timeout=0.3)
    error = (await sdk.refresh()).error
    assert f"config fetch failed: unexpected error occurred while trying to fetch config JSON: {reason}" == error
    assert ["proxy", "proxy"] == net.reporter.outcomes


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_is_down(net):
    """A proxy that cannot be connected to is a failed connection."""
    sdk = await net.open("https://cdn.example", proxy="http://me:secret@127.0.0.1:1")
    assert (False, ["connect"]) == (loaded(sdk), net.reporter.outcomes)
    place = "cdn.example:443 through the proxy 127.0.0.1:1"
    assert [f"config fetch failed: the connection failed: Connection refused ({place})"] == net.reporter.messages
