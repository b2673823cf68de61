"""How bytes leave the connections of the wire, and who receives on them: plainly, or under TLS.

answers, frames ──► send ──► held while a batch of requests or a slice of a push is under way ──► sockets
"""

from __future__ import annotations

from typing import Any

from twisted.protocols.tls import TLSMemoryBIOProtocol

from gateway.logger import component_logger
from gateway.twisted_private import write_directly

_log = component_logger("http")

HELD = 32  # writes that wait for one another; a client waits a millisecond for it at most
HELD_BYTES = 128 * 1024  # of them together: large answers take longer to make, and wait for fewer others
PIECE = 1300  # bytes of one TLS record: it fits a segment, and a connection keeps as much memory as its longest flight
LARGE = 16 * 1024  # bytes that are more than a frame as a rule: they leave in records as long as TLS has them


class PlainWriter:
    """The TCP connections of one port.

    Between ``hold`` and ``release`` writes wait, and leave one after the other: a client on this machine then wakes up
    once for several answers, not for each, which is what a large part of a write costs here.
    What is written, or closed, past the writer must come after ``flush``.
    """

    has_handshake = False  # whether there is anything before the first byte of a request

    def __init__(self) -> None:
        self._frame = b""
        self._chunk = b""
        self._holding = False
        self._held: list[tuple[Any, bytes]] = []
        self._size = 0

    def hold(self) -> None:
        """Let writes wait for one another from now on."""
        self._holding = True

    def release(self) -> None:
        """Write what waits, and from now on at once."""
        self._holding = False
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        held, self._held = self._held, []
        self._size = 0
        for transport, data in held:
            try:
                write_directly(transport, data)
            except Exception:  # noqa: BLE001  (what waits behind it is other clients')
                _log.failure("a connection could not be written to and is dropped")
                transport.abortConnection()

    def write(self, transport: Any, data: bytes) -> None:
        """Write ``data``, in its turn."""
        if not self._holding:
            write_directly(transport, data)
            return
        self._held.append((transport, data))
        self._size += len(data)
        if len(self._held) >= HELD or self._size >= HELD_BYTES:
            self.flush()

    def chunk(self, frame: bytes) -> bytes:
        """Return ``frame`` as one HTTP chunk; one that goes to many connections in a row is wrapped once."""
        if frame is not self._frame:
            self._frame = frame
            self._chunk = b"%x\r\n%b\r\n" % (len(frame), frame)
        return self._chunk

    def switch_protocol(self, transport: Any, protocol: Any) -> None:
        """Let ``protocol`` receive from now on; if it writes by the writer, what waits still leaves before."""
        transport.protocol = protocol

    def close(self, transport: Any) -> None:
        """Close once everything is written."""
        self.flush()
        transport.loseConnection()

    def speaks_http1(self, transport: Any) -> bool:
        """Whether HTTP/1.1 is spoken; known with the first bytes."""
        del transport
        return True


class TlsWriter(PlainWriter):
    """The same under TLS, whose transport looks through to the TCP one: nothing may be written past the encryption."""

    has_handshake = True

    def write(self, transport: Any, data: bytes) -> None:
        """Encrypt and write ``data`` at once, a piece at a time.

        The transport's own ``write`` waits for more until the next turn, of which an answer in one piece has nothing.
        """
        piece = PIECE if len(data) <= LARGE else LARGE
        for start in range(0, len(data), piece):
            TLSMemoryBIOProtocol.write(transport, data[start : start + piece])

    def switch_protocol(self, transport: Any, protocol: Any) -> None:
        """Let ``protocol`` receive what was decrypted; setting the transport's ``protocol`` would be in vain."""
        transport.wrappedProtocol = protocol

    def close(self, transport: Any) -> None:
        """Take leave, and close without waiting for the client's word: one that has nothing to ask does not read."""
        transport.loseConnection()
        transport.transport.loseConnection()

    def speaks_http1(self, transport: Any) -> bool:
        """Whether client and server did not agree on HTTP/2."""
        return bool(transport.negotiatedProtocol != b"h2")
