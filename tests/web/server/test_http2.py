"""Bounds of an HTTP/2 connection: one request too many or too large is refused, a broken connection is over."""

from __future__ import annotations

import json
from typing import Any

import h2.connection
import h2.events
import pytest
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gateway.flags import load
from gateway.web.server import FastHttpFactory, TlsWriter
from gateway.web.server.http1 import (
    BODY_DEADLINE,
    BODY_LIMIT,
    HEAD_DEADLINE,
    HEADER_COUNT_LIMIT,
    HEADER_LIMIT,
    REQUEST_LINE_LIMIT,
    UNREAD_TIMEOUT,
)
from gateway.web.server.http2 import Http2Connection
from gateway.web.server.http2_bounds import BODIES_LIMIT, RESETS, STREAM_LIMIT, UNSENT_LIMIT
from web_memory import MemorySite, Refreshed

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}
LARGE = {"f": {f"flag{n}": {"t": 1, "v": {"s": "x" * 1000}, "i": "v"} for n in range(50)}}  # 50 KB for each user
EVALUATED = b'{"value":true,"variationId":"v1"}'


class NegotiatedTransport(StringTransport):
    """What TLS gives after both sides have chosen HTTP/2."""

    negotiatedProtocol = b"h2"

    def abortConnection(self) -> None:
        self.disconnecting = True


class MemoryWriter(TlsWriter):
    """Writes to a transport that is no socket."""

    count = 0

    def write(self, transport: Any, data: bytes) -> None:
        self.count += 1
        transport.write(data)

    def close(self, transport: Any) -> None:
        transport.loseConnection()


class Client:
    """One HTTP/2 connection to a site in memory."""

    def __init__(self, config: object = CONFIG, window: int | None = None) -> None:
        self.memory = MemorySite(config)
        self.factory = FastHttpFactory(self.memory.site, self.memory.clock, MemoryWriter())
        self.factory.startFactory()
        self.protocol = Http2Connection(self.factory)
        self.transport = NegotiatedTransport()
        self.protocol.makeConnection(self.transport)
        self.h2 = h2.connection.H2Connection(
            H2Configuration(client_side=True, header_encoding="latin-1", validate_outbound_headers=False)
        )
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.exchange()
        if window is not None:
            self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
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

    def post(self, path: str, body: bytes = b"{}") -> int:
        """Send a whole request and return the number of its stream."""
        stream = self.begin("POST", path, end=False)
        self.h2.send_data(stream, body, end_stream=True)
        self.exchange()
        return stream

    def resets(self) -> dict[int, int]:
        """Return the error code of each stream that the server has reset."""
        return {e.stream_id: int(e.error_code) for e in self.events if isinstance(e, h2.events.StreamReset)}

    def left(self) -> list[int]:
        """Return the error codes of the GOAWAY frames that have come."""
        return [int(e.error_code) for e in self.events if isinstance(e, h2.events.ConnectionTerminated)]

    def wait(self, seconds: int) -> None:
        """Let time pass, second by second."""
        for _ in range(seconds):
            self.memory.clock.advance(1)
        self.exchange()

    def works(self) -> bool:
        """Whether the connection still answers."""
        stream = self.begin("POST", "/api/sdk1/eval", end=False)
        self.send(stream, b'{"key":"on"}')
        return (200, EVALUATED) == (self.status(stream), self.body(stream))


@pytest.fixture
def client():
    client = Client()
    yield client
    close(client)


def close(client: Client) -> None:
    """End the connection, after which no timer is left."""
    client.protocol.connectionLost(Failure(ConnectionDone()))
    client.factory.stopFactory()
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


@pytest.mark.parametrize("path", ["api/sdk1/keys", "x", "http://g/api/sdk1/keys", "*x"])
def test_a_path_without_a_slash_is_malformed(client, path):
    """The target of a request begins with a slash (RFC 9113, 8.3.1)."""
    assert 400 == client.status(client.begin("GET", path))
    assert client.works()


