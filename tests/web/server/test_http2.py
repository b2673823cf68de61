"""Bounds of an HTTP/2 connection: one request too many or too large is refused, a broken connection is over."""

from __future__ import annotations

from typing import Any

import h2.connection
import h2.events
import pytest
from h2.config import H2Configuration
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gateway.web.server.http1 import BODY_DEADLINE, BODY_LIMIT, HEADER_COUNT_LIMIT, HEADER_LIMIT, REQUEST_LINE_LIMIT
from gateway.web.server.http2 import STREAM_LIMIT
from web_memory import MemorySite

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}
EVALUATED = b'{"value":true,"variationId":"v1"}'


class NegotiatedTransport(StringTransport):
    """What TLS gives after both sides have chosen HTTP/2."""

    negotiatedProtocol = b"h2"

    def abortConnection(self) -> None:
        self.disconnecting = True


class Client:
    """One HTTP/2 connection to a site in memory."""

    def __init__(self) -> None:
        self.memory = MemorySite(CONFIG)
        self.protocol = self.memory.site.buildProtocol(None)
        self.transport = NegotiatedTransport()
        self.protocol.makeConnection(self.transport)
        self.h2 = h2.connection.H2Connection(
            H2Configuration(client_side=True, header_encoding="latin-1", validate_outbound_headers=False)
        )
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.exchange()

    def exchange(self) -> None:
        """Carry bytes both ways until neither side has any more."""
        while True:
            sent = self.h2.data_to_send()
            if sent:
                self.protocol.dataReceived(sent)
            self.memory.clock.advance(0)
            received = self.transport.value()
            self.transport.clear()
            if received:
                self.events += self.h2.receive_data(received)
            elif not sent:
                return

    def begin(self, method: str, path: str | None, *fields: tuple[str, str], end: bool = True) -> int:
        """Send the head of a request and return the number of its stream."""
        stream = int(self.h2.get_next_available_stream_id())
        pseudo = [(":method", method), (":authority", "g"), (":scheme", path and "https"), (":path", path)]
        self.h2.send_headers(stream, [pair for pair in pseudo if pair[1] is not None] + list(fields), end_stream=end)
        self.exchange()
        return stream

    def send(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """Send a body for as long as it is taken."""
        for start in range(0, len(body), 16_000):
            if self.status(stream):
                return
            self.h2.send_data(stream, body[start : start + 16_000], end_stream=end and start + 16_000 >= len(body))
            self.exchange()

    def status(self, stream: int) -> int:
        """Return the status that has come, or 0."""
        heads = [e for e in self.events if isinstance(e, h2.events.ResponseReceived) and e.stream_id == stream]
        return int(dict(heads[0].headers)[":status"]) if heads else 0

    def body(self, stream: int) -> bytes:
        """Return the body as far as it has come."""
        parts = [e for e in self.events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream]
        return b"".join(part.data for part in parts)

    def works(self) -> bool:
        """Whether the connection still answers."""
        stream = self.begin("POST", "/api/sdk1/eval", end=False)
        self.send(stream, b'{"key":"on"}')
        return (200, EVALUATED) == (self.status(stream), self.body(stream))


@pytest.fixture
def client():
    client = Client()
    yield client
    client.protocol.connectionLost(Failure(ConnectionDone()))
    assert [] == [call for call in client.memory.clock.getDelayedCalls() if call.time > client.memory.clock.seconds()]


def test_a_request_is_answered(client):
    """The answer is the one that HTTP/1.1 gives."""
    assert client.works()


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/api/sdk1/keys", [("x", "y" * (HEADER_LIMIT - 1))], 200),
        ("/api/sdk1/keys", [("x", "y" * HEADER_LIMIT)], 431),
        ("/api/sdk1/keys", [(f"x{n}", "y") for n in range(HEADER_COUNT_LIMIT)], 200),
        ("/api/sdk1/keys", [(f"x{n}", "y") for n in range(HEADER_COUNT_LIMIT + 1)], 431),
        ("/" + "y" * (REQUEST_LINE_LIMIT - 1), [], 404),
        ("/" + "y" * REQUEST_LINE_LIMIT, [], 414),
    ],
)
def test_a_head_beyond_a_limit_costs_its_own_request_only(client, path, fields, status):
    """Targets and header fields have the limits of HTTP/1.1, and the other requests of the connection go on."""
    assert status == client.status(client.begin("GET", path, *fields))
    assert client.works()


def test_a_request_without_a_path_is_malformed(client):
    """``CONNECT`` names no path, and nothing here can be connected to."""
    assert 400 == client.status(client.begin("CONNECT", None))
    assert client.works()


def test_a_method_of_odd_bytes_is_not_allowed(client):
    """HTTP/2 has no grammar for methods; one that is not even ASCII is refused like any unknown one."""
    assert 405 == client.status(client.begin("G\xe9T", "/api/sdk1/keys"))


@pytest.mark.parametrize(("size", "status"), [(BODY_LIMIT, 400), (BODY_LIMIT + 1, 413)])
def test_a_body_beyond_the_limit_costs_its_own_request_only(client, size, status):
    """One byte too many is 413; the connection goes on."""
    stream = client.begin("POST", "/api/sdk1/eval", end=False)
    client.send(stream, b"x" * size)
    assert status == client.status(stream)
    assert client.works()


def test_a_body_that_does_not_come_is_given_up(client):
    """After the deadline the request is answered 408, however busy the connection is otherwise."""
    stream = client.begin("POST", "/api/sdk1/eval", end=False)
    for _ in range(3):
        client.memory.clock.advance(BODY_DEADLINE / 3 - 1)
        assert client.works()
    assert 0 == client.status(stream)
    client.memory.clock.advance(3)
    client.exchange()
    assert 408 == client.status(stream)
    assert client.works()


def test_an_abandoned_request_is_forgotten(client):
    """A client may take back a request whose body it has not sent."""
    client.h2.reset_stream(client.begin("POST", "/api/sdk1/eval", end=False))
    client.exchange()
    assert client.works()


def test_a_request_that_is_taken_back_at_once_is_not_answered(client):
    """Head and reset in the same bytes cost no evaluation, and no line in the log."""
    for _ in range(20):
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(
            stream, [(":method", "GET"), (":authority", "g"), (":scheme", "https"), (":path", "/api/sdk1/keys")], True
        )
        client.h2.reset_stream(stream)
    client.exchange()
    assert [] == client.memory.metrics.answers
    assert client.works()
    assert 1 == len(client.memory.metrics.answers)


def test_priorities_of_requests_that_never_come_are_not_kept(client):
    """Any number of them leaves the connection as it was."""
    for number in range(1, 3_000, 2):
        client.h2.prioritize(number, weight=16)
    client.exchange()
    stream = client.h2.get_next_available_stream_id()
    assert 1 == stream
    assert client.works()


def test_a_broken_connection_is_said_once_and_read_no_more(client):
    """After the first violation nothing of what follows is parsed or answered."""
    client.protocol.dataReceived(b"\0\0\0\x09\0\0\0\0\1" * 3)  # CONTINUATION of nothing
    answer = client.transport.value()
    assert answer
    for _ in range(10):
        client.protocol.dataReceived(b"\0\0\0\x09\0\0\0\0\1" * 100)
    assert answer == client.transport.value()
    assert client.transport.disconnecting


def test_streams_of_one_connection_are_bounded(client):
    """The limit is announced, and is as high as the recommended least."""
    assert STREAM_LIMIT == client.h2.remote_settings.max_concurrent_streams
