"""Writes to the connections of the fast path, in batches over plain TCP, at once under TLS.

answers, events ──► write ──► held while ready requests are answered or a slice of a push runs ──► sockets
"""

from typing import Any, Protocol

from twisted.protocols.tls import TLSMemoryBIOProtocol

from gateway.logger import component_logger
from gateway.twisted_private import write_directly

_log = component_logger("http")

HELD = 32  # writes of a batch; a client waits a millisecond at most for the others
HELD_BYTES = 128 * 1024  # of a batch: large answers take longer to make, and wait for fewer others
PIECE = 1300  # bytes of one TLS record: it fits a segment, and a connection keeps the memory of its longest flight
LARGE = 16 * 1024  # bytes; longer writes, hardly ever events, leave in records of TLS's full length


class Collecting(Protocol):
    """A connection that collects what it writes."""

    transport: Any

    def flush(self) -> None:
        """Write what is collected; do nothing after the end of the connection."""


class PlainWriter:
    """Writes to the TCP connections of one port.

    Between ``hold`` and ``release`` writes are held, and then leave one after the other: a client on the same machine
    wakes up once for several answers, and waking it is a large part of what a write costs.
    Call ``flush`` before anything else writes to, or closes, a transport.
    """

    has_handshake = False  # whether something precedes the first byte of a request

    def __init__(self) -> None:
        self._frame = b""
        self._chunk = b""
        self._holding = False
        self._held: list[tuple[Any, bytes]] = []
        self._size = 0

    def hold(self) -> None:
        """Hold writes from now on."""
        self._holding = True

    def release(self) -> None:
        """Write what is held, and from now on at once."""
        self._holding = False
        self.flush()

    def flush(self) -> None:
        """Write what is held."""
        held, self._held = self._held, []
        self._size = 0
        for transport, data in held:
            try:
                write_directly(transport, data)
            except Exception:  # noqa: BLE001  (the writes behind it are for other clients)
                _log.failure("writing to a connection failed; the connection is dropped")
                transport.abortConnection()

    def write(self, transport: Any, data: bytes) -> None:
        """Write ``data``, or hold it."""
        if not self._holding:
            write_directly(transport, data)
            return
        self._held.append((transport, data))
        self._size += len(data)
        if len(self._held) >= HELD or self._size >= HELD_BYTES:
            self.flush()

    def collect(self, connection: Collecting) -> None:
        """Have a connection write what it has collected, now or before the turn ends."""
        connection.flush()

    def chunk(self, frame: bytes) -> bytes:
        """Return ``frame`` as one HTTP chunk; the last one is cached, as it goes to many connections in a row."""
        if frame is not self._frame:
            self._frame = frame
            self._chunk = b"%x\r\n%b\r\n" % (len(frame), frame)
        return self._chunk

    def switch_protocol(self, transport: Any, protocol: Any) -> None:
        """Give what is received from now on to ``protocol``; writes that are held still leave first."""
        transport.protocol = protocol

    def close(self, transport: Any) -> None:
        """Close after everything is written."""
        self.flush()
        transport.loseConnection()

    def speaks_http1(self, transport: Any) -> bool:
        """Whether the connection speaks HTTP/1.1; valid from the first received bytes on."""
        del transport
        return True


class TlsWriter(PlainWriter):
    """Writes to the TLS connections of one port: nothing is held, and nothing bypasses the encryption.

    Connections may ``collect`` while other writers would hold, so that the frames of a turn are encrypted together.
    """

    has_handshake = True

    def __init__(self) -> None:
        super().__init__()
        self._collecting: dict[Collecting, None] = {}

    def collect(self, connection: Collecting) -> None:
        """See ``PlainWriter``; a client waits for as many others as there."""
        if not self._holding:
            connection.flush()
            return
        self._collecting[connection] = None
        if len(self._collecting) >= HELD:
            self.flush()

    def flush(self) -> None:
        """Have connections write what they have collected."""
        if not self._collecting:
            return
        collecting, self._collecting = self._collecting, {}
        for connection in collecting:
            try:
                connection.flush()
            except Exception:  # noqa: BLE001  (as in ``PlainWriter``)
                _log.failure("writing to a connection failed; the connection is dropped")
                connection.transport.abortConnection()

    def write(self, transport: Any, data: bytes) -> None:
        """Encrypt and write ``data`` at once, in records.

        The transport's own ``write`` would wait for more data until the next turn.
        """
        piece = PIECE if len(data) <= LARGE else LARGE
        for start in range(0, len(data), piece):
            TLSMemoryBIOProtocol.write(transport, data[start : start + piece])

    def switch_protocol(self, transport: Any, protocol: Any) -> None:
        """Give what is decrypted from now on to ``protocol``; setting the transport's ``protocol`` has no effect."""
        transport.wrappedProtocol = protocol

    def close(self, transport: Any) -> None:
        """Send TLS's close alert, and close without waiting for the client's: a client may not be reading."""
        transport.loseConnection()
        transport.transport.loseConnection()

    def speaks_http1(self, transport: Any) -> bool:
        """Whether HTTP/2 was not negotiated."""
        return bool(transport.negotiatedProtocol != b"h2")
