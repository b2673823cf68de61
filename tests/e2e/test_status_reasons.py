"""What an operator reads for each way in which an upstream can fail, and for reloads: reasons, places, no secrets."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from eventually import eventually
from gateway.testing.threaded import QuietHandler, ThreadedServer
from gateway_process import GatewayProcess, unused_port
from shop import shop

Start = Callable[..., GatewayProcess]
BODIES = {
    "fine": (200, json.dumps(shop("before")).encode()),
    "malformed": (200, b'{"f": {\n  "banner": nonsense}}'),
    "shape": (200, b'{"f": 7}'),
    "html": (200, b"<html>It works!</html>"),
    "403": (403, b""),
    "404": (404, b""),
    "500": (500, b""),
}
DAY = timedelta(1)
PASSWORD = "hunter2-in-the-url"
TIMEOUT = 2
FETCH = "config fetch failed"
STATUS = "unexpected response received"
JSON = "invalid config JSON content: the config JSON"
REASONS = {  # of each SDK: the text of ConfigCat Proxy that begins its record, and the reason
    "refused": (FETCH, "the connection failed: Connection refused"),
    "timeout": (FETCH, f"no complete answer within {TIMEOUT} s"),
    "dns": (FETCH, "the host name cannot be resolved"),
    "signed": (FETCH, "the TLS handshake with the upstream failed: certificate verify failed: self-signed certificate"),
    "plain": (FETCH, "the TLS handshake with the upstream failed: wrong version number"),
    "malformed": (FETCH, f"{JSON} is not valid JSON at line 2, column 14"),
    "shape": (FETCH, f"{JSON} has an unexpected shape: Expected `object | null`, got `int` - at `$.f`"),
    "html": (FETCH, f"{JSON} is not valid JSON at line 1, column 1"),
    "403": (STATUS, "403 Forbidden"),
    "404": (STATUS, "404 Not Found"),
    "500": (STATUS, "500 Internal Server Error"),
    "folder": ("failed to read file", "the path is not that of a regular file"),
    "broken": ("failed to parse JSON from file", f"{JSON} is not valid JSON: it ends too early"),
}


class Answers(ThreadedServer):
    """Answers with the entry of ``bodies`` that the first part of the path names."""

    def __init__(self) -> None:
        self.bodies = dict(BODIES)
        super().__init__(self._handler())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        bodies = self.bodies

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                code, body = bodies[self.path.split("/")[1]]
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


class SelfSigned(Answers):
    """The same over TLS, with a certificate that no authority has signed."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(write_certificate(home / "self-signed.pem"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)


def write_certificate(path: Path) -> Path:
    """Write a self-signed certificate for ``localhost`` and its key; return ``path``."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoded = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(encoded + certificate.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def upstreams(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return host and port of each upstream that fails, by SDK id."""
    with Answers() as answers, SelfSigned(tmp_path) as signed, socket.create_server(("127.0.0.1", 0)) as silent:
        plain = f"127.0.0.1:{answers.port}"
        yield dict.fromkeys(BODIES, plain) | {
            "plain": plain,
            "signed": f"localhost:{signed.port}",
            "timeout": f"127.0.0.1:{silent.getsockname()[1]}",
            "refused": f"127.0.0.1:{unused_port()}",
            "dns": "no-such-upstream.invalid:8080",
        }


def key_of(number: int) -> str:
    """Return one of several SDK keys."""
    return f"configcat-sdk-1/{number:022d}/SECRET{number:016d}"


def failing_sdks(upstreams: dict[str, str], home: Path) -> dict[str, Any]:
    """Return the settings of one SDK for each way to fail."""
    sdks: dict[str, Any] = {}
    for number, name in enumerate(REASONS, 1):
        sdks[name] = {"key": key_of(number), "poll_interval": 3600}
        if name in upstreams:
            scheme = "https" if name in {"signed", "plain"} else "http"
            sdks[name]["base_url"] = f"{scheme}://operator:{PASSWORD}@{upstreams[name]}/{name}"
        else:
            path = home / f"{name}.json"
            sdks[name]["offline"] = {"enabled": True, "local": {"file_path": str(path)}}
    (home / "folder.json").mkdir()
    (home / "broken.json").write_text('{"f": {')
    return sdks


def page(gateway: GatewayProcess, path: str) -> dict[str, Any]:
    """Return a page of the diagnostics port."""
    return dict(json.loads(gateway.get(path, diag=True)[1]))


def problems(gateway: GatewayProcess) -> list[str]:
    """Return the problems of the status page."""
    return list(page(gateway, "/status")["gateway"]["problems"])


