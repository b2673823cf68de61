"""h2 with short ways for the frames that connections mostly consist of; every private name of h2 is used here.

    bytes ──► a head that was received before, a plain DATA frame ──► events
                 └── anything else ──► h2 ──► events

Each short way leaves the same state behind as h2, and whatever is wrong or rare is left to h2 alone.
``tests/web/server/test_h2_private.py`` compares both.
"""

# ruff: noqa: SLF001  (h2 has no public way to do what it does, only faster)

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream, StreamClosedBy, StreamInputs, StreamState
from msgspec import Struct as Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hyperframe.frame import Frame, HeadersFrame, SettingsFrame

FRAME: Final = Struct(">IBI")  # the length of the payload and, in the lowest byte, the type; the flags; the stream
DATA, HEADERS, WINDOW_UPDATE, CONTINUATION = 0, 1, 8, 9  # types
END_STREAM, END_HEADERS = 1, 4  # flags
KNOWN_HEADS = 32  # heads of requests that a connection remembers; when full, it forgets all of them
KNOWN_LENGTH = 1024  # bytes of the longest one, as it is compressed
WINDOW: Final = 65_535  # bytes that a client may send of each body, and of all together, before we have read them


class HeadReceived(Event):
    """The head of a request is complete; ``head`` is what ``parse`` has returned for its header fields."""

    __slots__ = ("ended", "head", "stream_id")

    def __init__(self, stream_id: int, head: Any, *, ended: bool) -> None:
        self.stream_id = stream_id
        self.head = head
        self.ended = ended  # whether there is no body


class KnownHead(Record, frozen=True):
    """A head that may come again."""

    head: Any
    length: int | None  # bytes that the body must have


Table = tuple[object, int, int]
"""The newest entry of a decoder's table, the number of entries, and the largest size of them."""


def is_same(one: Table, other: Table) -> bool:
    """Return whether the table did not change in between: each entry is a new object, and the newest leaves last."""
    return one[0] is other[0] and one[1] == other[1] and one[2] == other[2]


class Values(list[Any]):
    """The values of a setting; h2's queue for them takes ten times the memory, 13 KB for a connection."""

    __slots__ = ()

    def popleft(self) -> Any:
        """Remove and return the first value."""
        return self.pop(0)


class SmallSettings(Settings):
    """Settings of one side; those that HTTP/2 does not define are ignored (RFC 9113, 6.5.2), and not kept."""

    def __init__(self, *, client: bool, initial_values: dict[SettingCodes, int] | None = None) -> None:
        super().__init__(client, initial_values)
        self._settings: Any = {key: Values(values) for key, values in self._settings.items()}

    def __setitem__(self, key: SettingCodes | int, value: int) -> None:
        if key not in self._settings:
            if key not in SettingCodes.__members__.values():
                return
            self._settings[key] = Values([None])
        super().__setitem__(key, value)


