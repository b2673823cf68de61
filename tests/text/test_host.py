"""Hosts of requests."""

import pytest

from gateway.text import is_host


@pytest.mark.parametrize(
    "host",
    [
        b"", b"a", b"a.example", b"A_b-c.example.", b"a:", b"a:80", b"a:0080", b"a:65535", b"192.0.2.1", b"[::1]",
        b"[::1]:8050", b"[::ffff:192.0.2.1]", b"[fe80::1%25eth0]", b"%C3%A4.example", b"x" * 300, b"a,b",
    ],
)  # fmt: skip
def test_hosts(host: bytes) -> None:
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"a b", b"<script>", b"a:99999", b"a:65536", b"a:-1", b"a:b", b"a:1:2", b"::1", b"[::1", b"[]", b"[x]", b"[1]",
        b"[::1]x", b"[::1]:99999", b"a/b", b"user@a", b"a?b", b"a#b", b"a\\b", b'"a"', b"a\tb", b"a\0", b"%zz", b"%",
        b"\xff", b"\xc3\xa4.example", b"a:" + b"9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_host(host: bytes) -> None:
    assert not is_host(host)
