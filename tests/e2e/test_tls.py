"""TLS on the main port, for the clients that offer ALPN: curl and Chromium; certificates that a reload replaces."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from browser import Origin, open_browser
from cdn_stand_in import SDK_KEY
from eventually import eventually
from shop import GERMAN, shop

BODY = json.dumps({"key": "banner", "user": GERMAN})
MANY = 9  # streams of one origin: a browser opens six HTTP/1.1 connections and no more

PAGE = b"""<!doctype html><title>streams</title><script>
window.seen = [];
window.listen = (url, count) => {
  for (let number = 0; number < count; number++) {
    window.seen.push([]);
    new EventSource(url + "?n=" + number).onmessage = (event) => {
      window.seen[number].push(JSON.parse(event.data).value);
    };
  }
};
</script>"""


@pytest.fixture
def authority():
    """A certificate authority for the test."""
    return trustme.CA()


def write(authority: trustme.CA, home: Path, *names: str) -> dict[str, str]:
    """Write a certificate for these names and return its entry in the settings."""
    issued = authority.issue_cert(*names)
    home.mkdir(exist_ok=True)
    cert, key = home / "cert.pem", home / "key.pem"
    issued.private_key_pem.write_to_path(str(key))
    cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return {"cert": str(cert), "key": str(key)}


@pytest.fixture
def gateway(gateway_process, upstream, authority, tmp_path):
    """A gateway that speaks TLS as 127.0.0.1 and localhost, and, to those who ask for it, as flags.example."""
    first = write(authority, tmp_path / "first", "localhost", "127.0.0.1")
    second = write(authority, tmp_path / "second", "flags.example")
    return gateway_process(
        {
            "sdks": {"shop": {"key": SDK_KEY, "base_url": upstream.url, "poll_interval": 1}},
            "http": {"sse": {"drain_window": 0}},
            "tls": {"enabled": True, "certificates": [first, second]},
        }
    )


def presented(gateway, authority: trustme.CA, name: str) -> tuple[str, ...]:
    """Return the names in the certificate that a client asking for ``name`` is shown, having verified it."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        socket.create_connection(("127.0.0.1", gateway.port)) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        return tuple(value for _, value in secure.getpeercert()["subjectAltName"])


@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_evaluates_over_tls(gateway, authority, tmp_path, require_tool, option, version):
    """A client that offers ALPN is served, in the version it prefers, with a verified certificate, short URLs too."""
    root = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(root))

    def curl(path: str, *options: str) -> str:
        command = [
            require_tool("curl"), "--silent", "--noproxy", "*", option, "--cacert", str(root), *options,
            f"https://localhost:{gateway.port}{path}",
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout

    evaluated = curl("/api/shop/eval", "--data", BODY, "--write-out", " %{http_version}")
    assert evaluated == f'{{"value":"before","variationId":"v-before"}} {version}'
    short = json.loads(curl("/sse/shop/streams", "--data", BODY))["url"]
    shown = "%{http_version} %{http_code} %{content_type}"
    assert f"{version} 200 text/event-stream" == curl(short, "--head", "--output", "/dev/null", "--write-out", shown)


def test_a_client_without_alpn_is_served_the_certificate_it_asks_for(gateway, authority):
    """The server name picks among several certificates."""
    assert presented(gateway, authority, "localhost") == ("localhost", "127.0.0.1")
    assert presented(gateway, authority, "flags.example") == ("flags.example",)


def test_a_reload_replaces_the_certificate_and_a_bad_one_changes_nothing(gateway, authority, tmp_path):
    """New connections see the new certificate; a key that does not fit is refused and the old one stays."""
    fresh = write(authority, tmp_path / "fresh", "localhost", "127.0.0.1", "renewed.example")
    gateway.reload({**gateway.settings, "tls": {"enabled": True, "certificates": [fresh]}})
    eventually(lambda: "renewed.example" in presented(gateway, authority, "localhost"))
    broken = {**fresh, "key": write(authority, tmp_path / "other", "localhost")["key"]}
    gateway.reload({**gateway.settings, "tls": {"enabled": True, "certificates": [broken]}})
    eventually(lambda: "reload refused" in gateway.logs())
    assert "renewed.example" in presented(gateway, authority, "localhost")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_an_older_version_than_the_lowest_is_refused(gateway, authority):
    """The default lowest version is 1.2; a client that has only 1.1 gets no connection."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", gateway.port)) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


def negotiated(gateway, authority: trustme.CA, ciphers: str) -> str:
    """Return the cipher suite of TLS 1.2 that the gateway takes of these; empty if it takes none."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", gateway.port)) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                return secure.cipher()[0]
        except ssl.SSLError:
            return ""


def test_weak_cipher_suites_are_refused(gateway, authority):
    """RSA key exchange has no forward secrecy, and CBC has a history of attacks; a reload changes the list."""
    key_exchange, cbc = ("AES128-GCM-SHA256", "AES256-SHA"), ("ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA")
    for weak in (*key_exchange, *cbc):
        assert "" == negotiated(gateway, authority, weak), weak
    strong = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    assert negotiated(gateway, authority, strong) in strong.split(":")
    other = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    tls = gateway.settings["tls"]
    gateway.reload({**gateway.settings, "tls": {**tls, "ciphers": other}})
    eventually(lambda: not negotiated(gateway, authority, strong))
    assert negotiated(gateway, authority, other) in other.split(":")
    gateway.reload({**gateway.settings, "tls": {**tls, "ciphers": "NO-SUCH-SUITE"}})
    eventually(lambda: "tls.ciphers: OpenSSL has none of these cipher suites: NO-SUCH-SUITE" in gateway.logs())
    assert negotiated(gateway, authority, other) in other.split(":")


def test_chromium_holds_more_than_six_streams_of_one_origin(gateway, upstream, tmp_path):
    """Over TLS a browser speaks HTTP/2, so its limit of six connections does not count; every stream sees a change."""
    browser = open_browser(tmp_path / "profile", "--ignore-certificate-errors")
    try:
        with Origin({"/": ("text/html", PAGE)}) as origin:
            browser.get(origin.url)
            data = browser.execute_script("return btoa(arguments[0])", BODY)
            url = f"https://localhost:{gateway.port}/sse/shop/eval/{data}"
            browser.execute_script("window.listen(arguments[0], arguments[1])", url, MANY)
            seen = lambda: browser.execute_script("return window.seen")  # noqa: E731
            eventually(lambda: seen() == [["before"]] * MANY, seen)
            upstream.set(shop("after"))
            eventually(lambda: seen() == [["before", "after"]] * MANY, seen)
    finally:
        browser.quit()
