"""Compressed heads of HTTP/2 answers: a decoder reads what was encoded, on every connection."""

from __future__ import annotations

from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.server.http2_heads import Http2HeadEncoder, encoded

names = st.binary(min_size=1, max_size=200).map(bytes.lower)
DATE = (b"date", b"Tue, 14 Nov 2023 22:13:20 GMT")


def read(block: bytes, decoder: Decoder | None = None) -> list[tuple[bytes, bytes]]:
    """Return the fields of a compressed head."""
    return [(bytes(name), bytes(value)) for name, value in (decoder or Decoder()).decode(block, raw=True)]


@given(st.lists(st.tuples(names, st.binary(max_size=300)), max_size=5))
def test_any_field_is_read_as_it_was(fields: list[tuple[bytes, bytes]]) -> None:
    """Names and values of any length and content."""
    assert fields == read(b"".join(encoded(*field) for field in fields))


def test_a_field_of_the_static_table_takes_a_byte() -> None:
    """And a literal of one of its names takes no name."""
    assert b"\x88" == encoded(b":status", b"200")
    assert b"\x0f\x0d\x0217" == encoded(b"content-length", b"17")


def test_heads_are_those_of_the_answer_and_do_not_depend_on_the_connection() -> None:
    """A decoder has no entry after them, so that the bytes mean the same for every other one."""
    encoder = Http2HeadEncoder(lambda: 1_700_000_000.0)
    decoder = Decoder()
    headers = ((b"Content-Type", b"text/plain"), (b"Etag", b'W/"1"'))
    first = encoder.compress(200, headers, 5, 0.0)
    expected = [(b":status", b"200"), DATE, (b"content-type", b"text/plain"), (b"etag", b'W/"1"')]
    assert [*expected, (b"content-length", b"5")] == read(first, decoder)
    assert 0 == len(decoder.header_table.dynamic_entries)
    other = encoder.compress(200, (headers[0], (b"Etag", b'W/"2"')), None, 0.5)
    assert [*expected[:3], (b"etag", b'W/"2"')] == read(other, decoder)
    assert [(b":status", b"499"), DATE] == read(encoder.compress(499, (), None, 0.5), decoder)


def test_the_date_is_that_of_the_second() -> None:
    """A head that was kept from the last second is not used."""
    wall = [1_700_000_000.75]
    encoder = Http2HeadEncoder(lambda: wall[0])
    dates = []
    for now in (0.0, 0.2, 0.3):
        wall[0] = 1_700_000_000.75 + now
        dates.append(read(encoder.compress(200, (), None, now))[1][1][-11:-4])
    assert [b"2:13:20", b"2:13:20", b"2:13:21"] == dates
