"""Values of a fetch."""

from __future__ import annotations

from gateway.upstream.outcome import made_etag


def test_made_etag_is_weak_and_has_16_digits():
    """A made ETag is a function of the bytes."""
    assert made_etag(b"a") == made_etag(b"a") != made_etag(b"b")
    assert 'W/"' == made_etag(b"a")[:3]
    assert 16 == len(made_etag(b"a")[3:-1])