@pytest.mark.parametrize("host", ["a b", "<script>", "a:99999"])
def test_a_host_that_is_none_is_refused(client, host):
    """As over HTTP/1.1; RFC 9113 (8.3.1) puts it into ``:authority``."""
    stream = int(client.h2.get_next_available_stream_id())
    fields = [(":method", "GET"), (":authority", host), (":scheme", "https"), (":path", "/api/sdk1/keys")]
    client.h2.send_headers(stream, fields, end_stream=True)
    client.exchange()
    assert 400 == client.status(stream)
    assert client.works()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("PUT", "/api/sdk1/eval"),
        ("DELETE", "/configuration-files/configcat-proxy/sdk1/config_v6.json"),
        ("GET", "//api//sdk1/keys"),
        ("POST", "/api/./sdk1/keys"),
        ("OPTIONS", "//api//sdk1/eval"),
        ("POST", "/ofrep/v1/evaluate/flags/.."),
        ("GET", "/api/sdk1/%zz"),
        ("OPTIONS", "*"),
        ("OPTIONS", "/api/sdk1/eval"),
        ("HEAD", "/api/sdk1/keys"),
        ("HEAD", "/sse/sdk1/eval-all"),
        ("GET", "/api/nope/keys"),
        ("GET", "/api/sdk1/keys/"),
    ],
)
def test_the_answer_is_that_of_http1(client, method, path):
    """Status, header fields and body are the same on both protocols, whatever the route."""
    expected = client.memory.request(method, path, {"Connection": "close", "Origin": "https://a.example"})
    stream = client.begin(method, path, ("origin", "https://a.example"))
    found = [e for e in client.events if isinstance(e, h2.events.ResponseReceived) and e.stream_id == stream]
    headers = {name: value for name, value in found[0].headers if not name.startswith(":")}
    own = {"connection", "transfer-encoding"}
    assert expected.status == client.status(stream)
    assert {name.lower(): value for name, value in expected.headers if name.lower() not in own} == headers
    assert expected.body == client.body(stream)
    assert 0 == client.memory.site.answering


@pytest.mark.parametrize(
    ("path", "field", "status", "origin"),
    [
        ("/sse/sdk1/eval/" + "A" * REQUEST_LINE_LIMIT, ("x", "1"), 414, "https://a.example"),
        ("/api/sdk1/keys", ("x", "x" * HEADER_LIMIT), 431, "https://a.example"),
        ("/hook/sdk1", ("x", "x" * HEADER_LIMIT), 431, None),
    ],
)
def test_a_refusal_can_be_read_by_a_script(client, path, field, status, origin):
    """It has the CORS headers of its section; the hook has none."""
    stream = client.begin("GET", path, ("origin", "https://a.example"), field)
    assert status == client.status(stream)
    head = next(e for e in client.events if isinstance(e, h2.events.ResponseReceived) and e.stream_id == stream)
    assert origin == dict(head.headers).get("access-control-allow-origin")


def test_a_short_url_is_issued_and_opened(client):
    """The stream of a URL, its refusal and its expiry are those of HTTP/1.1; the URL is good for both."""
    number = client.post("/sse/sdk1/streams", b'{"key":"on"}')
    assert 201 == client.status(number)
    url = json.loads(client.body(number))["url"]
    opened = client.begin("GET", url)
    assert (200, True) == (client.status(opened), EVALUATED in client.body(opened))
    assert EVALUATED in client.memory.request("GET", url).body
    assert 403 == client.status(client.begin("GET", url[:-1]))
    client.memory.clock.advance(86_400)
    assert 410 == client.status(client.begin("GET", url))
    assert opened not in client.resets()


def test_a_stream_of_a_client_that_does_not_read_is_dropped():
    """After the stall time it is reset and what was unsent is freed; other streams have their heartbeats."""
    client = Client(LARGE, window=0)
    stalled = client.begin("GET", "/sse/sdk1/eval-all")
    reading = client.begin("GET", "/sse/sdk1/eval-all")
    client.h2.increment_flow_control_window(200_000, reading)
    client.h2.increment_flow_control_window(200_000)
    client.exchange()
    assert 0 == len(client.body(stalled))
    size = len(client.body(reading))
    assert 50_000 < size
    assert 50_000 < len(client.protocol._open[stalled].unsent)
    wheel = client.memory.hub.wheel
    assert 2 == len(wheel)
    for _ in range(400):
        client.memory.clock.advance(0.25)
        wheel.turn(client.memory.clock.seconds())
    client.exchange()
    assert [reading] == list(client.protocol._open)
    assert {stalled: ErrorCodes.CANCEL} == client.resets()
    assert 1 == len(wheel)
    assert size < len(client.body(reading))
    assert [] == client.left()
    close(client)


