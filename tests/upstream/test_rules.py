"""The pure rules: addresses, data governance, pace, proxies, bounded decompression."""

from __future__ import annotations

import gzip
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http_client.bounded_body import BadEncoding, Inflater, TooLarge, Truncated
from gateway.http_client.proxies import BadProxy, Proxy, parse_proxy, route
from gateway.upstream.cdn_source import config_url
from gateway.upstream.governance import Accept, Again, Refuse, judge
from gateway.upstream.outcome import made_etag
from gateway.upstream.polling import delay, interval

GLOBAL = "https://cdn-global.example"


@pytest.mark.parametrize("base", ["http://h/p", "http://h/p/", "http://h/p//"])
def test_config_url_tolerates_slashes(base):
    """Slashes at the end of a base URL make no difference, and odd characters of a key are escaped."""
    expected = "http://h/p/configuration-files/configcat-proxy/a%20b%3F/config_v6.json"
    assert expected == config_url(base, "configcat-proxy/a b?")


@pytest.mark.parametrize(
    ("preferences", "on_default", "on_custom"),
    [
        (None, Accept(GLOBAL), Accept(GLOBAL)),
        ({}, Accept(GLOBAL), Accept(GLOBAL)),
        ({"u": "https://eu.example"}, Accept(GLOBAL), Accept(GLOBAL)),
        ({"r": 1}, Accept(GLOBAL), Accept(GLOBAL)),
        ({"u": "", "r": 1}, Accept(GLOBAL), Accept(GLOBAL)),
        ({"u": GLOBAL, "r": 2}, Accept(GLOBAL), Accept(GLOBAL)),
        ({"u": "https://eu.example", "r": 0}, Accept("https://eu.example", advised=True), Accept(GLOBAL)),
        ({"u": "https://eu.example", "r": 1}, Again("https://eu.example", advised=True), Refuse),
        ({"u": "https://eu.example", "r": 2}, Again("https://eu.example"), Again("https://eu.example")),
        ({"u": "https://eu.example", "r": 3}, Refuse, Refuse),
        ({"u": "https://eu.example", "r": True}, Refuse, Refuse),
        ({"u": "file:///etc/passwd", "r": 2}, Refuse, Refuse),
    ],
)
def test_data_governance_table(preferences, on_default, on_custom):
    """Each row of the redirect table, from a default and from a custom base."""
    body = msgspec.json.encode({"p": preferences, "f": {}})
    for custom, expected in ((False, on_default), (True, on_custom)):
        verdict = judge(body, GLOBAL, custom=custom)
        assert expected == (type(verdict) if isinstance(expected, type) else verdict)


@pytest.mark.parametrize("body", [b"", b"nope", b"[]", b'{"p":7}', b"\xff", b'{"f":{}}', b'{"f":' + b"[" * 100_000])
def test_a_body_without_readable_preferences_redirects_nowhere(body):
    """What is no config JSON is accepted here; the flags room refuses it."""
    assert Accept(GLOBAL) == judge(body, GLOBAL, custom=False)


