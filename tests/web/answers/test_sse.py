"""Event streams: what opens one, the errors, and what the connection does to the hub."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import pytest

from gateway.flags import load
from web_memory import SDK_KEY, Connection, MemorySite, parse_answer

CONFIG = {
    "f": {
        "on": {"t": 0, "v": {"b": True}, "i": "v1"},
        "who": {
            "t": 1,
            "v": {"s": "nobody"},
            "i": "w0",
            "r": [{"c": [{"u": {"a": "Name", "c": 28, "s": "é?>~ÿ"}}], "s": {"v": {"s": "found"}, "i": "w1"}}],
        },
    }
}
ALL = 'data: {"on":{"value":true,"variationId":"v1"},"who":{"value":"nobody","variationId":"w0"}}\n\n'
BROWSER = {"Accept": "text/event-stream"}


@pytest.fixture
def site() -> MemorySite:
    return MemorySite(CONFIG)


def encoded(value: object, *, standard: bool = False, padded: bool = True, charset: str = "utf-8") -> str:
    raw = json.dumps(value, ensure_ascii=False).encode(charset)
    text = (b64encode if standard else urlsafe_b64encode)(raw).decode()
    return text if padded else text.rstrip("=")


def opened(site: MemorySite, path: str, headers: dict[str, str] | None = None, peer: str = "192.0.2.7") -> Connection:
    connection = site.connect(peer)
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    connection.send(f"GET {path} HTTP/1.1\r\nHost: g\r\n{lines}\r\n".encode())
    return connection


def test_stream_begins_with_headers_and_the_current_values(site: MemorySite) -> None:
    """A stream begins with ``retry``, an id and the values, under headers against buffering."""
    answer = parse_answer(opened(site, "/sse/sdk1/eval-all").received())
    assert [200, "text/event-stream", "no-cache, no-transform", "no", "keep-alive", "*"] == [
        answer.status,
        *(answer[name] for name in ("content-type", "cache-control", "x-accel-buffering", "connection")),
        answer["access-control-allow-origin"],
    ]
    assert answer.text.startswith("retry: ")
    assert "\nid: " in answer.text
    assert answer.text.endswith(ALL)


def test_head_of_a_stream_ends_at_once(site: MemorySite) -> None:
    """HEAD has the headers and opens no stream."""
    answer = site.request("HEAD", "/sse/sdk1/eval-all")
    assert (200, "text/event-stream", b"") == (answer.status, answer["content-type"], answer.body)
    assert 0 == site.site.routes.dispatcher.context.state.streams.total


@pytest.mark.parametrize("standard", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
@pytest.mark.parametrize("escape", [False, True])
def test_both_alphabets_padded_or_not(
    site: MemorySite, standard: bool, padded: bool, charset: str, escape: bool
) -> None:
    """Data may be URL-safe or standard base64, padded or not, escaped or raw, UTF-8 or ``btoa`` of accents."""
    data = encoded(
        {"key": "who", "user": {"Name": "é?>~ÿ", "More": "ÿÿÿ?~>ÿÿ"}}, standard=standard, padded=padded, charset=charset
    )
    if standard:
        assert "/" in data
        assert "+" in data
    if escape:
        data = data.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    answer = parse_answer(opened(site, f"/sse/sdk1/eval/{data}").received())
    assert 'data: {"value":"found","variationId":"w1"}\n\n' in answer.text


def test_data_in_the_path_can_be_long(site: MemorySite) -> None:
    """A user of 64 KiB and more fits into the path."""
    data = encoded({"sdkKey": SDK_KEY, "user": {"Long": "x" * 70_000}})
    assert ALL in parse_answer(opened(site, f"/sse/eval-all/k/{data}").received()).text


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/sse/sdk1/eval", 400, "'data' path parameter must be set\n"),
        ("/sse/sdk1/eval/", 400, "'data' path parameter must be set\n"),
        ("/sse/eval/k/", 400, "'data' path parameter must be set\n"),
        ("/sse/eval-all/k", 400, "'data' path parameter must be set\n"),
        ("/sse/sdk1/eval/!!!", 400, "failed to decode incoming 'data'\n"),
        ("/sse/sdk1/eval/a", 400, "failed to decode incoming 'data'\n"),
        ("/sse/nope/eval/" + encoded({"key": "on"}), 404, "could not identify a configured SDK\n"),
        ("/sse/sdk1/eval/" + encoded({}), 400, "'key' must be set\n"),
        (
            "/sse/eval-all/k/" + encoded({"sdkKey": ""}),
            400,
            "either the 'sdkId' path parameter or the 'sdkKey' data parameter must be set\n",
        ),
    ],
)
@pytest.mark.parametrize("headers", [{}, BROWSER])
def test_errors_of_the_client(site: MemorySite, path: str, status: int, text: str, headers: dict[str, str]) -> None:
    """An error of the client has its own status, browser or not, and the headers of a stream."""
    answer = parse_answer(opened(site, path, headers).received())
    assert (status, text, "no-cache, no-transform", "no") == (
        answer.status,
        answer.text,
        answer["cache-control"],
        answer["x-accel-buffering"],
    )


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [
        ("", ("", '{"value":null,"variationId":""}'), ("", '{"value":true,"variationId":"n"}')),
        ("?mode=delta", ("put", "{}"), ("patch", '{"changed":{"new":{"value":true,"variationId":"n"}},"removed":[]}')),
    ],
)
def test_browser_waits_for_a_flag_that_does_not_exist_yet(
    site: MemorySite, mode: str, before: tuple[str, str], after: tuple[str, str]
) -> None:
    """An EventSource gets null first, then the value once the flag exists, also when it reconnects in between."""

    def frame(name: str, data: str, text: str) -> bool:
        return (not name or f"event: {name}\n" in text) and text.endswith(f"data: {data}\n\n")

    path = "/sse/sdk1/eval/" + encoded({"key": "new"}) + mode
    connection = opened(site, path, BROWSER)
    first = parse_answer(connection.received())
    assert (200, "text/event-stream") == (first.status, first["content-type"])
    assert frame(*before, first.text)
    new = {"f": {**CONFIG["f"], "new": {"t": 0, "v": {"b": True}, "i": "n"}}}
    publish(site, new)
    assert frame(*after, connection.received().decode().removesuffix("\r\n"))
    publish(site, CONFIG)
    assert 200 == parse_answer(opened(site, path, BROWSER).received()).status
    plain = parse_answer(opened(site, path).received())
    assert (400, "feature flag or setting with key 'new' not found\n") == (plain.status, plain.text)


def publish(site: MemorySite, config: dict[str, Any]) -> None:
    site.sdk.snapshot = load(json.dumps(config).encode(), str(len(config["f"])), site.sdk.snapshot)
    site.hub.publish(site.sdk.snapshot)
    assert site.hub.work(lambda: False)


def test_bad_attribute_in_data(site: MemorySite) -> None:
    """The error for an attribute of a wrong type names it."""
    answer = site.request("GET", "/sse/sdk1/eval-all/" + encoded({"user": {"Age": True}}))
    expected = "failed to deserialize incoming 'data': 'Age' has an invalid type, only 'string', 'number', and "
    assert (400, expected + "'string[]' types are allowed\n") == (answer.status, answer.text)


def test_browser_waits_on_an_open_stream_for_the_first_config() -> None:
    """Before the first config an EventSource gets 200 and comments, then the values as soon as they are known."""
    site = MemorySite(CONFIG, sdk={"snapshot": None, "loading": True})
    connection = opened(site, "/sse/sdk1/eval-all", BROWSER)
    first = parse_answer(connection.received())
    assert 200 == first.status
    assert "data:" not in first.text
    site.sdk.first_fetch_ended(site.snapshot)
    site.hub.publish(site.snapshot)
    assert site.hub.work(lambda: False)
    assert ALL.encode() in connection.received()


def test_browser_waits_even_when_the_sdk_never_loaded() -> None:
    """After a failed first fetch an EventSource gets an open stream, another client 500."""
    site = MemorySite(CONFIG, sdk={"snapshot": None})
    assert 200 == parse_answer(opened(site, "/sse/sdk1/eval-all", BROWSER).received()).status
    assert 500 == parse_answer(opened(site, "/sse/sdk1/eval-all").received()).status
    assert 400 == parse_answer(opened(site, "/sse/sdk1/eval/" + encoded({}), BROWSER).received()).status


def test_plain_client_waits_for_the_first_fetch() -> None:
    """Without the browser's header the reply waits until the first fetch has ended."""
    site = MemorySite(CONFIG, sdk={"snapshot": None, "loading": True})
    connection = opened(site, "/sse/sdk1/eval-all")
    assert b"" == connection.received()
    site.hub.publish(site.snapshot)
    site.sdk.first_fetch_ended(site.snapshot)
    assert ALL in parse_answer(connection.received()).text


