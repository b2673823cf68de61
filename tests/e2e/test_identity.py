"""Signed users from outside: streams that end with their tokens, the keys of an issuer, and what logs show."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import h2.events
import pytest
import trustme

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway.testing.threaded import QuietHandler, ThreadedServer
from gateway.text import hash_caller_key, make_caller_key
from gateway_process import GatewayProcess, unused_port
from http2_client import Http2Client
from jumping_clock import JumpingClock
from shop import shop
from streams import stream_path
from tokens import SECRET, key_set, rsa_key, user_token
from worker_processes import sample

PRIVATE = "private-name-of-a-user"
CLAIMS = {"sub": "Identifier", "country": "Country"}
OLD, NEW = rsa_key(), rsa_key()
EXPIRED = 'event: expired\ndata: {"type":"expired"}\n\n'
OFREP = "/ofrep/v1/evaluate/flags"


class Issuer(ThreadedServer):
    """Serves a key set."""

    def __init__(self) -> None:
        self.body = key_set(old=OLD)
        self.requests = 0
        super().__init__(self._handler(), 0)
        self.url = f"http://127.0.0.1:{self.port}/jwks.json"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(issuer.body)))
                self.end_headers()
                self.wfile.write(issuer.body)

        return Handler


class Client:
    """One request over HTTP/1.1 under TLS; ``text`` is what has been read of the answer."""

    def __init__(
        self, port: int, context: ssl.SSLContext, method: str, path: str, headers: dict[str, str], body: str = ""
    ) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self._connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
        self._connection.request(method, path, body or None, headers)
        self.answer = self._connection.getresponse()
        self.text = ""

    def read(self, text: str) -> None:
        """Read lines until the stream contains ``text``."""
        while text not in self.text:
            line = self.answer.readline()
            assert line, f"the stream ended: {self.text}"
            self.text += line.decode()

    def rest(self) -> str:
        """Read until the server ends the stream."""
        return self.answer.read().decode()

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as server:
        yield server


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def tls(authority: trustme.CA, folder: Path) -> dict[str, Any]:
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=number > 0)
    return {"enabled": True, "certificates": [{"cert": f"{folder}/cert.pem", "key": f"{folder}/key.pem"}]}


@pytest.mark.parametrize("workers", [1, 2])
def test_streams_end_with_their_tokens(
    gateway_process: Callable[..., GatewayProcess],
    upstream: CdnStandIn,
    issuer: Issuer,
    authority: trustme.CA,
    trusting: ssl.SSLContext,
    tmp_path: Path,
    workers: int,
) -> None:
    """Over HTTP/1.1, its Klein path and HTTP/2, of each kind, in every process.

    No token and no user is in the log, at any level, or on a page for operators.
    """
    signed = {"users": "signed"}
    clock = JumpingClock(tmp_path / "clock")
    gateway = gateway_process(
        {
            "workers": workers,
            "log": {"level": "debug"},
            "sdks": {"shop": {"key": SDK_KEY, "base_url": upstream.url, "poll_interval": 1}},
            "http": {"sse": signed | {"drain_window": 0}, "api": signed, "ofrep": signed},
            "identity": {
                "keys": [{"kid": "mac", "alg": "HS256", "secret": SECRET}, {"jwks_url": issuer.url}],
                "audience": "flags",
                "leeway": 0,
                "claims": CLAIMS,
            },
            "tls": tls(authority, tmp_path),
        },
        env=clock.env,
    )

    def token(key: Any = SECRET, alg: str = "HS256", kid: str = "mac", country: str = "Germany") -> str:
        return user_token(PRIVATE, seconds=3000, key=key, alg=alg, kid=kid, aud="flags", country=country)

    def bearer(text: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {text}"}

    path = stream_path("shop", {"Country": "France"}, "banner")
    sent = [token(), token(OLD, "RS256", "old"), token(NEW, "RS256", "new")]
    with contextlib.ExitStack() as stack:

        def request(method: str, path: str, headers: dict[str, str], body: str = "") -> Client:
            client = Client(gateway.port, trusting, method, path, headers, body)
            stack.callback(client.close)
            return client

        # Of 16 connections each of two processes gets some, but in one run of 32,768.
        streams = [request("GET", path, bearer(sent[number % 2])) for number in range(16)]
        streams.append(request("GET", f"{path}?token={sent[0]}", {}))
        streams.append(request("GET", path, {"Cookie": f"__Host-flags={sent[0]}", "Sec-Fetch-Site": "same-origin"}))
        streams.append(request("GET", path, bearer(sent[0]) | {"Connection": "close"}))
        url = request("POST", "/sse/shop/streams", bearer(sent[0]), '{"key":"banner"}').rest()
        streams.append(request("GET", json.loads(url)["url"], {}))
        for stream in streams:
            stream.read('"before"')
        bulk = request("POST", OFREP, bearer(sent[0]) | {"X-ConfigCat-SdkId": "shop"}, "{}").rest()
        ofrep = request("GET", json.loads(bulk)["eventStreams"][0]["endpoint"]["requestUri"], {})
        ofrep.read('"type":')
        second = stack.enter_context(contextlib.closing(Http2Client(gateway.port, trusting)))
        number = second.request("GET", path, headers={"authorization": f"Bearer {sent[0]}"})
        eventually(lambda: second.read() or b'"before"' in received(second, number))

        # An unknown key: the keys were fetched less than a minute ago, so that they are not fetched again.
        fetched = issuer.requests
        rejected = request("GET", path, bearer(sent[2]))
        assert (401, fetched) == (rejected.answer.status, issuer.requests)

        upstream.set(shop("after"))
        for stream in streams:
            stream.read('"after"')

        clock.set(3000)
        for stream in (*streams, ofrep):
            assert stream.rest().endswith(EXPIRED)
        eventually(lambda: second.read() or second.of(h2.events.StreamEnded))
        assert received(second, number).decode().endswith(EXPIRED)
        late = request("GET", path, bearer(sent[0]))
        assert 401 == late.answer.status
        assert (
            'Bearer error="invalid_token", error_description="the token has expired"'
            == late.answer.headers["WWW-Authenticate"]
        )
        assert 410 == request("GET", json.loads(url)["url"], {}).answer.status
        for text in sent:
            request("POST", "/api/shop/eval", bearer(text), '{"key":"banner"}')
        dropped = "flaggateway_streams_dropped_total"
        eventually(lambda: sample(gateway, dropped, reason="expired") == len(streams) + 2)  # workers report each second
        pages = [
            gateway.get(page, diag=True)[1].decode()
            for page in ("/status", "/metrics", "/api/v1/clients", "/api/v1/streams")
        ]
    for text in (gateway.logs(), *pages):
        assert PRIVATE not in text
        assert not any(each in text or each.rpartition(".")[2] in text for each in sent)
    assert "Traceback" not in gateway.logs()


def received(client: Http2Client, number: int) -> bytes:
    return b"".join(event.data for event in client.of(h2.events.DataReceived) if event.stream_id == number)


def test_callers_have_keys(gateway_process: Callable[..., GatewayProcess], upstream: CdnStandIn) -> None:
    """With two processes: the key is needed in each, a reload replaces it, and its last use is shown for both.

    What is open to other machines is noted at the start, and an issuer that does not answer is a problem.
    """
    keys = [make_caller_key(bytes([number]) * 32) for number in range(2)]
    hashes = [hash_caller_key(key.encode()) for key in keys]
    port = unused_port()

    def settings(*keys: dict[str, Any]) -> dict[str, Any]:
        return {
            "workers": 2,
            "sdks": {"shop": {"key": SDK_KEY, "base_url": upstream.url, "poll_interval": 1}},
            "http": {"bind": "0.0.0.0", "sse": {"drain_window": 0}, "auth": {"keys": list(keys)}},
            "identity": {"keys": [{"jwks_url": f"http://127.0.0.1:{port}/jwks.json"}]},
        }

    gateway = gateway_process(settings({"name": "team", "hash": hashes[0]}))

    def status(key: str | None) -> int:
        headers = {} if key is None else {"X-Flaggateway-Key": key}
        return gateway.post("/api/shop/eval", b'{"key":"banner"}', headers=headers)[0]

    # Of 16 connections each of two processes gets some, but in one run of 32,768.
    assert {401} == {status(key) for key in (None, keys[1]) for _ in range(8)}
    assert {200} == {status(keys[0]) for _ in range(16)}
    gateway.reload(settings({"name": "team", "hash": hashes[0], "second_hash": hashes[1]}))
    eventually(lambda: {200} == {status(key) for key in keys for _ in range(8)}, gateway.logs, limit=60)
    gateway.reload(settings({"name": "team", "hash": hashes[1]}))
    eventually(lambda: {401} == {status(keys[0]) for _ in range(16)}, gateway.logs, limit=60)
    shown = json.loads(gateway.get("/api/v1/clients", diag=True)[1])["keys"]
    assert {("team", False, True), ("team", True, True)} == {
        (use["caller"], use["second"], use["requests"] > 7) for use in shown
    }
    assert not any(key in gateway.logs() for key in keys)
    assert "settings: http.cdn_proxy.cors.allowed_origins: targeting rules are public" in gateway.logs()
    problem = "identity: the keys of 127.0.0.1 cannot be fetched, its tokens are refused: the connection failed"
    eventually(lambda: problem in gateway.get("/status", diag=True)[1].decode(), gateway.logs)
