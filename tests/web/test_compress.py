"""Which coding a client wants: weights, lists in several fields, ``*`` and ``identity``."""

import pytest

from gateway.web.compress import CACHED_LENGTH, wants_brotli, wants_gzip
from gateway.web.values import Call


def chosen(*fields: bytes) -> str:
    """Return the coding of a config file, which has all."""
    call = Call("GET", "/", headers={b"accept-encoding": list(fields)} if fields else {})
    return "br" if wants_brotli(call) else "gzip" if wants_gzip(call) else "none"


@pytest.mark.parametrize(
    ("field", "coding"),
    [
        (b"gzip", "gzip"),
        (b"GZip", "gzip"),
        (b"x-gzip", "gzip"),
        (b"deflate, gzip;q=0.5", "gzip"),
        (b"gzip;q=0", "none"),
        (b"gzip ; q=0.000", "none"),
        (b"gzip;Q=0", "none"),
        (b"gzip;q=0.001", "gzip"),
        (b"gzip;q=1.000", "gzip"),
        (b"gzip;q=0.5, identity", "none"),
        (b"gzip;q=0.5, identity;q=0.5", "gzip"),
        (b"gzip, br", "br"),
        (b"gzip, br;q=0.9", "gzip"),
        (b"gzip;q=0.8, br;q=0.9", "br"),
        (b"gzip, br;q=0", "gzip"),
        (b"br, gzip;q=0", "br"),
        (b"*", "gzip"),
        (b"*;q=0.1", "gzip"),
        (b"*;q=0", "none"),
        (b"*, gzip;q=0", "none"),
        (b"br, *;q=0", "br"),
        (b"gzip, *;q=0", "gzip"),
        (b"identity", "none"),
        (b"identity, *", "gzip"),
        (b"identity;q=0", "gzip"),
        (b"identity;q=0, br", "br"),
        (b"identity;q=0, gzip;q=0", "none"),
        (b"deflate, zstd", "none"),
        (b"gzipped, xgzip, brotli", "none"),
        (b"gzip;q=2", "none"),
        (b"gzip;q=", "none"),
        (b"gzip;level=9", "none"),
        (b"gzip;q=0.1234", "none"),
        (b"", "none"),
        (b",, gzip ,", "gzip"),
    ],
)
def test_coding_of_a_field(field: bytes, coding: str) -> None:
    assert coding == chosen(field)


def test_several_fields_are_one_list() -> None:
    assert "br" == chosen(b"gzip;q=0.5", b"br")
    assert "none" == chosen(b"*", b"gzip;q=0")


def test_without_the_field_nothing_is_compressed() -> None:
    assert "none" == chosen()


def test_a_long_field_is_read_up_to_a_limit() -> None:
    long = b"x, " * CACHED_LENGTH
    assert "gzip" == chosen(b"gzip, " + long)
    assert "none" == chosen(long + b"gzip")
