"""Short URLs of streams from outside: a real EventSource, worker processes, several nodes, and what logs contain."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdn_stand_in import SDK_KEY, CdnStandIn
from child_lines import ChildLines
from eventually import eventually
from gateway_process import GatewayProcess
from jumping_clock import JumpingClock
from nginx import nginx_before
from shop import GERMAN, shop
from streams import Streams, stream_path

Start = Callable[..., GatewayProcess]
HERE = Path(__file__).resolve().parent
SECRET = "0123456789abcdef0123456789abcdef"
PRIVATE = "private-attribute-of-anna"
BODY = json.dumps({"key": "banner", "user": GERMAN | {"Email": PRIVATE}}).encode()
DAY = 86_400


def settings(upstream: CdnStandIn, **http: Any) -> dict[str, Any]:
    """Return settings whose log has a line for each request and each stream."""
    sdk = {"key": SDK_KEY, "base_url": upstream.url, "poll_interval": 1}
    sse = {"drain_window": 0} | http.pop("sse", {})
    return {"sdks": {"shop": sdk}, "log": {"level": "debug"}, "http": {"sse": sse} | http}


def new_url(gateway: GatewayProcess, body: bytes = BODY) -> str:
    """Return the path of a new stream."""
    status, answer = gateway.post("/sse/shop/streams", body)
    assert 201 == status
    return str(json.loads(answer)["url"])


@pytest.fixture
def streams() -> Iterator[Streams]:
    """A group of streams that is closed with the test."""
    with contextlib.closing(Streams()) as group:
        yield group


@pytest.mark.parametrize("workers", [1, 2])
def test_an_event_source_uses_a_url_until_it_expires(
    gateway_process: Start, upstream: CdnStandIn, node: str, streams: Streams, tmp_path: Path, workers: int
) -> None:
    """It gets values and changes; at the expiry an open stream goes on, and a new one gets 410 and stops for good.

    Every process opens the URL, and no log line contains it or the user.
    """
    clock = JumpingClock(tmp_path / "clock")
    gateway = gateway_process(settings(upstream) | {"workers": workers}, env=clock.env)
    path = new_url(gateway)
    program = [node, "clients/event_source.mjs", gateway.url + path]
    with ChildLines(program, cwd=HERE) as child:
        assert [0, "message", '{"value":"before","variationId":"v-before"}'] == child.next()[:3]
        # Of 16 connections each of two processes gets some, but in one run of 32,768.
        others = [streams.open(gateway.port, path) for _ in range(16)]
        streams.read_until(lambda: all(each.payloads for each in others))
        assert {"before"} == {each.payloads[0]["value"] for each in others}
        clock.set(DAY + 60)
        upstream.set(shop("after"))
        assert [0, "message", '{"value":"after","variationId":"v-after"}'] == child.next()[:3]
        with ChildLines(program, cwd=HERE) as late:
            assert [0, "error", 410, True] == late.next()
    assert 410 == gateway.get(path)[0]
    fresh = streams.open(gateway.port, new_url(gateway))
    streams.read_until(lambda: fresh.payloads)
    eventually(lambda: "/sse/{sdkId}/streams/{token} answered 410" in gateway.logs())
    assert not shown(gateway.logs(), path)


def test_nodes_that_share_the_settings_share_the_urls(
    gateway_process: Start, upstream: CdnStandIn, streams: Streams
) -> None:
    """A URL of one node opens on another with the same secret, resumes there, and outlives a restart.

    Once the secret is changed, it is answered with 403.
    """
    first, second = (gateway_process(settings(upstream, sse={"url_secret": SECRET})) for _ in range(2))
    path = new_url(first)
    begun = streams.open(first.port, path + "?mode=delta")
    streams.read_until(lambda: begun.payloads)
    last = last_id(first, path)
    resumed = streams.open(second.port, path + "?mode=delta", headers=f"Last-Event-ID: {last}\r\n")
    streams.read_until(lambda: resumed.payloads)
    assert [{"banner": {"value": "before", "variationId": "v-before"}}] == begun.payloads
    assert [{}] == resumed.payloads
    first.restart()
    again = streams.open(first.port, path)
    streams.read_until(lambda: again.payloads)
    first.reload(settings(upstream, sse={"url_secret": SECRET[::-1]}))
    eventually(lambda: first.get(path + "?mode=none")[0] == 403)
    fresh = streams.open(first.port, new_url(first))
    streams.read_until(lambda: fresh.payloads)
    assert not shown(first.logs() + second.logs(), path)


def test_a_proxy_in_front_logs_no_attribute(
    gateway_process: Start, upstream: CdnStandIn, streams: Streams, tmp_path: Path
) -> None:
    """The access log of an nginx with a path prefix contains URLs of both kinds of streams, and nothing of the user."""
    gateway = gateway_process(settings(upstream, trusted_proxies=["127.0.0.1"]))
    with nginx_before(gateway.port, tmp_path, "/flags", "proxy_set_header X-Forwarded-Prefix /flags;") as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        proxy = GatewayProcess({}, tmp_path)
        proxy.port = port
        status, answer = proxy.post("/flags/sse/shop/streams", BODY)
        short = json.loads(answer)["url"]
        assert (201, True) == (status, short.startswith("/flags/sse/shop/streams/"))
        context = json.dumps({"context": GERMAN | {"targetingKey": "anna", "Email": PRIVATE}}).encode()
        bulk = proxy.post("/flags/ofrep/v1/evaluate/flags", context, headers={"X-ConfigCat-SdkId": "shop"})[1]
        offered = json.loads(bulk)["eventStreams"][0]["endpoint"]["requestUri"]
        opened = [streams.open(port, path) for path in (short, offered)]
        streams.read_until(lambda: all(each.payloads for each in opened))
        for each in opened:
            each.close()
        log = tmp_path / "access.log"
        eventually(lambda: all(path in log.read_text() for path in (short, offered)))
        assert not shown(log.read_text())
        assert not shown(gateway.logs(), short, offered)
        # The long form, so that the check itself is checked.
        assert 400 == proxy.get("/flags" + stream_path("shop", {"Email": PRIVATE}) + "?mode=none")[0]
        eventually(lambda: shown(log.read_text()))


def last_id(gateway: GatewayProcess, path: str) -> str:
    """Return the id of the first event of a stream in delta mode."""
    group = Streams()
    try:
        stream = group.open(gateway.port, path + "?mode=delta")
        seen = b""
        while b"id: " not in seen or b"data: " not in seen:
            stream.socket.settimeout(15)
            seen += stream.socket.recv(65_536)
    finally:
        group.close()
    return seen.partition(b"id: ")[2].partition(b"\n")[0].decode()


def shown(log: str, *paths: str) -> list[str]:
    """Return which parts of the user, plain or in base64, and which of the ``paths``, a log contains."""
    words = [PRIVATE, "Germany", *(path.rpartition("/")[2] for path in paths)]
    # Base64 of a text differs by its offset; of 24 bytes and more, 30 characters in the middle are the same.
    encoded = [base64.b64encode(b"x" * offset + PRIVATE.encode())[4:-4].decode() for offset in range(3)]
    return [word for word in (*words, *encoded) if word in log]