def unexplained(gateway: GatewayProcess, upstreams: dict[str, str]) -> list[str]:
    """Return the SDKs whose reason is not on every page, or not in the log."""
    status, whys, log = page(gateway, "/status"), page(gateway, "/readyz")["sdks"], gateway.logs()
    shown = {problem.split(", since 20")[0] for problem in status["gateway"]["problems"]}
    found = []
    for name, (text, reason) in REASONS.items():
        place, source = upstreams.get(name, f"{name}.json"), status["sdks"][name]["source"]
        problem = f"SDK {name}: no config from {place}: {reason}"
        explained = (
            source["status"] == "down"
            and source["records"][-1].endswith(f"UTC: [error] {text}: {reason} ({place})")
            and whys[name]["why"].startswith(f"no config yet: {text}: {reason} ({place});")
            and problem in shown
            and f"{problem}; nothing to serve yet" in log
        )
        found += [] if explained else [name]
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_each_way_to_fail_has_its_reason_on_every_page(
    gateway_process: Start, upstreams: dict[str, str], tmp_path: Path, workers: int
) -> None:
    """In the record, in ``why`` and in a problem, with host and port or file; neither key nor password is anywhere."""
    failing = failing_sdks(upstreams, tmp_path)
    fine = {"key": key_of(0), "base_url": f"http://{upstreams['fine']}/fine", "poll_interval": 1}
    gateway = gateway_process(
        {
            "sdks": {"fine": fine, **failing},
            "upstream": {"timeout": TIMEOUT},
            "http": {"status": {"enabled": True}, "sse": {"drain_window": 0}},
            "log": {"level": "debug"},
            "workers": workers,
        },
        env={"RES_OPTIONS": "timeout:1 attempts:1"},
    )
    # A fetch of a busy machine may be too late once; the next one has the reason.
    eventually(lambda: not unexplained(gateway, upstreams), lambda: unexplained(gateway, upstreams))
    fine_now = {"serving": True, "why": "serving"}
    eventually(lambda: page(gateway, "/readyz")["sdks"]["fine"] == fine_now, gateway.logs)
    metrics = gateway.get("/metrics", diag=True)[1].decode()
    up = {name: f'flaggateway_sdk_up{{sdk_id="{name}"}} 1.0' in metrics for name in ("fine", *REASONS)}
    assert up == dict.fromkeys(REASONS, False) | {"fine": True}
    eventually(lambda: "404 Not Found (" in gateway.get("/status")[1].decode())  # on the main port, by a worker
    whole = [gateway.get(path, diag=True)[1].decode() for path in ("/status", "/readyz", "/metrics")]
    whole += [gateway.get("/status")[1].decode(), gateway.post("/api/404/refresh")[1].decode(), gateway.logs()]
    for text in whole:
        assert PASSWORD not in text
        assert "SECRET" not in text
    assert upstreams["404"] not in whole[4]  # clients learn nothing about the network behind the gateway
    assert gateway.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_problems_begin_and_end_while_the_gateway_runs(gateway_process: Start, workers: int) -> None:
    """An upstream that fails behind a good config, a refused reload and a pending restart, until each is mended."""
    with Answers() as upstream:
        place = f"127.0.0.1:{upstream.port}"
        sdk = {"key": key_of(0), "base_url": f"http://{place}/fine", "poll_interval": 1}
        good = {"sdks": {"shop": sdk}, "http": {"sse": {"drain_window": 0}}, "workers": workers}
        gateway = gateway_process(good)
        assert (problems(gateway), page(gateway, "/status")["status"]) == ([], "healthy")
        upstream.bodies["fine"] = (503, b"")
        eventually(lambda: problems(gateway), gateway.logs)
        begin = f"SDK shop: no config from {place}: 503 Service Unavailable, since 20"
        assert problems(gateway)[0].startswith(begin)
        assert problems(gateway)[0].endswith("; the last good config stays in place")
        failed = f"{STATUS}: 503 Service Unavailable ({place})"
        assert page(gateway, "/readyz")["sdks"]["shop"] == {
            "serving": True,
            "why": f"serving the last good config; the latest fetch failed: {failed}",
        }
        upstream.bodies["fine"] = BODIES["fine"]
        eventually(lambda: problems(gateway) == [], gateway.logs)
        gateway.reload(good | {"log": {"level": "loud"}})
        eventually(lambda: problems(gateway), gateway.logs)
        assert problems(gateway)[0].startswith("the last reload was refused, the old settings stay: log.level")
        assert gauges(gateway) == {"last_reload_successful": 0.0, "restart_pending": 0.0}
        gateway.reload(good | {"log": {"format": "json", "level": "info"}})
        eventually(lambda: problems(gateway) == ["these take a restart: log.format"], lambda: problems(gateway))
        assert page(gateway, "/status")["gateway"]["restart_pending"] == ["log.format"]
        assert page(gateway, "/status")["status"] == "degraded"
        assert gauges(gateway) == {"last_reload_successful": 1.0, "restart_pending": 1.0}
        gateway.reload(good)
        eventually(lambda: problems(gateway) == [], lambda: problems(gateway))
        assert gauges(gateway) == {"last_reload_successful": 1.0, "restart_pending": 0.0}
        assert page(gateway, "/status")["status"] == "healthy"
        assert gateway.stop() == 0


def gauges(gateway: GatewayProcess) -> dict[str, float]:
    """Return the two gauges of reloads that are 0 or 1."""
    found = {}
    for line in gateway.get("/metrics", diag=True)[1].decode().splitlines():
        name, _, value = line.removeprefix("flaggateway_settings_").partition(" ")
        if name in {"last_reload_successful", "restart_pending"}:
            with contextlib.suppress(ValueError):
                found[name] = float(value)
    return found