@pytest.mark.parametrize("option", ["max_connections", "max_connections_per_address"])
def test_limits_on_open_streams(option: str) -> None:
    """Beyond a limit browsers get 200 with a ``retry``, others 503; a stream that ends makes room."""
    site = MemorySite(CONFIG, {"http": {"sse": {option: 1}}})
    first = opened(site, "/sse/sdk1/eval-all")
    browser = parse_answer(opened(site, "/sse/sdk1/eval-all", BROWSER).received())
    assert (200, "text/event-stream") == (browser.status, browser["content-type"])
    assert browser.text.startswith("retry: ")
    assert "data:" not in browser.text
    plain = parse_answer(opened(site, "/sse/sdk1/eval-all").received())
    assert (503, "10") == (plain.status, plain["retry-after"])
    other = parse_answer(opened(site, "/sse/sdk1/eval-all", peer="192.0.2.8").received())
    assert (503 if option == "max_connections" else 200) == other.status
    first.hang_up()
    assert ALL in parse_answer(opened(site, "/sse/sdk1/eval-all").received()).text


def test_change_is_pushed_and_a_closed_stream_is_removed(site: MemorySite) -> None:
    """A change reaches the open stream; a client that hangs up leaves the hub and the counts."""
    connection = opened(site, "/sse/sdk1/eval-all")
    connection.received()
    new = json.loads(json.dumps(CONFIG))
    new["f"]["on"]["v"]["b"] = False
    site.hub.publish(load(json.dumps(new).encode(), "2"))
    site.hub.work(lambda: False)
    assert b'"on":{"value":false' in connection.received()
    connection.hang_up()
    assert ([], 0, {}) == (
        site.hub.subscribers(),
        site.site.routes.dispatcher.context.state.streams.total,
        site.site.routes.dispatcher.context.state.streams.by_address,
    )


