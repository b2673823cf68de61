"""Reading a body within a bound, decompressed or not."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss

from gateway.http_client.bounded_body import BadEncoding, Excerpt, Inflater, TooLarge, Truncated, read_body


def inflated(data: bytes, *, limit: int, encoding: str = "gzip", step: int = 7) -> bytes:
    inflater = Inflater(limit, encoding)
    for start in range(0, len(data), step):
        inflater.feed(data[start : start + step])
    return inflater.finish()


@given(body=st.binary(max_size=300), more=st.binary(max_size=300), step=st.integers(1, 400))
def test_gzip_members_are_joined(body, more, step):
    """Any cut of the stream into pieces, and several gzip members, give the bytes back."""
    assert body + more == inflated(gzip.compress(body) + gzip.compress(more), limit=10_000, step=step)


def test_the_limit_counts_decompressed_bytes_while_they_arrive():
    """A small input that decompresses beyond the limit is refused at that point; exactly the limit is accepted."""
    assert bytes(5000) == inflated(gzip.compress(bytes(5000)), limit=5000)
    with pytest.raises(TooLarge):
        inflated(gzip.compress(bytes(5001)), limit=5000)


def test_the_limit_counts_received_bytes_too():
    """Input that decompresses to nothing is still bounded."""
    empty = gzip.compress(b"")
    with pytest.raises(TooLarge):
        inflated(empty * 100, limit=1000, step=100)


def test_a_bomb_takes_no_more_memory_than_the_limit(monkeypatch):
    """Never more than one byte beyond the limit is decompressed, whatever the input could become."""
    inflater = Inflater(4096, "gzip")
    with pytest.raises(TooLarge):
        inflater.feed(gzip.compress(bytes(50_000_000))[:4000])
    assert sum(map(len, inflater._chunks)) <= 4097


def test_a_cut_gzip_stream_is_truncated():
    """An end before the gzip trailer is noticed."""
    with pytest.raises(Truncated):
        inflated(gzip.compress(b"something to lose")[:-3], limit=1000)


@pytest.mark.parametrize("data", [b"plain text", gzip.compress(b"x", mtime=0) + b"garbage", zlib.compress(b"x")])
def test_data_that_is_not_gzip_is_refused(data):
    """Bytes that are not gzip, before or after a good member, are an error."""
    with pytest.raises(BadEncoding):
        inflated(data, limit=1000, step=1000)


def test_zero_padding_after_gzip_is_tolerated():
    """Padding after the last member does no harm."""
    assert b"x" == inflated(gzip.compress(b"x") + b"\0\0\0", limit=1000, step=1000)


def test_unknown_encodings_are_refused_at_once():
    """An encoding that was not requested is refused before any byte is read."""
    with pytest.raises(BadEncoding):
        Inflater(1000, "br")


class FakeResponse:
    """A response whose body the test delivers; it notes whether its connection was aborted."""

    aborted = False

    def deliverBody(self, protocol):
        self.protocol = protocol
        protocol.makeConnection(self)

    def stopProducing(self):
        self.aborted = True

    def end(self, error):
        self.protocol.connectionLost(Failure(error))


def reading(sink):
    """A response, and the results of reading its body into ``sink``."""
    response, results = FakeResponse(), []
    read = read_body(response, sink)
    read.addBoth(results.append)
    return response, results, read


@pytest.mark.parametrize("end", [ResponseDone(), PotentialDataLoss()])
def test_a_whole_body_is_what_the_sink_kept(end):
    """Without a length, the end of the connection is the end of the body."""
    response, results, _ = reading(Excerpt(limit=10, kept=3))
    for piece in (b"ab", b"cd", b"ef"):
        response.protocol.dataReceived(piece)
    response.end(end)
    assert [b"abc"] == results
    assert not response.aborted


def test_a_body_beyond_the_limit_aborts_the_connection():
    """The first bytes stay readable; what arrives later is ignored."""
    excerpt = Excerpt(limit=3, kept=2)
    response, results, _ = reading(excerpt)
    for piece in (b"ab", b"cd", b"ef"):
        response.protocol.dataReceived(piece)
    response.end(ConnectionLost())
    assert [TooLarge] == [type(result.value) for result in results]
    assert (True, b"ab") == (response.aborted, excerpt.start)


def test_a_connection_lost_in_a_body_is_truncation():
    """Also for a body that would be a whole gzip member."""
    response, results, _ = reading(Inflater(1000, "gzip"))
    response.protocol.dataReceived(gzip.compress(b"x"))
    response.end(ResponseFailed([Failure(ConnectionLost())]))
    assert [Truncated] == [type(result.value) for result in results]


def test_a_cancelled_read_aborts_the_connection():
    """A server that sends slowly does not keep its connection."""
    response, results, read = reading(Excerpt(limit=3, kept=2))
    read.cancel()
    assert [CancelledError] == [type(result.value) for result in results]
    assert response.aborted
    response.end(ConnectionLost())
    assert 1 == len(results)
