"""Read a response body within a bound that is counted while bytes arrive, after decompression too."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.iweb import IResponse

_GZIP = 16 + zlib.MAX_WBITS
_NOISE = b"\r\n\t \0"  # padding that some servers add after the last gzip member


class TooLarge(Exception):
    """More bytes than allowed, before or after decompression."""


class Truncated(Exception):
    """The body ended early."""


class BadEncoding(Exception):
    """The body is not what its Content-Encoding says, or the encoding is unknown."""


class Inflater:
    """Bytes as received in, decoded bytes out, never more than *limit* of either; sans-IO.

    ``feed`` and ``finish`` raise ``TooLarge``, ``BadEncoding`` or ``Truncated``; afterwards the object is useless.
    """

    def __init__(self, limit: int, encoding: str) -> None:
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise BadEncoding("the body has an unknown content encoding")
        self._limit = limit
        self._gzip = encoding.endswith("gzip")
        self._stream = zlib.decompressobj(_GZIP)
        self._received = self._size = 0
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
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
                if not data.strip(_NOISE):
                    return
                # RFC 1952: a file may be several members, one after the other.
                self._stream = zlib.decompressobj(_GZIP)
            # One byte more than allowed is enough to know, however much a small input would unfold to.
            self._keep(self._stream.decompress(data, self._limit - self._size + 1))
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def _keep(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._limit:
            raise TooLarge
        self._chunks.append(chunk)

    def finish(self) -> bytes:
        """The whole decoded body."""
        if self._gzip and self._received and not self._stream.eof:
            raise Truncated
        return b"".join(self._chunks)


class _Collector(Protocol):
    def __init__(self, inflater: Inflater, done: Deferred[bytes]) -> None:
        self._inflater = inflater
        self._done: Deferred[bytes] | None = done

    def dataReceived(self, data: bytes) -> None:
        if self._done is None:
            return
        try:
            self._inflater.feed(data)
        except (TooLarge, BadEncoding) as error:
            self._end(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._done is None:
            return
        # Data loss is only "potential" without a length: then a parser has to tell whether the end is missing.
        if not isinstance(reason.value, (ResponseDone, PotentialDataLoss)):
            self._end(Truncated())
            return
        try:
            self._end(self._inflater.finish())
        except Truncated as error:
            self._end(error)

    def _end(self, result: bytes | Exception) -> None:
        done, self._done = self._done, None
        if done is not None and not done.called:
            if isinstance(result, Exception):
                done.errback(result)
            else:
                done.callback(result)


def collect(response: IResponse, limit: int, encoding: str) -> Deferred[bytes]:
    """The decoded body, at most *limit* bytes; errs with ``TooLarge``, ``Truncated`` or ``BadEncoding``.

    After an error, or when cancelled, the rest of the body is ignored; the caller closes the connection.
    """
    done: Deferred[bytes] = Deferred()
    try:
        inflater = Inflater(limit, encoding)
    except BadEncoding as error:
        done.errback(error)
        return done
    response.deliverBody(_Collector(inflater, done))
    return done
