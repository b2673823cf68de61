"""Hostile receivers, all at once, on real sockets: what a real database records of each."""

from __future__ import annotations

import json
import random
import socket
import sqlite3
import ssl
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
import pytest_twisted
import trustme
from twisted.internet.address import IPv4Address
from twisted.internet.task import deferLater

from gateway.flags import Snapshot, load
from gateway.settings import Endpoint, Sdk, Settings
from gateway.storage import Database
from gateway.webhooks import Webhooks
from outbox_memory import WebhookCounts
from receiver import Receiver
from tcp_server import server

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"
TIMEOUT = 1.0  # seconds; for receivers that drip, since a busy machine may take as long for a handshake
LINK_LOCAL = "http://169.254.169.254/latest/meta-data/"
REFUSED = "not called: link-local and cloud metadata addresses are never called"

Act = Callable[[socket.socket], None]


def config(number: int) -> Snapshot:
    """A config whose one flag has this value."""
    body = {"p": {"s": "salt"}, "f": {"number": {"t": 2, "v": {"i": number}, "i": f"v{number}"}}}
    return load(json.dumps(body).encode(), f'"{number}"')


def heard(connection: socket.socket) -> None:
    """Read one request: closing with something unread would be a reset."""
    request = b""
    while b"\r\n\r\n" not in request or not request.endswith(b"}"):
        request += connection.recv(65536)


def answering(*parts: bytes) -> Act:
    """Answer with these bytes."""

    def act(connection: socket.socket) -> None:
        heard(connection)
        connection.sendall(b"".join(parts))

    return act


def endless(first: bytes, again: bytes, pause: float = 0.0) -> Act:
    """Answer without an end."""

    def act(connection: socket.socket) -> None:
        heard(connection)
        connection.sendall(first)
        connection.settimeout(pause or None)
        while True:
            connection.sendall(again)
            if pause:
                with suppress(TimeoutError):
                    if not connection.recv(1):
                        return

    return act


def secured(authority: trustme.CA, name: str) -> Act:
    """Answer over TLS, with a certificate for ``name``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    def act(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            answering(OK, EMPTY)(secure)

    return act


class Names:
    """A reactor that resolves names under ``.test``: first to a harmless address, later to a link-local one."""

    def __init__(self) -> None:
        from twisted.internet import reactor  # noqa: TID251 - real sockets

        self._real = reactor
        self.queries: dict[str, int] = {}

    @property
    def nameResolver(self):
        """The resolver is the reactor itself."""
        return self

    def resolveHostName(self, receiver, host, port=0, *_, **__):
        """Change the address of ``rebinding.test`` between the first query and the second."""
        count = self.queries[host] = self.queries.get(host, 0) + 1
        receiver.resolutionBegan(None)
        address = "169.254.169.254" if host == "rebinding.test" and count > 1 else "127.0.0.1"
        receiver.addressResolved(IPv4Address("TCP", address, port))
        receiver.resolutionComplete()

    def __getattr__(self, name):
        return getattr(self._real, name)


EXPECTED = {
    "endless body": (200, "the answer is too long"),
    "endless head": (None, "the connection was lost"),
    "drips a body": (200, "timed out"),
    "drips a head": (None, "timed out"),
    "huge header": (None, "the connection was lost"),
    "redirects": (307, "answered 307"),
    "link-local": (None, REFUSED),
    "wrong name": (None, "the receiver's certificate is for another host"),
    "unknown authority": (
        None,
        "the TLS handshake failed: certificate verify failed: unable to get local issuer certificate",
    ),
    "no HTTP": (None, "the receiver does not speak HTTP"),
    "rebinding": (204, "answered 204"),
}


def endpoints(stack: ExitStack, authority: trustme.CA) -> dict[str, str]:
    """Start the receivers; their URLs by name."""
    acts = {
        "endless body": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"2000\r\n" + b"x" * 0x2000 + b"\r\n"),
        "endless head": endless(OK, b"X-More: " + b"x" * 1000 + b"\r\n"),
        "drips a body": endless(OK + b"Content-Length: 90000\r\n\r\n", b"x", 0.05),
        "drips a head": endless(OK + b"X-Long: ", b"x", 0.05),
        "huge header": answering(OK, b"X-Huge: " + b"x" * 2_000_000 + b"\r\n", EMPTY),
        "redirects": answering(b"HTTP/1.1 307 Away\r\nLocation: " + LINK_LOCAL.encode() + b"\r\n", EMPTY),
        "no HTTP": answering(b"220 smtp.example.org ready\r\n" * 4),
        "wrong name": secured(authority, "right.test"),
        "unknown authority": secured(trustme.CA(), "unknown.test"),
    }
    ports = {name: stack.enter_context(server(act)) for name, act in acts.items()}
    urls = {name: f"http://127.0.0.1:{port}/" for name, port in ports.items()}
    urls["wrong name"] = f"https://wrong.test:{ports['wrong name']}/"
    urls["unknown authority"] = f"https://unknown.test:{ports['unknown authority']}/"
    urls["link-local"] = LINK_LOCAL
    return urls


def recorded(database: Path) -> dict[str, tuple[int | None, str]]:
    """Status and outcome of the first attempt at each endpoint."""
    query = "SELECT endpoint, status, outcome FROM messages JOIN attempts ON message = row WHERE number = 1"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return {name: (status, outcome) for name, status, outcome in connection.execute(query)}


@pytest.mark.timeout(120)
@pytest_twisted.ensureDeferred
async def test_each_one_is_recorded_as_an_attempt_with_its_reason(tmp_path: Path) -> None:
    """Each message waits for its next attempt, with status and reason; the healthy receiver is not affected."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with ExitStack() as stack:
        well, rebinding = stack.enter_context(Receiver()), stack.enter_context(Receiver())
        urls = endpoints(stack, authority)
        urls["rebinding"] = rebinding.url.replace("127.0.0.1", "rebinding.test")
        urls["well"] = well.url
        hooks = [
            Endpoint(
                name=name,
                url=url,
                format="notifier",
                timeout=TIMEOUT if name.startswith("drips") else 30.0,
                ca_file=str(tmp_path / "ca.pem"),
            )
            for name, url in urls.items()
        ]
        reactor = Names()
        settings = Settings(sdks={"one": Sdk(key="k")}, webhooks=hooks)
        database = Database(reactor, tmp_path / "outbox.sqlite3")
        webhooks = Webhooks(
            reactor, settings, wall=reactor.seconds, rng=random.Random(1), hostname="host", metrics=WebhookCounts()
        )
        database.open()
        await webhooks.configure(settings, database)
        await webhooks.record("one", config(0))
        await webhooks.record("one", config(1))
        seen: dict[str, tuple[int | None, str]] = {}
        for _ in range(1200):
            seen = recorded(tmp_path / "outbox.sqlite3")
            if seen.keys() == urls.keys():
                break
            await deferLater(reactor, 0.05)
        await webhooks.stop()
        await database.close()
    assert seen == EXPECTED | {"well": (204, "answered 204")}
    assert len(well.taken) == len(rebinding.taken) == reactor.queries["rebinding.test"] == 1
