"""Values of a fetch."""

from __future__ import annotations

from gateway.telemetry.prometheus import FETCH_FAILED

from gateway.upstream.outcome import Kind, etag_of


def test_an_etag_is_weak_and_has_16_digits():
    """An ETag of our own is a function of the bytes."""
    assert etag_of(b"a") == etag_of(b"a") != etag_of(b"b")
    assert 'W/"' == etag_of(b"a")[:3]
    assert 16 == len(etag_of(b"a")[3:-1])


def test_every_kind_of_failure_is_a_label_of_the_metric():
    """The metric begins each label at zero, so it needs the whole set."""
    assert {kind.value for kind in Kind} == set(FETCH_FAILED)
