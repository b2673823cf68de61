"""The short ways through h2: each leaves the same events, frames and state as h2 alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, WindowUpdated
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from h2.stream import StreamState
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.server.h2_private import (
    KNOWN_HEADS,
    WINDOW,
    HeadReceived,
    ServerConnection,
    SmallSettings,
)
from gateway.web.server.http2_bounds import LIMITS, STREAM_LIMIT
from gateway.web.server.http2_bounds import SETTINGS as OURS
from gateway.web.server.http2_heads import encoded

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END, ALL, PADDED = 1, 4, 8  # END_STREAM, END_HEADERS, PADDED
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ANSWER = ((b":status", b"200"), (b"content-type", b"application/json"), (b"x-a", b"b"))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield type, flags, stream and payload of each frame."""
    while data:
        end = 9 + int.from_bytes(data[:3])
        yield data[3], data[4], int.from_bytes(data[5:9]), data[9:end]
        data = data[end:]


def fields(path: bytes, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a request."""
    return [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"g"), (b":path", path), *more]


def parsed(headers: Any) -> tuple[tuple[bytes, bytes], ...]:
    """Stand in for the parser of heads."""
    return tuple((bytes(name), bytes(value)) for name, value in headers)


class Requests:
    """The bytes of one client, which may break the protocol."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.next = 1

    def begin(self) -> int:
        """Return the number of a new request."""
        self.next += 2
        return self.next - 2

    def head(self, number: int, flags: int, *more: tuple[bytes, bytes], path: bytes = b"/a") -> bytes:
        """Return a head; its path is a literal that does not enter the table."""
        block = self.encoder.encode([(*field, field[0] == b":path") for field in fields(path, *more)])
        return frame(HEADERS, flags, number, block)

    def posted(self, body: bytes = b"{}", length: int | None = None) -> bytes:
        """Return a request with a body, in two frames."""
        number = self.begin()
        size = b"%d" % (len(body) if length is None else length)
        head = self.head(number, ALL, (b"content-length", size))
        return head + frame(DATA, 0, number, body[:1]) + frame(DATA, END, number, body[1:])

    def padded(self) -> bytes:
        """Return a request with a padded body."""
        number = self.begin()
        return self.head(number, ALL) + frame(DATA, END | PADDED, number, b"\x02{}\0\0")

    def in_two_frames(self) -> bytes:
        """Return a request whose head continues in a second frame."""
        number = self.begin()
        block = self.head(number, 0)[9:]
        return frame(HEADERS, END, number, block[:3]) + frame(CONTINUATION, ALL, number, block[3:])

    def with_trailers(self) -> bytes:
        """Return a request with trailers."""
        number = self.begin()
        trailers = frame(HEADERS, ALL | END, number, self.encoder.encode([(b"x-t", b"1")]))
        return self.head(number, ALL) + frame(DATA, 0, number, b"{}") + trailers

    def new_entry(self) -> bytes:
        """Return a request whose head changes the table."""
        number = self.begin()
        return self.head(number, ALL | END, (b"x-n", b"%d" % number))


ACTIONS: dict[str, Callable[[Requests], bytes]] = {
    "get": lambda r: r.head(r.begin(), ALL | END),
    "post": Requests.posted,
    "large post": lambda r: r.posted(b"x" * 9_000),
    "too long": lambda r: r.posted(b"{}x", 2),
    "too short": lambda r: r.posted(b"{}", 3),
    "a length but no body": lambda r: r.head(r.begin(), ALL | END, (b"content-length", b"2")),
    "padded": Requests.padded,
    "in two frames": Requests.in_two_frames,
    "trailers": Requests.with_trailers,
    "new entry": Requests.new_entry,
    "unfinished": lambda r: r.head(r.begin(), ALL),
    "empty data": lambda r: frame(DATA, 0, r.next - 2),
    "data at last": lambda r: frame(DATA, 0, r.next - 2, b"x"),
    "end at last": lambda r: frame(DATA, END, r.next - 2),
    "reset": lambda r: frame(RESET, 0, r.next - 2, bytes(4)),
    "window": lambda r: frame(WINDOW_UPDATE, 0, 0, (100).to_bytes(4)),
    "window of last": lambda r: frame(WINDOW_UPDATE, 0, r.next - 2, (100).to_bytes(4)),
    "ping": lambda _: frame(PING, 0, 0, bytes(8)),
    "priority": lambda r: frame(PRIORITY, 0, r.next, bytes(4) + b"\x10"),
    "unknown": lambda r: frame(99, 0, r.next, b"x"),
    "larger windows": lambda _: frame(SETTINGS, 0, 0, b"\0\4" + (70_000).to_bytes(4)),
    "smaller windows": lambda _: frame(SETTINGS, 0, 0, b"\0\4" + (1).to_bytes(4)),
    "small table": lambda _: frame(SETTINGS, 0, 0, b"\0\1" + (64).to_bytes(4)),
    "old number": lambda r: r.head(1, ALL | END),
    "even number": lambda r: r.head(r.next + 1, ALL | END),
}


class Pair:
    """A connection of ours and one of h2, which receive the same bytes and are answered alike."""

    def __init__(self) -> None:
        self.own = ServerConnection(OURS, parsed)
        self.other = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.other.local_settings = Settings(client=False, initial_values=LIMITS)
        self.decoders = Decoder(), Decoder()
        for connection in (self.own, self.other):
            connection.initiate_connection()
        self.ended = False
        self.receive(PREFACE + frame(SETTINGS, 0, 0))

    def receive(self, data: bytes) -> None:
        """Give ``data`` to both and compare."""
        events, fault = received(self.own, data)
        assert (events, fault) == received(self.other, data)
        self.ended = fault is not None
        for event in events:
            if event[0] is DataReceived and not self.ended:
                self.own.acknowledge(event[3], event[1])
                self.other.acknowledge_received_data(event[3], event[1])
            elif event[0] is StreamEnded and not self.ended:
                self.answer(event[1])
        self.compare()

    def answer(self, number: int) -> None:
        """Answer a request on both."""
        block = b"".join(encoded(*field) for field in ANSWER)
        body = b"x" * max(0, min(20, self.own.window(number)))
        try:
            self.own.send_head(number, block, last=not body)
            if body:
                self.own.send_body(number, body, last=True)
        except StreamClosedError:
            with pytest.raises(ProtocolError):
                self.other.send_headers(number, ANSWER)
            return
        self.other.send_headers(number, ANSWER, end_stream=not body)
        if body:
            self.other.send_data(number, body, end_stream=True)

    def compare(self) -> None:
        """Compare what is sent, and the state."""
        own, other = (
            [
                (kind, flags, stream, decoder.decode(payload, raw=True) if kind == HEADERS else payload)
                for kind, flags, stream, payload in frames(connection.data_to_send())
                if kind != WINDOW_UPDATE or not stream
            ]
            for connection, decoder in zip((self.own, self.other), self.decoders, strict=True)
        )
        assert own == other
        assert state(self.own) == state(self.other)


def received(connection: Any, data: bytes) -> tuple[list[tuple[Any, ...]], int | None]:
    """Return the events of ``data`` that matter, and the code of the error."""
    try:
        return [plain(event) for event in connection.receive_data(data)], None
    except ProtocolError as error:
        return [], int(error.error_code)


def plain(event: Event) -> tuple[Any, ...]:
    """Return what an event contains."""
    if isinstance(event, HeadReceived):
        return (RequestReceived, event.stream_id, event.head, event.ended)
    if isinstance(event, RequestReceived):
        return (RequestReceived, event.stream_id, parsed(event.headers), event.stream_ended is not None)
    if isinstance(event, DataReceived):
        return (DataReceived, event.stream_id, bytes(event.data), event.flow_controlled_length)
    if isinstance(event, WindowUpdated):
        return (WindowUpdated, event.stream_id, event.delta)
    return (type(event), getattr(event, "stream_id", None))


def state(connection: Any) -> tuple[Any, ...]:
    """Return windows, and the state of each open stream."""
    streams = {
        number: (
            stream.state_machine.state,
            stream.outbound_flow_control_window,
            stream.inbound_flow_control_window if stream.state_machine.state is StreamState.OPEN else None,
        )
        for number, stream in connection.streams.items()
        if stream.open
    }
    return (
        streams,
        connection.outbound_flow_control_window,
        connection.inbound_flow_control_window,
        connection.highest_inbound_stream_id,
    )


@given(st.lists(st.sampled_from(sorted(ACTIONS)), max_size=12), st.integers(1, 60), st.booleans())
def test_a_connection_is_that_of_h2(names: list[str], piece: int, whole: bool) -> None:
    """Whatever a client sends, and wherever its bytes are cut."""
    pair, requests = Pair(), Requests()
    for _ in range(2):  # the second is remembered
        pair.receive(requests.head(requests.begin(), ALL | END) + requests.posted())
    data = b"".join(ACTIONS[name](requests) for name in names)
    pieces = [data] if whole else [data[start : start + piece] for start in range(0, len(data), piece)]
    for each in pieces:
        if each and not pair.ended:
            pair.receive(each)


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_each_action_is_that_of_h2(name: str) -> None:
    """Each on its own, behind requests whose heads are known, and before another one."""
    pair, requests = Pair(), Requests()
    for _ in range(3):
        pair.receive(requests.posted())
    for action in (name, name, "post", "get"):
        if not pair.ended:
            pair.receive(ACTIONS[action](requests))


def connection() -> tuple[ServerConnection, Requests]:
    """Return a connection that has answered three equal requests."""
    own, requests = ServerConnection(OURS, parsed), Requests()
    own.initiate_connection()
    own.receive_data(PREFACE + frame(SETTINGS, 0, 0))
    for _ in range(3):
        answered(own, requests.posted())
    return own, requests


def answered(own: ServerConnection, data: bytes) -> list[Event]:
    """Receive and answer requests; return the events."""
    events = own.receive_data(data)
    for event in events:
        if isinstance(event, StreamEnded):
            own.send_head(event.stream_id, encoded(b":status", b"204"), last=True)
    return events


def test_a_known_head_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the tests above would compare h2 with itself."""
    own, requests = connection()
    monkeypatch.setattr(Decoder, "decode", None)
    monkeypatch.setattr(H2Connection, "receive_data", None)
    assert 4 == len(answered(own, requests.posted()))


def test_a_head_is_forgotten_when_the_table_changes() -> None:
    """The same bytes mean another field then."""
    own, requests = connection()
    newest = bytes((0x80 | 62,))  # the first entry of the dynamic table
    entries = [b"\x40\x03x-n\x01" + value for value in (b"a", b"b")]  # literals that enter it
    head = Encoder().encode([(*field, True) for field in fields(b"/a")])  # does not depend on the table
    found = []
    for end in (entries[0], newest, newest, newest, entries[1], newest, newest):
        events = answered(own, frame(HEADERS, ALL | END, requests.begin(), head + end))
        found.append(events[0].head[-1][1])
    assert [b"a"] * 4 + [b"b"] * 3 == found


def test_few_heads_are_remembered() -> None:
    """A client with a new path in each request does not fill the memory."""
    own, requests = connection()
    for number in range(10 * KNOWN_HEADS):
        answered(own, requests.head(requests.begin(), ALL | END, path=b"/%d" % number))
        assert len(own._known) <= KNOWN_HEADS


def test_ended_requests_take_no_memory() -> None:
    """h2 remembers 65,536 of them otherwise."""
    own, requests = connection()
    for _ in range(2_000):
        answered(own, requests.posted())
    assert 0 == len(own.streams)
    assert 512 == len(own._closed_streams)


def test_too_many_requests_at_a_time_are_an_error() -> None:
    """Also those whose heads are known."""
    own, requests = connection()
    for _ in range(STREAM_LIMIT):
        own.receive_data(requests.posted())
    with pytest.raises(ProtocolError):
        own.receive_data(requests.posted())


def test_undefined_settings_are_not_kept() -> None:
    """There may be 65,536 of them."""
    own, _ = connection()
    before = len(own.remote_settings)
    own.receive_data(frame(SETTINGS, 0, 0, b"".join(code.to_bytes(2) + bytes(4) for code in range(0x100, 0x300))))
    assert before == len(own.remote_settings)
    settings = SmallSettings(client=True)
    settings[SettingCodes.MAX_FRAME_SIZE] = 20_000
    settings.acknowledge()
    assert 20_000 == settings.max_frame_size


def test_sizes_of_the_table_are_confirmed_once() -> None:
    """The smallest and the last one, in front of the next head, however often they changed."""
    own, requests = connection()
    for size in [4_096, 100, 0, 0, *range(1, 500), 50, 50]:
        own.receive_data(frame(SETTINGS, 0, 0, b"\0\1" + size.to_bytes(4)))
    own.data_to_send()
    answered(own, requests.posted())
    answered(own, requests.posted())
    blocks = [payload for kind, _, _, payload in frames(own.data_to_send()) if kind == HEADERS]
    assert [b"\x20\x3f\x13\x89", b"\x89"] == blocks


def test_a_large_head_continues_in_other_frames() -> None:
    """No frame is larger than the client takes."""
    own, requests = connection()
    own.receive_data(requests.posted())
    own.data_to_send()
    block = encoded(b":status", b"200") + encoded(b"x-large", b"x" * 40_000)
    own.send_head(requests.next - 2, block, last=True)
    found = list(frames(own.data_to_send()))
    assert [(HEADERS, END), (CONTINUATION, 0), (CONTINUATION, ALL)] == [(kind, flags) for kind, flags, _, _ in found]
    assert block == b"".join(payload for *_, payload in found)


def test_the_window_of_a_body_that_is_read_opens_again() -> None:
    """A connection can receive any number of bodies."""
    own, requests = connection()
    for _ in range(20):
        for event in answered(own, requests.posted(b"x" * 9_000)):
            if isinstance(event, DataReceived):
                own.acknowledge(event.flow_controlled_length, event.stream_id)
    assert WINDOW // 2 < own.inbound_flow_control_window
