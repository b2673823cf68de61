"""Read a response body within a bound that is counted while bytes arrive, after decompression too."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.internet.protocol import connectionDone
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.iweb import IResponse

_GZIP: Final = 16 + zlib.MAX_WBITS
_PADDING: Final = b"\r\n\t \0"  # some servers add these after the last gzip member


class TooLarge(Exception):
    """More bytes than allowed, before or after decompression."""


class Truncated(Exception):
    """The body ended early."""


class BadEncoding(Exception):
    """The body does not match its Content-Encoding, or the encoding is unknown."""


class Sink(Protocol):
    """Takes the bytes of a body as received; useless after an exception.

    Both methods raise ``TooLarge``, ``BadEncoding`` or ``Truncated``.
    """

    def feed(self, data: bytes) -> None:
        """Add the next bytes of the body."""

    def finish(self) -> bytes:
        """Return what is to be kept of a body that has ended."""


class Excerpt:
    """The first ``kept`` bytes of a body of at most ``limit`` bytes, as received; readable at any time."""

    def __init__(self, limit: int, kept: int) -> None:
        self._limit = limit
        self._kept = kept
        self._size = 0
        self.start = b""

    def feed(self, data: bytes) -> None:
        """See ``Sink``."""
        self._size += len(data)
        if len(self.start) < self._kept:
            self.start = (self.start + data)[: self._kept]
        if self._size > self._limit:
            raise TooLarge

    def finish(self) -> bytes:
        """See ``Sink``."""
        return self.start


class Inflater:
    """The whole body, decompressed; never more than ``limit`` bytes of input or output."""

    def __init__(self, limit: int, encoding: str) -> None:
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise BadEncoding("the body has an unknown content encoding")
        self._limit = limit
        self._gzip = encoding.endswith("gzip")
        self._stream = zlib.decompressobj(_GZIP)
        self._received = self._size = 0
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """See ``Sink``."""
        self._received += len(data)
        if self._received > self._limit:
            raise TooLarge
        if not self._gzip:
            self._keep(data)
            return
        try:
            self._inflate(data)
        except zlib.error as error:
            raise BadEncoding("the body is not valid gzip") from error

    def _inflate(self, data: bytes) -> None:
        while data:
            if self._stream.eof:
                if not data.strip(_PADDING):
                    return
                # RFC 1952: a file may be several members, one after the other.
                self._stream = zlib.decompressobj(_GZIP)
            # One byte above the limit proves that the body is too large, however much a small input would unfold to.
            self._keep(self._stream.decompress(data, self._limit - self._size + 1))
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def _keep(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._limit:
            raise TooLarge
        self._chunks.append(chunk)

    def finish(self) -> bytes:
        """See ``Sink``."""
        if self._gzip and self._received and not self._stream.eof:
            raise Truncated
        return b"".join(self._chunks)


class _Reader(StreamProtocol):
    """Feeds a sink; aborts the connection when the sink raises or the reading is cancelled."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())

    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        try:
            self._sink.feed(data)
        except (TooLarge, BadEncoding) as error:
            self._abort()
            self.done.errback(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        # Without a length, HTTP ends a body with the connection.
        if not isinstance(reason.value, (ResponseDone, PotentialDataLoss)):
            self.done.errback(Truncated())
            return
        try:
            body = self._sink.finish()
        except Truncated as error:
            self.done.errback(error)
        else:
            self.done.callback(body)

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.stopProducing()


def read_body(response: IResponse, sink: Sink) -> Deferred[bytes]:
    """Return what ``sink`` makes of the body; after an error or a cancellation the connection is aborted.

    :raises TooLarge, BadEncoding, Truncated: as the Deferred's failure
    """
    reader = _Reader(sink)
    response.deliverBody(reader)
    return reader.done