def test_a_client_that_does_not_read_holds_little_memory():
    """With its window at 0, a hundred answers of 50 KB are not made; once it reads, each one comes."""
    client = Client(LARGE, window=0)
    streams = [client.post("/api/sdk1/eval-all") for _ in range(STREAM_LIMIT)]
    assert UNSENT_LIMIT < client.protocol._unsent < UNSENT_LIMIT + 100_000
    assert 0 < client.memory.site.answering < 10
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1_000_000})
    client.h2.increment_flow_control_window(STREAM_LIMIT * 100_000)
    client.exchange()
    assert {200} == {client.status(stream) for stream in streams}
    assert all(50_000 < len(client.body(stream)) for stream in streams)
    assert 0 == client.protocol._unsent == client.memory.site.answering
    close(client)


def test_answers_that_are_never_read_are_given_up():
    """Each is reset some time after its last byte was sent, and what was held is freed."""
    client = Client(LARGE, window=10)
    streams = [client.post("/api/sdk1/eval-all") for _ in range(STREAM_LIMIT)]
    for _ in range(20):  # those that were held are answered as the first ones are given up
        client.wait(int(UNREAD_TIMEOUT) + 1)
    assert dict.fromkeys(streams, ErrorCodes.CANCEL) == client.resets()
    assert 0 == client.protocol._unsent == client.protocol._bodies == client.memory.site.answering
    close(client)


@pytest.mark.parametrize("raw", [b"\0\0\x40\x01\x05\0\0\0\1" + b"\x82" * 30, b"\0\0"])
def test_a_head_that_does_not_come_ends_the_connection(client, raw):
    """A byte every five seconds is not enough, as on HTTP/1.1."""
    for byte in raw[:2]:
        assert not client.transport.disconnecting
        client.protocol.dataReceived(bytes([byte]))
        client.wait(5)
    client.protocol.dataReceived(raw[2:3])
    client.wait(1)
    assert [ErrorCodes.ENHANCE_YOUR_CALM] == client.left()
    assert client.transport.disconnecting


def test_a_slow_body_in_a_large_frame_has_the_deadline_of_bodies(client):
    """A frame of 16 KB may take longer than a head."""
    stream = client.begin("POST", "/api/sdk1/eval", end=False)
    client.h2.send_data(stream, b'{"key":"on"' + b" " * 1000 + b"}", end_stream=True)
    data = client.h2.data_to_send()
    client.protocol.dataReceived(data[:500])
    client.wait(int(HEAD_DEADLINE) + 20)
    client.protocol.dataReceived(data[500:])
    client.exchange()
    assert (200, EVALUATED) == (client.status(stream), client.body(stream))


def test_an_idle_connection_is_closed(client):
    """It is told so; one that then does not close is dropped."""
    assert client.works()
    client.wait(int(UNREAD_TIMEOUT) - 1)
    assert [] == client.left()
    client.wait(2)
    assert [ErrorCodes.NO_ERROR] == client.left()
    assert client.transport.disconnecting


def test_a_connection_with_an_open_stream_is_not_idle(client):
    """Its client has nothing to send."""
    client.begin("GET", "/sse/sdk1/eval-all")
    client.wait(3 * int(UNREAD_TIMEOUT))
    assert [] == client.left()
    assert client.works()


def test_a_client_that_does_not_read_its_socket_is_dropped(client):
    """Nothing more is read of it meanwhile."""
    client.protocol.pauseProducing()
    assert "paused" == client.transport.producerState
    client.wait(int(UNREAD_TIMEOUT) + 1)
    assert client.transport.disconnecting


