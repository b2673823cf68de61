"""HTTP/2 that a client begins without TLS, because it knows that the port speaks it (RFC 9113, 3.3)."""

from __future__ import annotations

from typing import Any

import h2.connection
import h2.events
import pytest
from h2.config import H2Configuration

from gateway.web.server import FastHttpFactory
from gateway.web.server.http1 import HEAD_DEADLINE
from server_paths import Client, ServerPaths
from web_memory import MemorySite

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}
EVALUATED = b'{"value":true,"variationId":"v1"}'
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
KEYS = b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n"


class Knowing:
    """A client that begins with HTTP/2."""

    def __init__(self, piece: int = 0) -> None:
        self.memory = MemorySite(CONFIG)
        self.factory = FastHttpFactory(self.memory.site, self.memory.clock)
        self.factory.startFactory()
        self.line = Client(self.factory)
        self.events: list[Any] = []
        self._piece = piece
        self._h2 = h2.connection.H2Connection(H2Configuration(client_side=True, header_encoding="latin-1"))
        self._h2.initiate_connection()
        self.exchange()

    def exchange(self) -> None:
        """Carry bytes both ways until neither side has any more."""
        while sent := self._h2.data_to_send():
            self.line.send(sent, self._piece)
            self.memory.clock.advance(0)
            self.events += self._h2.receive_data(self.line.everything())

    def request(self, method: str, path: str, body: bytes = b"") -> int:
        """Send a request; return the number of its stream."""
        number = int(self._h2.get_next_available_stream_id())
        head = [(":method", method), (":authority", "g"), (":scheme", "http"), (":path", path)]
        self._h2.send_headers(number, head, end_stream=not body)
        if body:
            self._h2.send_data(number, body, end_stream=True)
        self.exchange()
        return number

    def body(self, number: int) -> bytes:
        """Return the body as far as it has come."""
        parts = [e for e in self.events if isinstance(e, h2.events.DataReceived) and e.stream_id == number]
        return b"".join(part.data for part in parts)


@pytest.mark.parametrize("piece", [0, 1, 17, 18])
def test_requests_are_answered(piece: int) -> None:
    """Several on one connection, however the preface is cut into segments; a stream is one of them."""
    client = Knowing(piece)
    stream = client.request("GET", "/sse/sdk1/eval-all?mode=delta")
    evaluated = [client.request("POST", "/api/sdk1/eval", b'{"key":"on"}') for _ in range(3)]
    assert [EVALUATED] * 3 == [client.body(number) for number in evaluated]
    assert b"event: put" in client.body(stream)
    assert not client.line.closed


def test_nothing_follows_a_request_of_the_same_bytes() -> None:
    """Behind another request the preface is malformed; what begins as it does may be a method."""
    for answer in ServerPaths(CONFIG).answers(KEYS + PREFACE):
        assert [b"200", b"400"] == [part[:3] for part in answer.data.split(b"HTTP/1.1 ")[1:]]
    klein, fast = ServerPaths(CONFIG).answers(b"PROPFIND /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n", 1)
    assert klein == fast
    assert fast.data.startswith(b"HTTP/1.1 405 ")


def test_a_preface_has_the_deadline_of_a_head() -> None:
    """What has not come after 10 s is 408."""
    memory = MemorySite(CONFIG)
    factory = FastHttpFactory(memory.site, memory.clock)
    factory.startFactory()
    line = Client(factory)
    line.send(PREFACE[:10])
    assert b"" == line.received()
    for _ in range(int(HEAD_DEADLINE) + 2):
        memory.clock.advance(1)
    assert line.everything().startswith(b"HTTP/1.1 408 ")


def test_a_drain_ends_the_connection() -> None:
    """It gets GOAWAY, and closes behind what is answered."""
    client = Knowing()
    client.request("GET", "/api/sdk1/keys")
    client.factory.begin_drain()
    client.events += client._h2.receive_data(client.line.everything())
    assert any(isinstance(event, h2.events.ConnectionTerminated) for event in client.events)
    assert client.line.closed
