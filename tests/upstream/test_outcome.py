"""Values of a fetch."""

from __future__ import annotations

from gateway.upstream.outcome import etag_of


def test_an_etag_is_weak_and_has_16_digits():
    """An ETag of our own is a function of the bytes."""
    assert etag_of(b"a") == etag_of(b"a") != etag_of(b"b")
    assert 'W/"' == etag_of(b"a")[:3]
    assert 16 == len(etag_of(b"a")[3:-1])