def test_requests_that_are_only_made_to_be_reset_end_the_connection(client):
    """CVE-2023-44487: the burst is allowed, more is not."""
    made = 0
    while not client.left():
        made += 1
        client.h2.reset_stream(client.begin("POST", "/api/sdk1/eval", end=False))
        client.exchange()
    assert RESETS[0] + 1 == made
    assert [ErrorCodes.ENHANCE_YOUR_CALM] == client.left()


def test_bodies_are_held_up_to_a_limit(client):
    """Of many incomplete requests no more is read, until some of them are answered or given up."""
    streams = [client.begin("POST", "/api/sdk1/eval", end=False) for _ in range(10)]
    sent = 0
    for stream in streams:
        for _ in range(60):
            room = min(client.h2.local_flow_control_window(stream), 16_000)
            if room:
                client.h2.send_data(stream, b"x" * room)
                sent += room
            client.exchange()
    assert BODIES_LIMIT <= sent < BODIES_LIMIT + 2 * 65_535
    client.wait(int(BODY_DEADLINE) + 1)
    assert {408} == {client.status(stream) for stream in streams}
    assert 0 == client.protocol._bodies
    assert client.works()


def test_a_drain_ends_the_connection_once_its_answers_are_read(client):
    """The client hears at once that it needs another connection; new requests are refused, to be sent again there."""
    client.memory.sdk.instant = False
    waiting = client.post("/api/sdk1/refresh")
    client.protocol.begin_drain()
    assert bytes([0, 0, 8, 7]) == client.transport.value()[:4]  # a GOAWAY frame, which h2 would take for the end
    client.transport.clear()
    assert not client.transport.disconnecting
    late = client.begin("GET", "/api/sdk1/keys")
    assert {late: ErrorCodes.REFUSED_STREAM} == client.resets()
    client.memory.sdk.pending[0].callback(Refreshed())
    client.exchange()
    assert 200 == client.status(waiting)
    assert client.transport.disconnecting


def test_a_connection_of_the_shutdown_delay_is_served_until_the_port_closes(client):
    """What is opened after the first GOAWAYs gets its own at the end of the delay."""
    client.factory.http2.discard(client.protocol)
    client.factory.begin_drain()
    client.factory.http2.add(client.protocol)  # as if it were opened now
    assert client.works()
    assert not client.transport.disconnecting
    client.factory.begin_drain()
    client.exchange()
    assert [ErrorCodes.NO_ERROR] == client.left()
    assert client.transport.disconnecting


def test_a_drain_ends_an_idle_connection_at_once(client):
    """Nothing is in progress."""
    assert client.works()
    client.protocol.begin_drain()
    client.exchange()
    assert [ErrorCodes.NO_ERROR] == client.left()
    assert client.transport.disconnecting


def test_the_frames_of_a_turn_leave_in_one_write():
    """Events of all streams of a connection, and answers, are encrypted and sent together."""
    client = Client()
    writer = client.factory.writer
    streams = [client.begin("GET", "/sse/sdk1/eval-all") for _ in range(3)]
    before = writer.count
    writer.hold()
    client.memory.hub.publish(load(b'{"f":{"on":{"t":0,"v":{"b":false},"i":"v2"}}}', ""))
    client.memory.hub.work(lambda: False)
    assert before == writer.count
    writer.release()
    assert before + 1 == writer.count
    client.exchange()
    assert [2] * 3 == [client.body(stream).count(b"data: ") for stream in streams]
    close(client)


def test_answers_that_are_ready_precede_the_end_of_a_client_that_leaves(client):
    """Its GOAWAY may come with its last request."""
    stream = client.h2.get_next_available_stream_id()
    fields = [(":method", "GET"), (":authority", "g"), (":scheme", "https"), (":path", "/api/sdk1/keys")]
    client.h2.send_headers(stream, fields, end_stream=True)
    client.h2.close_connection()
    client.protocol.dataReceived(client.h2.data_to_send())
    answer = client.transport.value()
    assert (1, stream) == (answer[3], int.from_bytes(answer[5:9]))  # HEADERS
    assert b'"on"' in answer
    assert client.transport.disconnecting
