"""Messages with their length in front, however the socket splits the bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.workers.link import COPIED, MessageTooLong, Splitter

MESSAGES = st.lists(st.binary(max_size=60), max_size=12)


def add_length(message: bytes) -> bytes:
    """Return what the link sends for a message."""
    return len(message).to_bytes(4, "big") + message


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut ``data`` at these places."""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


@given(MESSAGES, st.lists(st.integers(0, 900), max_size=30))
def test_messages_arrive_whole_and_in_order_however_they_are_split(messages: list[bytes], cuts: list[int]) -> None:
    """A socket may split anywhere, also inside a length, and may join messages."""
    splitter = Splitter(60)
    data = b"".join(add_length(message) for message in messages)
    received = [message for piece in pieces(data, cuts) for message in splitter.feed(piece)]
    assert messages == received


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_too_long(data: bytes) -> None:
    """No other error is raised, and no message over the limit is returned."""
    try:
        received = Splitter(16).feed(data)
    except MessageTooLong:
        return
    assert all(len(message) <= 16 for message in received)


def test_a_length_over_the_limit_is_refused_before_the_message_arrives() -> None:
    """A message that will be refused is neither awaited nor kept."""
    splitter = Splitter(8)
    assert [b"12345678"] == splitter.feed(add_length(b"12345678"))
    with pytest.raises(MessageTooLong, match="9 bytes, the limit is 8"):
        splitter.feed(add_length(b"123456789")[:4])


def test_a_large_message_is_joined_from_small_pieces() -> None:
    """A config of a megabyte arrives in pieces of a socket's buffer size."""
    body = bytes(range(256)) * 4096
    splitter = Splitter(len(body))
    whole = add_length(body)
    received = [message for at in range(0, len(whole), 65536) for message in splitter.feed(whole[at : at + 65536])]
    assert [body] == received


def test_messages_around_a_large_one_are_whole() -> None:
    """A large message is not copied out of the buffer, which is then left to it."""
    messages = [b"before", b"a" * (COPIED + 1), b"between", b"b" * (2 * COPIED), b"after"]
    data = b"".join(add_length(message) for message in messages)
    for size in (len(data), 65536, 100_001):
        splitter = Splitter(len(data))
        received = [message for at in range(0, len(data), size) for message in splitter.feed(data[at : at + size])]
        assert messages == received
        assert [False, True, False, True, False] == [isinstance(message, memoryview) for message in received]
