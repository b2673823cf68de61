"""What could be read in two ways is refused by the fast path exactly as by the Klein path: 400, close, nothing more."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server_paths import ServerPaths, without_dates

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}
SHARED = ServerPaths(CONFIG)
KEYS = b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n"
BODY = b'{"key":"on"}'


def post(*lines: bytes, body: bytes = BODY) -> bytes:
    return b"POST /api/sdk1/eval HTTP/1.1\r\nHost: g\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def get(*lines: bytes, target: bytes = b"/api/sdk1/keys") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: g\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


REFUSED = {
    "two lengths": post(b"Content-Length: 12", b"Content-Length: 12"),
    "conflicting lengths": post(b"Content-Length: 12", b"Content-Length: 2"),
    "conflicting lengths in another case": post(b"Content-Length: 12", b"content-LENGTH: 2"),
    "list of lengths": post(b"Content-Length: 12, 12"),
    "signed length": post(b"Content-Length: +12"),
    "negative length": post(b"Content-Length: -1"),
    "underscored length": post(b"Content-Length: 1_2"),
    "hexadecimal length": post(b"Content-Length: 0xc"),
    "spaced length": post(b"Content-Length: 1 2"),
    "empty length": post(b"Content-Length:"),
    "length with vertical tab": post(b"Content-Length: \x0b12"),
    "length in other digits": post("Content-Length: ١٢".encode()),
    "space before colon": post(b"Content-Length : 12"),
    "tab before colon": post(b"Content-Length\t: 12"),
    "space in a name": get(b"X Y: z"),
    "name with a parenthesis": get(b"X(: z"),
    "empty name": get(b": z"),
    "no colon": get(b"rubbish"),
    "leading space": b"GET /api/sdk1/keys HTTP/1.1\r\n Host: g\r\n\r\n",
    "folded with a space": get(b"X: y", b" z"),
    "folded with a tab": get(b"X: y", b"\tz"),
    "bare carriage return in a value": get(b"X: a\rb"),
    "bare carriage return before a line end": get(b"X: a\r"),
    "bare carriage return as a line end": b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\rX: y\r\n\r\n",
    "bare line feed in a value": get(b"X: a\nContent-Length: 5"),
    "bare line feed as a line end": b"GET /api/sdk1/keys HTTP/1.1\nHost: g\r\n\r\n",
    "bare line feed before the body": b"POST /api/sdk1/eval HTTP/1.1\r\nHost: g\r\nContent-Length: 12\n\r\n\r\n" + BODY,
    "nul in a value": get(b"X: a\0b"),
    "nul in a name": get(b"X\0: b"),
    "nul in the target": get(target=b"/api/\0/keys"),
    "nul in the method": b"GE\0T /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n",
    "two hosts": get(b"Host: h"),
    "two equal hosts": get(b"host: g"),
    "host with a space": b"GET /api/sdk1/keys HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host with markup": b"GET /api/sdk1/keys HTTP/1.1\r\nHost: <script>\r\n\r\n",
    "host with a port that is none": b"GET /api/sdk1/keys HTTP/1.1\r\nHost: a:99999\r\n\r\n",
    "no host": b"GET /api/sdk1/keys HTTP/1.1\r\n\r\n",
    "length and chunks": post(b"Content-Length: 12", b"Transfer-Encoding: chunked"),
    "chunks and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 12"),
    "coding in another case": post(b"Content-Length: 12", b"transfer-ENCODING: chunked"),
    "two codings": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunks twice": post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "coding that looks like chunks": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "coding with vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "quoted coding": post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"),
    "identity": post(b"Transfer-Encoding: identity", b"Content-Length: 12"),
    "space before the colon of a coding": post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "bad chunk size": post(b"Transfer-Encoding: chunked", body=b"zz\r\n"),
    "chunk size with a sign": post(b"Transfer-Encoding: chunked", body=b"+1\r\nx\r\n0\r\n\r\n"),
    "chunk without its end": post(b"Transfer-Encoding: chunked", body=b"1\r\nxyz0\r\n\r\n"),
    "HTTP/1.10": b"GET /api/sdk1/keys HTTP/1.10\r\nHost: g\r\n\r\n",
    "HTTP/2.0": b"GET /api/sdk1/keys HTTP/2.0\r\nHost: g\r\n\r\n",
    "http/1.1": b"GET /api/sdk1/keys http/1.1\r\nHost: g\r\n\r\n",
    "no version": b"GET /api/sdk1/keys\r\n\r\n",
    "two spaces before the version": b"GET /api/sdk1/keys  HTTP/1.1\r\nHost: g\r\n\r\n",
    "two spaces before the target": b"GET  /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n",
    "tab before the target": b"GET\t/api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n",
    "space in the target": b"GET /api/sdk1 /keys HTTP/1.1\r\nHost: g\r\n\r\n",
    "space after the version": b"GET /api/sdk1/keys HTTP/1.1 \r\nHost: g\r\n\r\n",
    "two blank lines first": b"\r\n\r\n" + KEYS,
}


@pytest.mark.parametrize("piece", [0, 1])
@pytest.mark.parametrize("fault", REFUSED)
def test_refused_alike(fault: str, piece: int) -> None:
    """Both paths answer 400 and close; the request that was smuggled behind is never answered."""
    klein, fast = SHARED.answers(REFUSED[fault] + KEYS, piece)
    assert klein == fast
    assert fast.data.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert (1, True) == (fast.data.count(b"HTTP/1.1 "), fast.closed)


JUDGED = {
    "one blank line first": b"\r\n" + KEYS,
    "lower-case method": b"get /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n",
    "unknown method": b"BREW /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n",
    "absolute target": get(target=b"http://other/api/sdk1/keys"),
    "absolute target in capitals": get(target=b"HTTP://other/api/sdk1/keys"),
    "authority target": b"CONNECT g:80 HTTP/1.1\r\nHost: g\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n",
    "fragment in the target": get(target=b"/api/sdk1/keys#x"),
    "bad escape": get(target=b"/api/%zz/keys"),
    "escaped nul": get(target=b"/api/sdk1%00/keys"),
    "unclean path": get(target=b"/api//sdk1/../sdk1/keys"),
    "trailing slash": get(target=b"/api/sdk1/keys/"),
    "bytes that are not ASCII": get(target=b"/api/sdk1\xff/keys"),
    "delete in the target": get(target=b"/api/sdk1\x7f/keys"),
    "control byte in the target": get(target=b"/api/sdk1\x01/keys"),
    "control byte in a value": get(b"X: a\x01b"),
    "delete in a value": get(b"X: a\x7fb"),
    "latin-1 in a value": get(b"X: a\xe9b"),
    "spaces around a value": post(b"Content-Length: \t 12 \t"),
    "no space before a value": post(b"Content-Length:12"),
    "leading zeros": post(b"Content-Length: 0012"),
    "empty host": b"GET /api/sdk1/keys HTTP/1.1\r\nHost:\r\n\r\n",
    "host with a port": b"GET /api/sdk1/keys HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    "target without a slash": get(target=b"]api/sdk1/keys"),
    "asterisk of a GET": get(target=b"*"),
    "connection close in a second field": get(b"Connection: keep-alive", b"Connection: close"),
    "connection close first of a list": get(b"Connection: close, x"),
    "connection that only looks like close": get(b"Connection: x close"),
    "body of a GET": get(b"Content-Length: 12") + BODY,
    "POST without length": b"POST /api/sdk1/eval HTTP/1.1\r\nHost: g\r\n\r\n",
    "chunks": post(b"Transfer-Encoding: chunked", body=b"c\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunks in capitals, with extension": post(
        b"Transfer-Encoding: CHUNKED", body=b"c;x=y\r\n" + BODY + b"\r\n0\r\n\r\n"
    ),
    "upgrade to h2c": get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    "upgrade to a web socket": get(b"Connection: Upgrade", b"Upgrade: websocket"),
    "upgrade without connection": get(b"Upgrade: h2c"),
    "connection close": get(b"Connection: close"),
    "connection close among others": get(b"Connection: keep-alive, CLOSE"),
    "keep-alive": get(b"Connection: Keep-Alive"),
    "proxy connection": get(b"Proxy-Connection: close"),
    "expectation": post(b"Content-Length: 12", b"Expect: 100-continue"),
    "unknown expectation": post(b"Content-Length: 12", b"Expect: 200-ok"),
    "HTTP/1.0": b"GET /api/sdk1/keys HTTP/1.0\r\n\r\n",
    "HTTP/1.0 that stays": b"GET /api/sdk1/keys HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "empty value": get(b"X:"),
    "field twice": post(b"Content-Length: 12", b"X-ConfigCat-SdkKey: a", b"X-ConfigCat-SdkKey: b"),
    "host hidden in the body": b"POST /api/sdk1/eval HTTP/1.1\r\nContent-Length: 12\r\n\r\nHost: g\r\n\r\n\r\n",
}


@pytest.mark.parametrize("piece", [0, 1])
@pytest.mark.parametrize("oddity", JUDGED)
def test_judged_alike(oddity: str, piece: int) -> None:
    """What is odd but not malformed gets the same bytes from both paths, and so does what comes behind it."""
    klein, fast = SHARED.answers(JUDGED[oddity] + KEYS, piece)
    assert klein == fast
    assert b"" != fast.data


LINES = st.sampled_from(
    [
        b"Host: g", b"Host: h", b"host:", b"Content-Length: 12", b"Content-Length: 0", b"content-length:5",
        b"Transfer-Encoding: chunked", b"Connection: keep-alive", b"Connection: close", b"Upgrade: h2c",
        b"Connection: Upgrade", b"Accept-Encoding: gzip", b"Accept-Encoding: br", b"Origin: https://a.test", b"X: y",
        b"X :y",
        b" folded", b"\tfolded", b"X: \xff\x80", b"X: a\rb", b"X: a\nb", b"X: \0", b"rubbish", b"", b"TE: trailers",
        b"Expect: 100-continue", b"If-None-Match: *", b"X-ConfigCat-SdkId: sdk1", b"\xc3\xa9: y", b"X\x7f: y",
    ]
)  # fmt: skip
FIRST = st.sampled_from(
    [
        b"POST /api/sdk1/eval HTTP/1.1", b"POST /api/sdk1/eval-all HTTP/1.1", b"GET /api/sdk1/keys HTTP/1.1",
        b"OPTIONS /api/sdk1/keys HTTP/1.1", b"HEAD /api/sdk1/keys HTTP/1.1", b"GET /sse/sdk1/eval-all HTTP/1.1",
        b"GET /sse/sdk1/eval/e30 HTTP/1.1", b"POST /ofrep/v1/evaluate/flags HTTP/1.1", b"GET / HTTP/1.1",
        b"POST /ofrep/v1/evaluate/flags/on HTTP/1.1", b"GET /configuration-files/configcat-proxy/sdk1 HTTP/1.1",
        b"GET /api/../x HTTP/1.1", b"GET /api/%2F/keys?a=b HTTP/1.1", b"GET /a b HTTP/1.1", b"GET / HTTP/1.0",
        b"POST /hook-test HTTP/1.1", b"DELETE /status HTTP/1.1", b"", b"PUT /api/sdk1/eval HTTP/1.1",
    ]
)  # fmt: skip
BODIES = st.sampled_from(
    [b"", BODY, b"{}", b"c\r\n" + BODY + b"\r\n0\r\n\r\n", b"0\r\n\r\n", b"GET /", b"\r\n", b"\xff"],
)
FIELDS = st.one_of(st.lists(LINES, max_size=5), st.lists(LINES, max_size=3).map(lambda lines: [b"Host: g", *lines]))
REQUESTS = st.builds(lambda first, lines, body: b"\r\n".join([first, *lines, b"", b""]) + body, FIRST, FIELDS, BODIES)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Some requests in a row, with a few bytes of them lost, doubled or replaced."""
    data = b"".join(draw(st.lists(REQUESTS, min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        data = (
            data[:place] + draw(st.one_of(st.binary(max_size=2), st.just(data[place : place + 4]))) + data[place + 1 :]
        )
    return data


@example(b"POST /api/0/eval HTTP/1.1\r\nHost:\r\n\r\n\r\n\r\n", 0)
@settings(max_examples=250)
@given(
    st.one_of(mutated(), st.binary(max_size=80), st.lists(REQUESTS, max_size=3).map(b"".join)), st.integers(0, 2**32)
)
def test_any_bytes_in_any_segments_are_answered_alike(data: bytes, seed: int) -> None:
    """Whatever comes, in whatever pieces, nothing is raised or logged, and both paths answer alike.

    Where the fast path waits for the end of a head that Klein has refused, its deadline brings the same refusal.
    """
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(len(data) + 1), min(chance.randrange(6), len(data) + 1)))
    segments = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    answers = []
    for client in SHARED.clients():
        for segment in segments:
            client.send(segment)
        answers.append((client, client.everything()))
    (klein, klein_data), (fast, fast_data) = answers
    if klein.closed and not fast.closed:
        fast.protocol.deadline = -1.0
        fast.protocol.late()
        fast_data += fast.everything()
    assert (without_dates(klein_data), klein.closed) == (without_dates(fast_data), fast.closed)
    klein.hang_up()
    fast.hang_up()
    assert ([], []) == (SHARED.klein.hub.subscribers(), SHARED.fast.hub.subscribers())
    assert set() == SHARED.factory.open