class ServerConnection(H2Connection):
    """The server's side of a connection.

    ``settings`` are ours, and never change; several connections may share them.
    ``parse`` turns the header fields of a valid request into what ``HeadReceived`` holds.  The result may be used for
    several requests with equal header fields.
    """

    MAX_CLOSED_STREAMS = 512  # of a stream that ended before the last 512, h2 no longer knows how it ended

    def __init__(self, settings: Settings, parse: Callable[[Sequence[tuple[bytes, bytes]]], object]) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,  # they are ours
                normalize_outbound_headers=False,
            )
        )
        self.local_settings = settings
        self.remote_settings = SmallSettings(client=True)
        self.decoder.max_header_list_size = settings[SettingCodes.MAX_HEADER_LIST_SIZE]
        self._stream_limit = settings.max_concurrent_streams
        self._parse = parse
        self._known: dict[bytes, KnownHead] = {}  # by compressed head, while the decoder's table is ``_known_for``
        self._known_for: Table = (None, 0, 0)

    def receive_data(self, data: bytes) -> list[Event]:  # type: ignore[override]  # h2 takes other buffers as well
        """Return the events of received bytes.

        :raises ProtocolError: the client broke the protocol; a GOAWAY frame that names the reason is ready
        """
        events: list[Event] = []
        buffer = self.incoming_buffer
        if self.state_machine.state is ConnectionState.SERVER_OPEN and not (buffer._data or buffer._headers_buffer):
            at = self._receive_known(data, events)
            if at == len(data):
                return events
            data = data[at:]
        events += super().receive_data(data)
        return events

    def _receive_known(self, data: bytes, events: list[Event]) -> int:
        """Take frames from the beginning of ``data`` as long as the short ways apply; return their size."""
        at, size = 0, len(data)
        while size - at >= FRAME.size:
            kind, flags, number = FRAME.unpack_from(data, at)
            start = at + FRAME.size
            end = start + (kind >> 8)
            if end > size:
                break
            if kind & 0xFF == DATA:
                if not self._receive_known_data(number, flags, data[start:end], events):
                    break
            elif kind & 0xFF != HEADERS or not self._receive_known_head(number, flags, data[start:end], events):
                break
            at = end
        return at

    def _receive_known_head(self, number: int, flags: int, block: bytes, events: list[Event]) -> bool:
        """Return whether this was a head that is known, of a new request."""
        known = self._known.get(block)
        ended = flags == END_HEADERS | END_STREAM
        if (
            known is None
            or not (ended or flags == END_HEADERS)
            or (ended and known.length)
            or number <= self.highest_inbound_stream_id
            or not number & 1
            or number > self.HIGHEST_ALLOWED_STREAM_ID
            or len(self.streams) >= self._stream_limit
            or not is_same(self._known_for, self._table())
        ):
            return False
        stream = H2Stream(number, self.config, WINDOW, self.remote_settings.initial_window_size)
        machine = stream.state_machine
        machine.client = False
        machine.headers_received = True
        machine.state = StreamState.HALF_CLOSED_REMOTE if ended else StreamState.OPEN
        stream.max_outbound_frame_size = self.max_outbound_frame_size
        stream._expected_content_length = known.length
        self.streams[number] = stream
        self.highest_inbound_stream_id = number
        events.append(HeadReceived(number, known.head, ended=ended))
        if ended:
            events.append(StreamEnded(stream_id=number))
        return True

    def _receive_known_data(self, number: int, flags: int, data: bytes, events: list[Event]) -> bool:
        """Return whether this was a part of a body, without padding, and within windows and length."""
        stream = self.streams.get(number)
        size = len(data)
        if stream is None or stream.state_machine.state is not StreamState.OPEN or flags > END_STREAM:
            return False
        connection, own = self._inbound_flow_control_window_manager, stream._inbound_window_manager
        expected, actual = stream._expected_content_length, stream._actual_content_length + size
        if (
            size > connection.current_window_size
            or size > own.current_window_size
            or size > self.max_inbound_frame_size
            or not (size or flags)
            or (expected is not None and (expected != actual if flags else expected < actual))
        ):
            return False
        connection.current_window_size -= size
        own.current_window_size -= size
        stream._actual_content_length = actual
        events.append(DataReceived(stream_id=number, data=data, flow_controlled_length=size))
        if flags:
            stream.state_machine.state = StreamState.HALF_CLOSED_REMOTE
            events.append(StreamEnded(stream_id=number))
        return True

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Any]]:
        """Receive a head, and remember it if it left the decoder's table as it was."""
        before = self._table()
        frames, events = super()._receive_headers_frame(frame)
        found = events[0]
        if isinstance(found, RequestReceived):
            number, block = found.stream_id, frame.data
            head = self._parse(found.headers)
            events[0] = HeadReceived(number, head, ended=found.stream_ended is not None)
            if len(block) <= KNOWN_LENGTH and is_same(before, self._table()):
                if not is_same(before, self._known_for) or len(self._known) >= KNOWN_HEADS:
                    self._known.clear()
                    self._known_for = before
                self._known[bytes(block)] = KnownHead(head, self.streams[number]._expected_content_length)
        return frames, events

    def _receive_settings_frame(self, frame: SettingsFrame) -> tuple[list[Frame], list[Event]]:
        """Receive settings; of several sizes of our table, the client needs the smallest and the last one."""
        found = super()._receive_settings_frame(frame)
        sizes = self.encoder.table_size_changes
        if len(sizes) > 2:
            sizes[:] = [min(sizes), sizes[-1]]
        return found

    def _table(self) -> Table:
        table = self.decoder.header_table
        entries = table.dynamic_entries
        return (entries[0] if entries else None, len(entries), table.maxsize)

    def window(self, number: int) -> int:
        """Return how many bytes may be sent of the answer to a request; less than 1 if its window is closed."""
        stream = self.streams.get(number)
        if stream is None:
            return 0
        own, all_together = stream.outbound_flow_control_window, self.outbound_flow_control_window
        return min(own, all_together, self.max_outbound_frame_size)

    def acknowledge(self, size: int, number: int) -> None:
        """Let the client send as much as it has sent of a body; of one that is complete nothing more can come."""
        stream = self.streams.get(number)
        if stream is None or stream.state_machine.state is not StreamState.OPEN:
            increment = self._inbound_flow_control_window_manager.process_bytes(size)
            if increment:
                self._data_to_send += FRAME.pack(4 << 8 | WINDOW_UPDATE, 0, 0) + increment.to_bytes(4)
        else:
            self.acknowledge_received_data(size, number)

    def send_head(self, number: int, block: bytes, *, last: bool) -> None:
        """Send the head of an answer, compressed by ``compress``; ``last`` if it has no body.

        :raises StreamClosedError: the client has reset the request
        """
        stream = self._open_stream(number)
        encoder = self.encoder
        if encoder.table_size_changes:  # they have to be confirmed (RFC 7541, 4.2)
            encoder.header_table.resized = True
            block = encoder.encode(()) + block
        out, limit = self._data_to_send, self.max_outbound_frame_size
        kind, flags = HEADERS, END_STREAM if last else 0
        while len(block) > limit:
            out += FRAME.pack(limit << 8 | kind, flags, number) + block[:limit]
            block, kind, flags = block[limit:], CONTINUATION, 0
        out += FRAME.pack(len(block) << 8 | kind, flags | END_HEADERS, number) + block
        stream.state_machine.headers_sent = True
        if last:
            self._end(number, stream)

    def send_body(self, number: int, data: bytes, *, last: bool) -> None:
        """Send a part of an answer, no larger than its ``window``; ``last`` ends the answer.

        :raises StreamClosedError: the client has reset the request
        """
        stream = self._open_stream(number)
        size = len(data)
        stream.outbound_flow_control_window -= size
        self.outbound_flow_control_window -= size
        out = self._data_to_send
        out += FRAME.pack(size << 8, END_STREAM if last else 0, number)
        out += data
        if last:
            self._end(number, stream)

    def _open_stream(self, number: int) -> H2Stream:
        stream = self.streams.get(number)
        if stream is None or not stream.open:
            raise StreamClosedError(number)
        return stream

    def _end(self, number: int, stream: H2Stream) -> None:
        machine = stream.state_machine
        if machine.state is StreamState.HALF_CLOSED_REMOTE:
            machine.state = StreamState.CLOSED
            self._closed_streams[number] = machine.stream_closed_by = StreamClosedBy.SEND_END_STREAM
            del self.streams[number]
        else:
            machine.process_input(StreamInputs.SEND_END_STREAM)
