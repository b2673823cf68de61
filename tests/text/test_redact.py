"""Masking of secrets: what is masked, what is left alone, and how long it takes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.text import redact

A, B = "AAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBB"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"key configcat-sdk-1/{A}/{B}.", "key configcat-sdk-[redacted]."),
        (f"configcat-sdk-1%2F{A}%2f{B}", "configcat-sdk-[redacted]"),
        (f"cut off configcat-sdk-1/{A}", "cut off configcat-sdk-[redacted]"),
        (f"old form '{A}/{B}'", "old form '[redacted]'"),
        (f"https://cdn.example/configuration-files/{A}/{B}/config_v6.json", None),
        ("/configuration-files/odd-key/config_v6.json", "/configuration-files/[redacted]/config_v6.json"),
        ("GET /sse/prod/eval/eyJrZXkiOiJhIn0 HTTP/1.1", "GET /sse/[redacted] HTTP/1.1"),
        ("/sse/eval-all/k/x?y=1 done", "/sse/[redacted] done"),
        ("signing key configcat_whsk_VN3juirnVh5pNvCKd81RYR=", "signing key configcat_whsk_[redacted]"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: Basic [redacted]"),
        ("X-ConfigCat-SdkKey: whatever", "X-ConfigCat-SdkKey: [redacted]"),
        ("proxy http://user:pw@proxy:3128", "proxy http://[redacted]@proxy:3128"),
    ],
)
def test_secrets_are_masked(text, expected):
    """Every form in which a key, a stream path or a credential can turn up is masked."""
    masked = redact(text)
    assert A not in masked
    assert B not in masked
    if expected is not None:
        assert expected == masked


@pytest.mark.parametrize(
    "text",
    [
        "accepting requests on path: /sse/*",
        "route /sse/{sdkId}/eval/{data}",
        "/configuration-files/configcat-proxy/prod/config_v6.json",
        "/configuration-files/{path...}",
        "basic authentication failed",
        "https://cdn-global.configcat.com",
        'etag W/"a6a777c2"',
        "/usr/lib/python3.11/site-packages/twisted/internet/defer.py",
    ],
)
def test_what_an_operator_needs_is_left(text):
    """Route patterns, aliases, hosts and paths stay readable."""
    assert text == redact(text)


half = st.text("ABCxyz019-_", min_size=22, max_size=22)
plain = st.text("abc :.,;()[]'\"\n", max_size=30)


@given(plain, half, half, plain, st.sampled_from(["", "configcat-sdk-1/"]))
def test_any_key_in_any_surrounding_is_masked(before, first, second, after, prefix):
    """For all keys of the two known forms, neither half is left in the text."""
    masked = redact(f"{before}{prefix}{first}/{second}{after}")
    assert first not in masked
    assert second not in masked


@pytest.mark.parametrize("text", ["/" * 65536, "configcat-sdk-1/" * 4096, "/sse/" * 13107, "a" * 65536, "://" * 21845])
def test_hostile_text_takes_no_longer_than_its_length(text):
    """No pattern backtracks: 64 KiB of the worst text is done in well under a second."""
    began = time.perf_counter()
    redact(text)
    assert time.perf_counter() - began < 1