def test_paused_transport_pauses_the_subscriber(site: MemorySite) -> None:
    """A full transport is not written to; when it drains, the latest value is sent once."""
    connection = opened(site, "/sse/sdk1/eval-all")
    connection.received()
    connection.transport.producer.pauseProducing()
    for value in (False, True, False):
        new = json.loads(json.dumps(CONFIG))
        new["f"]["on"]["v"]["b"] = value
        site.hub.publish(load(json.dumps(new).encode(), str(value)))
        site.hub.work(lambda: False)
    assert b"" == connection.received()
    connection.transport.producer.resumeProducing()
    assert 1 == connection.received().count(b"data: ")


def test_ended_stream_is_complete_and_drops_later_writes(site: MemorySite) -> None:
    """When the hub ends a stream its response is complete and the connection closed; later writes are dropped."""
    connection = opened(site, "/sse/sdk1/eval-all")
    outlet: Any = site.hub.subscribers()[0].outlet
    outlet.finish()
    assert connection.received().endswith(b"0\r\n\r\n")
    outlet.write(b"late")
    outlet.finish()
    outlet.abort()
    assert (b"", [], True) == (connection.received(), site.hub.subscribers(), connection.closed)


def test_abort_drops_the_connection(site: MemorySite) -> None:
    """A stalled reader's connection is dropped with its unsent data."""
    connection = opened(site, "/sse/sdk1/eval-all")
    site.hub.subscribers()[0].outlet.abort()
    assert connection.closed


def test_http_1_0_streams_without_chunks(site: MemorySite) -> None:
    """An HTTP/1.0 client gets the same stream, delimited by the end of the connection."""
    connection = site.connect()
    connection.send(b"GET /sse/sdk1/eval-all HTTP/1.0\r\n\r\n")
    received = connection.received()
    assert received.endswith(ALL.encode())
    assert b"chunked" not in received
    assert b"keep-alive" not in received


def test_stream_of_an_sdk_that_was_removed(site: MemorySite) -> None:
    """An SDK without a hub is 500."""
    site.site.routes.dispatcher.context.hubs.clear()
    assert 500 == site.request("GET", "/sse/sdk1/eval-all").status
