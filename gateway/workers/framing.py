"""Messages on a stream of bytes: each behind its length, four bytes, the highest first (pure)."""

from __future__ import annotations

from struct import Struct

_LENGTH = Struct(">I")

DOWN_LIMIT = 2**31  # bytes of one message to a worker: a config of any size that `upstream.max_bytes` sensibly allows
UP_LIMIT = 16 * 1024 * 1024  # bytes of one message of a worker: a tally of every flag of many SDKs is below 1 MiB


class TooLong(Exception):
    """A message is over its limit: the two sides do not understand each other."""


def framed(message: bytes) -> bytes:
    """Return a message with its length in front."""
    return _LENGTH.pack(len(message)) + message


class Frames:
    """Takes pieces as they come, and gives whole messages in order; none may have over ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that ``data`` completes; raises ``TooLong`` as soon as a length is over the limit."""
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > self._limit:
                raise TooLong(f"a message of {length} bytes, where {self._limit} are the most")
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            messages.append(bytes(memoryview(buffer)[start + _LENGTH.size : end]))
            start = end
        del buffer[:start]
        return messages
