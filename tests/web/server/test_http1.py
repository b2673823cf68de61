"""Bounds of an HTTP/1.1 connection: what is too long, too much, too slow or malformed; other clients are served."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings import Http
from gateway.web.server.http1 import (
    BODY_DEADLINE,
    BODY_LIMIT,
    HEAD_DEADLINE,
    HEADER_COUNT_LIMIT,
    HEADER_LIMIT,
    LINGER_BYTES,
    REQUEST_LINE_LIMIT,
)
from web_memory import Connection, MemorySite

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}
KEYS = b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n"
IDLE_TIMEOUT = Http().keep_alive_timeout
SHARED = MemorySite(CONFIG)


@pytest.fixture
def site() -> MemorySite:
    return MemorySite(CONFIG)


def status_of(data: bytes) -> int:
    return int(data[9:12]) if data else 0


def refusal(line: Connection) -> int:
    """Return the status of the refusal, which is complete, comes last and closes the connection."""
    data = line.received()
    head, _, body = data.rpartition(b"\r\n\r\n")
    assert b"Connection: close\r\n" in head
    assert b"Content-Length: %d" % len(body) in head
    assert b"Server:" not in head
    assert line.closed
    line.send(KEYS)
    assert b"" == line.received()
    return status_of(head[head.rindex(b"HTTP/1.1 ") :])


def sent(site: MemorySite, data: bytes, piece: int = 0) -> Connection:
    line = site.connect()
    for start in range(0, len(data), piece or len(data)):
        line.send(data[start : start + (piece or len(data))])
    return line


def post(*lines: bytes) -> bytes:
    return b"POST /api/sdk1/eval HTTP/1.1\r\nHost: g\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


@pytest.mark.parametrize("piece", [0, 5000])
def test_request_line_up_to_its_limit(site: MemorySite, piece: int) -> None:
    """A request line of 128 KiB passes; a longer one is 414, ended or not."""
    path = b"/" + b"x" * (REQUEST_LINE_LIMIT - len("GET / HTTP/1.1"))
    assert 404 == status_of(sent(site, b"GET " + path + b" HTTP/1.1\r\nHost: g\r\n\r\n", piece).received())
    assert 414 == refusal(sent(site, b"GET " + path + b"x HTTP/1.1\r\nHost: g\r\n\r\n", piece))
    assert 414 == refusal(sent(site, b"GET /" + b"x" * REQUEST_LINE_LIMIT, piece))


@pytest.mark.parametrize("piece", [0, 5000])
def test_header_fields_up_to_their_limit(site: MemorySite, piece: int) -> None:
    """Header fields of 64 KiB in all pass; one byte more is 431, in one field or many, ended or not."""
    room = HEADER_LIMIT - len("Host: g\r\nX: \r\n")
    start = b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n"
    assert 200 == status_of(sent(site, start + b"X: " + b"y" * room + b"\r\n\r\n", piece).received())
    assert 431 == refusal(sent(site, start + b"X: " + b"y" * (room + 1) + b"\r\n\r\n", piece))
    assert 431 == refusal(sent(site, start + b"X: " + b"y" * 2 * room, piece))
    many = b"".join(b"X%d: %b\r\n" % (n, b"y" * 1000) for n in range(66))
    assert 431 == refusal(sent(site, start + many + b"\r\n", piece))


def test_number_of_header_fields(site: MemorySite) -> None:
    """100 fields pass, 101 are 431."""
    fields = [b"X%d: y\r\n" % n for n in range(HEADER_COUNT_LIMIT)]
    start = b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n"
    assert 200 == status_of(sent(site, start + b"".join(fields[1:]) + b"\r\n").received())
    assert 431 == refusal(sent(site, start + b"".join(fields) + b"\r\n"))


def test_length_is_judged_before_the_body_comes(site: MemorySite) -> None:
    """A Content-Length over 1 MiB is 413 at once; ``Expect: 100-continue`` does not delay it."""
    for length in (b"1048577", b"1" * 19, b"1" * 5000):
        assert 413 == refusal(sent(site, post(b"Content-Length: " + length, b"Expect: 100-continue")))


def test_body_of_exactly_the_limit_passes(site: MemorySite) -> None:
    """A body of 1 MiB is read, by length or in chunks; one byte more in chunks is 413 as it arrives."""
    body = b'{"key":"on"}' + b" " * (BODY_LIMIT - 12)
    assert 200 == status_of(sent(site, post(b"Content-Length: %d" % len(body)) + body, 50_000).received())
    chunked = post(b"Transfer-Encoding: chunked")
    whole = b"80000\r\n" + body[:0x80000] + b"\r\n80000\r\n" + body[0x80000:] + b"\r\n"
    assert 200 == status_of(sent(site, chunked + whole + b"0\r\n\r\n", 50_000).received())
    assert 413 == refusal(sent(site, chunked + whole + b"1\r\nx", 50_000))


BAD = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two hosts on 1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "two lengths": post(b"Content-Length: 2", b"Content-Length: 2") + b"{}",
    "length and chunks": post(b"Content-Length: 2", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunks and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 2") + b"0\r\n\r\n",
    "chunks on 1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "other coding": post(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "identity coding": post(b"Transfer-Encoding: identity", b"Content-Length: 2") + b"{}",
    "signed length": post(b"Content-Length: +2") + b"{}",
    "list of lengths": post(b"Content-Length: 2, 2") + b"{}",
    "odd length": post(b"Content-Length: 0x2") + b"{}",
    "empty length": post(b"Content-Length:") + b"{}",
    "long odd length": post(b"Content-Length: " + b"x" * 30) + b"{}",
    "folded field": b"GET / HTTP/1.1\r\nHost: g\r\n folded\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : g\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: g\r\nrubbish\r\n\r\n",
    "nul in a value": b"GET / HTTP/1.1\r\nHost: g\r\nX: a\0b\r\n\r\n",
    "bare line feed": b"GET / HTTP/1.1\nHost: g\n\r\n\r\n",
    "bare carriage return": b"GET / HTTP/1.1\r\nHost: g\r\nX: a\rb\r\n\r\n",
    "old version": b"GET / HTTP/0.9\r\n\r\n",
    "new version": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    "two blank lines": b"\r\n\r\n",
    "bad chunk size": post(b"Transfer-Encoding: chunked") + b"zz\r\n",
    "bad chunk end": post(b"Transfer-Encoding: chunked") + b"1\r\nxyz",
}


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("piece", [0, 1])
def test_malformed_bytes_are_400_and_close(site: MemorySite, fault: str, piece: int) -> None:
    """What is malformed, or could be read in two ways, is refused and nothing after it is read."""
    assert 400 == refusal(sent(site, BAD[fault], piece))


def test_answers_before_a_fault_are_given(site: MemorySite) -> None:
    """A pipelined request before the malformed one is answered; then the refusal closes."""
    line = sent(site, KEYS + b"rubbish\r\n\r\n")
    data = line.received()
    assert [b"200", b"400"] == [part[:3] for part in data.split(b"HTTP/1.1 ")[1:]]
    assert line.closed


def test_head_has_a_deadline(site: MemorySite) -> None:
    """A head that is not complete after 10 s is 408, however steadily its bytes come."""
    line = site.connect()
    for byte in b"GET / HTTP/1.1":
        line.send(bytes([byte]))
        site.clock.advance(HEAD_DEADLINE / 20)
    assert b"" == line.received()
    site.clock.advance(HEAD_DEADLINE / 2)
    assert 408 == refusal(line)


def test_body_has_a_deadline(site: MemorySite) -> None:
    """A body that does not come is 408; the time for the head does not count."""
    line = sent(site, post(b"Content-Length: 12"))
    site.clock.advance(HEAD_DEADLINE + 1)
    line.send(b'{"key":')
    site.clock.advance(BODY_DEADLINE - HEAD_DEADLINE - 2)
    assert not line.closed
    site.clock.advance(2)
    assert 408 == refusal(line)


def test_complete_requests_leave_no_timer(site: MemorySite) -> None:
    """A request in pieces within the deadline is answered, and only the idle timer remains; it closes in silence."""
    line = site.connect()
    for part in (KEYS[:10], KEYS[10:30], KEYS[30:]):
        line.send(part)
        site.clock.advance(1)
    assert 200 == status_of(line.received())
    assert 1 == len(site.clock.getDelayedCalls())
    site.clock.advance(IDLE_TIMEOUT + 1)
    assert (b"", True) == (line.received(), line.closed)
    line.hang_up()
    assert [] == site.clock.getDelayedCalls()


def test_refused_client_is_read_from_no_longer_than_needed(site: MemorySite, monkeypatch) -> None:
    """A refused client that continues to send is cut off, even if the refusal is unsent."""
    line = sent(site, b"rubbish\r\n\r\n")
    cut: list[bool] = []
    monkeypatch.setattr(line.transport, "abortConnection", lambda: cut.append(True))
    for _ in range(LINGER_BYTES // 65536):
        line.send(b"x" * 65536)
    assert [] == cut
    line.send(b"x")
    assert [True] == cut
    line.hang_up()
    assert [] == site.clock.getDelayedCalls()


def test_http_1_0_keep_alive_pipelining_and_continue(site: MemorySite) -> None:
    """Plain HTTP goes on working: 1.0, kept-alive connections, pipelined requests, ``Expect: 100-continue``."""
    old = sent(site, b"GET /api/sdk1/keys HTTP/1.0\r\n\r\n")
    assert (200, True) == (status_of(old.received()), old.closed)
    line = sent(site, b"\r\n" + KEYS * 3)
    assert 3 == line.received().count(b"HTTP/1.1 200 OK")
    line.send(KEYS)
    assert (200, False) == (status_of(line.received()), line.closed)
    line.send(post(b"Content-Length: 12", b"Expect: 100-continue"))
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == line.received()
    line.send(b'{"key":"on"}')
    assert 200 == status_of(line.received())
    line.send(b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n" + KEYS)
    assert (1, True) == (line.received().count(b"HTTP/1.1 200 OK"), line.closed)


@pytest.mark.parametrize(
    ("fields", "closes"),
    [
        ((b"close",), True),
        ((b"keep-alive", b"close"), True),
        ((b"close, x",), True),
        ((b"x,\tCLOSE ,y",), True),
        ((b"x close",), False),
        ((b"closed",), False),
        ((b"",), False),
    ],
)
def test_close_counts_in_any_field_and_place(site: MemorySite, fields: tuple[bytes, ...], closes: bool) -> None:
    """``Connection`` is a list (RFC 9110, 7.6.1), whose fields are read as one."""
    line = sent(site, KEYS[:-2] + b"".join(b"Connection: " + field + b"\r\n" for field in fields) + b"\r\n")
    answer = line.received()
    assert (200, closes, closes) == (status_of(answer), b"Connection: close\r\n" in answer, line.closed)


def test_upgrade_is_an_ordinary_request(site: MemorySite) -> None:
    """A request that would like h2c is answered as HTTP/1.1."""
    ask = KEYS[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    assert 200 == status_of(sent(site, ask).received())


WORDS = st.sampled_from(
    [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"OPTIONS ",
        b"/",
        b"//",
        b"..",
        b"%",
        b"%2F",
        b"\xff",
        b"\x80",
        b"/api/sdk1/eval",
        b"/sse/sdk1/eval-all",
        b"/sse/sdk1/eval/e30",
        b"/configuration-files/",
        b"/hook/sdk1",
        b"?ccetag=%ff&a",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"Host: g\r\n",
        b"Host: \xff\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Accept-Encoding: gzip, br\r\n",
        b"Origin: \xfe\r\n",
        b"Connection: close\r\n",
        b"X-Forwarded-For: ,\r\n",
        b": x\r\n",
        b'{"key":"on"}',
        b"{}",
        b"5\r\n",
        b"0\r\n\r\n",
        b"x" * 200,
    ]
)
PLAUSIBLE = st.builds(
    lambda method, target, rest: method + target + b" HTTP/1.1\r\nHost: g\r\n" + rest + b"\r\n",
    st.sampled_from([b"GET ", b"POST ", b"HEAD ", b"OPTIONS "]),
    st.lists(WORDS, min_size=1, max_size=4).map(b"".join),
    st.lists(WORDS, max_size=3).map(b"".join),
)


@settings(max_examples=300)
@given(st.lists(st.one_of(WORDS, PLAUSIBLE, st.binary(max_size=20)), max_size=14).map(b"".join), st.integers(0, 2**32))
def test_any_bytes_in_any_pieces_are_answered_or_refused(data: bytes, seed: int) -> None:
    """Random bytes in random pieces never raise and log nothing (a fixture checks the log); others are served."""
    line, rng = SHARED.connect(), random.Random(seed)
    while data and not line.closed:
        size = rng.randint(1, 40)
        line.send(data[:size])
        data = data[size:]
    received = line.received()
    assert not received or received.startswith(b"HTTP/1.")
    assert b"Server:" not in received
    line.hang_up()
    assert 200 == SHARED.request("GET", "/api/sdk1/keys").status
    assert [] == SHARED.hub.subscribers()
