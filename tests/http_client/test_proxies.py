"""Which proxy a request goes through."""

from __future__ import annotations

import pytest

from gateway.http_client.proxies import BadProxy, Proxy, ProxyRules, parse_proxy


def test_proxy_url_forms():
    """Scheme and port may be missing; user and password are unescaped and kept out of the text form."""
    proxy = parse_proxy("http://us%20er:p%40ss@proxy.example:3128")
    assert b"Basic dXMgZXI6cEBzcw==" == proxy.authorization
    assert "dXMg" not in repr(proxy)
    assert Proxy("proxy.example", 80) == parse_proxy("proxy.example")
    assert Proxy("proxy.example", 443, tls=True) == parse_proxy("https://proxy.example")


@pytest.mark.parametrize("url", ["socks5://h:1", "http://", "http://h:99999", "http://[::1", "ftp://u:secret@h"])
def test_the_error_of_a_bad_proxy_url_does_not_hold_it(url):
    """A URL that cannot be used is refused, and the error holds nothing of it."""
    with pytest.raises(BadProxy) as caught:
        parse_proxy(url)
    assert "secret" not in str(caught.value)


def chosen(environ, url_scheme, host, port, configured=""):
    return ProxyRules.from_settings(configured, environ, lambda where, why: None).choose(url_scheme, host, port)


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


def test_a_proxy_that_cannot_be_used_is_ignored_with_a_warning():
    """The warning for a bad URL in the settings names the option, and the environment's proxy is used."""
    warned = []
    rules = ProxyRules.from_settings("socks5://x", {"http_proxy": "p:1"}, lambda where, why: warned.append(where))
    assert (["http_proxy.url"], Proxy("p", 1)) == (warned, rules.choose("http", "cdn.example", 80))


def test_equal_settings_make_equal_rules():
    """A reload compares rules, to keep the connections of settings that did not change."""

    def rules(**environ):
        return ProxyRules.from_settings("", environ, lambda where, why: None)

    assert rules(HTTP_PROXY="p:1", NO_PROXY="a, b") == rules(http_proxy="http://p:1", NO_PROXY="a,b")
    assert rules(HTTP_PROXY="p:1") != rules(HTTP_PROXY="p:2")