@given(
    every=st.floats(0.01, 86400),
    failures=st.integers(0, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_pace_stays_within_its_bounds(every, failures, chance):
    """A healthy poll is at most 10 % off, a retry is never later than a poll and never at once."""
    wait = delay(every, failures, chance)
    if failures == 0:
        assert every * 0.9 - 1e-9 <= wait <= every * 1.1 + 1e-9
    else:
        assert 0 < wait <= every
        assert wait >= min(every, 1) / 2


def test_pace_doubles_up_to_the_interval():
    """Without chance, retries come after 1, 2, 4, … seconds and then at the poll interval."""
    assert [1, 2, 4, 8, 10, 10] == [delay(10, failures, 0) for failures in range(1, 7)]


def test_interval_of_zero_and_less_is_a_minute():
    """The peer polls each minute for an interval that makes no sense."""
    assert [60, 60, 2] == [interval(0), interval(-5), interval(2)]


def test_proxy_url_forms():
    """Scheme and port may be missing; user and password are unescaped and kept out of the text form."""
    proxy = parse_proxy("http://us%20er:p%40ss@proxy.example:3128")
    assert b"Basic dXMgZXI6cEBzcw==" == proxy.authorization
    assert "dXMg" not in repr(proxy)
    assert Proxy("proxy.example", 80) == parse_proxy("proxy.example")
    assert Proxy("proxy.example", 443, tls=True) == parse_proxy("https://proxy.example")


@pytest.mark.parametrize("url", ["socks5://h:1", "http://", "http://h:99999", "http://[::1", "ftp://u:secret@h"])
def test_bad_proxy_urls_are_refused_without_telling_them(url):
    """A URL that cannot be used is refused, and the error holds nothing of it."""
    with pytest.raises(BadProxy) as caught:
        parse_proxy(url)
    assert "secret" not in str(caught.value)


def chosen(environ, url_scheme, host, port, configured=""):
    return route(configured, environ, lambda where, why: None)(url_scheme, host, port)


def test_environment_chooses_by_scheme():
    """HTTP_PROXY serves http, HTTPS_PROXY https, in either case of letters; upper case wins."""
    environ = {"http_proxy": "http://low:1", "HTTPS_PROXY": "http://up:2", "https_proxy": "http://low:3"}
    assert Proxy("low", 1) == chosen(environ, "http", "cdn.example", 80)
    assert Proxy("up", 2) == chosen(environ, "https", "cdn.example", 443)


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", "cdn.example", True),
        ("cdn.example", "cdn.example", True),
        ("cdn.example", "a.cdn.example", True),
        ("cdn.example", "notcdn.example", False),
        (".cdn.example", "cdn.example", False),
        (".cdn.example", "a.cdn.example", True),
        ("*.cdn.example", "a.cdn.example", True),
        ("CDN.example:443", "cdn.example", True),
        ("cdn.example:444", "cdn.example", False),
        ("10.0.0.0/8", "10.2.3.4", True),
        ("10.0.0.0/8", "11.2.3.4", False),
        ("10.2.3.4", "10.2.3.4", True),
        ("[fd00::1]:443", "fd00::1", True),
        ("fd00::/8", "fd00::1", True),
        ("a, b ,cdn.example", "cdn.example", True),
        ("", "localhost", True),
        ("", "127.0.0.9", True),
        ("", "::1", True),
        ("", "cdn.example", False),
    ],
)
def test_no_proxy_rules(no_proxy, host, direct):
    """NO_PROXY takes names, suffixes, addresses, networks and ports; loopback is direct anyway."""
    environ = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": no_proxy}
    assert direct == (chosen(environ, "https", host, 443) is None)


def test_a_configured_proxy_serves_everything():
    """The proxy of the settings beats the environment, NO_PROXY and loopback included."""
    environ = {"HTTP_PROXY": "http://other:1", "NO_PROXY": "*"}
    assert Proxy("mine", 9) == chosen(environ, "http", "127.0.0.1", 80, configured="http://mine:9")


def test_an_unusable_proxy_is_ignored_and_said():
    """A bad URL in the settings is told by the option's name, and the environment takes over."""
    told = []
    choose = route("socks5://x", {"http_proxy": "p:1"}, lambda where, why: told.append(where))
    assert (["http_proxy.url"], Proxy("p", 1)) == (told, choose("http", "cdn.example", 80))


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
    """A small input that unfolds beyond the limit is refused at that point, and exactly the limit is accepted."""
    assert bytes(5000) == inflated(gzip.compress(bytes(5000)), limit=5000)
    with pytest.raises(TooLarge):
        inflated(gzip.compress(bytes(5001)), limit=5000)


def test_the_limit_counts_received_bytes_too():
    """Input that unfolds to nothing is still bounded."""
    empty = gzip.compress(b"")
    with pytest.raises(TooLarge):
        inflated(empty * 100, limit=1000, step=100)


def test_a_bomb_takes_no_more_memory_than_the_limit(monkeypatch):
    """Never more than one byte beyond the limit is unfolded, whatever the input could become."""
    inflater = Inflater(4096, "gzip")
    with pytest.raises(TooLarge):
        inflater.feed(gzip.compress(bytes(50_000_000))[:4000])
    assert sum(map(len, inflater._chunks)) <= 4097


def test_a_cut_gzip_stream_is_truncated():
    """An end before the gzip trailer is noticed."""
    with pytest.raises(Truncated):
        inflated(gzip.compress(b"something to lose")[:-3], limit=1000)


@pytest.mark.parametrize("data", [b"plain text", gzip.compress(b"x", mtime=0) + b"garbage", zlib.compress(b"x")])
def test_what_is_no_gzip_is_refused(data):
    """Bytes that are no gzip, before or after a good member, are an error and no body."""
    with pytest.raises(BadEncoding):
        inflated(data, limit=1000, step=1000)


def test_zero_padding_after_gzip_is_tolerated():
    """Padding after the last member does no harm."""
    assert b"x" == inflated(gzip.compress(b"x") + b"\0\0\0", limit=1000, step=1000)


def test_unknown_encodings_are_refused_at_once():
    """An encoding that we did not ask for is refused before any byte is read."""
    with pytest.raises(BadEncoding):
        Inflater(1000, "br")


def test_made_etag_is_weak_and_has_16_digits():
    """A made ETag is a function of the bytes."""
    assert made_etag(b"a") == made_etag(b"a") != made_etag(b"b")
    assert 'W/"' == made_etag(b"a")[:3]
    assert 16 == len(made_etag(b"a")[3:-1])
