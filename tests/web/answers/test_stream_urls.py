"""Short URLs of streams: ``POST /sse/{sdkId}/streams`` and what it returns."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest

from gateway.flags import load
from server_paths import ServerPaths
from web_memory import SDK_KEY, Answer, Connection, MemorySite, parse_answer, request_bytes

FLAGS: dict[str, Any] = {
    "on": {"t": 0, "v": {"b": True}, "i": "v1"},
    "who": {
        "t": 1,
        "v": {"s": "other"},
        "i": "w0",
        "r": [{"c": [{"u": {"a": "Name", "c": 28, "s": "anna"}}], "s": {"v": {"s": "found"}, "i": "w1"}}],
    },
}
CONFIG = {"f": FLAGS}
ROUTE = "/sse/sdk1/streams"
ANNA = {"key": "who", "user": {"Name": "anna"}}
FOUND = 'data: {"value":"found","variationId":"w1"}\n\n'
BROWSER = {"Accept": "text/event-stream"}


@pytest.fixture
def site() -> MemorySite:
    return MemorySite(CONFIG)


def created(site: MemorySite, body: object = ANNA, **headers: str) -> Answer:
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    return site.request("POST", ROUTE, headers, text)


def url_of(site: MemorySite, body: object = ANNA) -> str:
    answer = created(site, body)
    assert 201 == answer.status
    return str(answer.json["url"])


def opened(site: MemorySite, path: str, headers: dict[str, str] | None = None) -> Connection:
    connection = site.connect()
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    connection.send(f"GET {path} HTTP/1.1\r\nHost: g\r\n{lines}\r\n".encode())
    return connection


def test_the_answer_names_a_url_and_its_expiry(site: MemorySite) -> None:
    """201 with ``Location``, the URL again, and its expiry as RFC 3339; no cache may keep it."""
    answer = created(site, Origin="https://a.example")
    assert [201, "application/json", "no-store", "https://a.example"] == [
        answer.status,
        *(answer[name] for name in ("content-type", "cache-control", "access-control-allow-origin")),
    ]
    assert ["url", "expires_at"] == list(answer.json)
    assert answer["location"] == answer.json["url"]
    assert answer.json["url"].startswith("/sse/sdk1/streams/")
    assert "2023-11-15T22:13:20.000Z" == answer.json["expires_at"]


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (ANNA, FOUND),
        ({"key": "who"}, 'data: {"value":"other","variationId":"w0"}\n\n'),
        ({"KEY": "who", "User": {"Name": "anna"}}, FOUND),
        *(
            (body, 'data: {"on":{"value":true,"variationId":"v1"},"who":{"value":"other","variationId":"w0"}}\n\n')
            for body in ({}, {"key": None, "user": None}, {"user": {"Name": "zoe"}}, "null")
        ),
    ],
)
def test_a_url_opens_the_stream_of_its_body(site: MemorySite, body: object, data: str) -> None:
    """One flag with ``key``, all flags without; field names are read as on the other routes."""
    answer = parse_answer(opened(site, url_of(site, body)).received())
    assert (200, "text/event-stream") == (answer.status, answer["content-type"])
    assert answer.text.startswith("retry: ")
    assert answer.text.endswith(data)


def test_the_sdk_key_can_name_the_sdk(site: MemorySite) -> None:
    """``/sse/streams/k`` takes ``sdkKey`` in the body, as ``/sse/eval/k`` takes it in the data."""
    answer = site.request("POST", "/sse/streams/k", {}, json.dumps(ANNA | {"sdkKey": SDK_KEY}))
    assert 201 == answer.status
    assert SDK_KEY not in answer.text
    assert parse_answer(opened(site, answer.json["url"]).received()).text.endswith(FOUND)
    for body, status in ((ANNA, 400), (ANNA | {"sdkKey": "other"}, 404)):
        assert status == site.request("POST", "/sse/streams/k", {}, json.dumps(body)).status


def test_the_query_of_the_url_chooses_the_mode(site: MemorySite) -> None:
    """``mode``, ``resume`` and ``last_event_id`` are those of every stream."""
    url = url_of(site)
    delta = parse_answer(opened(site, url + "?mode=delta").received()).text
    assert "event: put\nid: " in delta
    assert 400 == site.request("GET", url + "?mode=x").status
    last = delta.partition("id: ")[2].partition("\n")[0]
    for path, headers in (
        (f"{url}?mode=delta&last_event_id={last}", {}),
        (f"{url}?mode=delta", {"Last-Event-ID": last}),
    ):
        assert "event: recovered\n" in parse_answer(opened(site, path, headers).received()).text


def test_a_reconnect_gets_what_it_missed(site: MemorySite) -> None:
    """The URL is good for any number of reconnects; the stream compares the last id with the current values."""
    url = url_of(site)
    last = parse_answer(opened(site, url).received()).text.partition("id: ")[2].partition("\n")[0]
    changed = json.dumps({"f": {"who": FLAGS["on"]}}).encode()
    site.sdk.snapshot = load(changed, '"2"', site.sdk.snapshot)
    site.hub.publish(site.sdk.snapshot)
    assert site.hub.work(lambda: False)
    answer = parse_answer(opened(site, url, {"Last-Event-ID": last}).received())
    assert answer.text.endswith('data: {"value":true,"variationId":"v1"}\n\n')


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "failed to parse JSON body: unexpected end of JSON input"),
        ("{", "failed to parse JSON body: unexpected end of JSON input"),
        ("[]", "failed to parse JSON body: expected a JSON object, found an array"),
        ('{"key":1}', "failed to parse JSON body: field 'key' must be a string, found a number"),
        ('{"user":{"x":true}}', "failed to parse JSON body: 'x' has an invalid type, only 'string', 'number', and"),
        ('{"key":""}', "'key' must be set"),
    ],
)
def test_a_body_that_is_not_valid_is_400(site: MemorySite, body: str, text: str) -> None:
    """The texts are those of the API; an empty key is a mistake, not all flags."""
    answer = created(site, body)
    assert (400, "*") == (answer.status, answer["access-control-allow-origin"])
    assert answer.text.startswith(text)


def test_an_unknown_sdk_is_404(site: MemorySite) -> None:
    """With the text of the other routes, for both methods."""
    token = url_of(site).rpartition("/")[2]
    answers = [
        site.request("POST", "/sse/nope/streams", {}, "{}"),
        site.request("GET", f"/sse/nope/streams/{token}"),
    ]
    assert [(404, "could not identify a configured SDK\n")] * 2 == [(each.status, each.text) for each in answers]


def test_the_flag_is_looked_for_when_the_stream_opens(site: MemorySite) -> None:
    """A browser waits for a flag that does not exist; another client gets 400, as on the other routes."""
    url = url_of(site, {"key": "new"})
    answer = site.request("GET", url)
    assert (400, "feature flag or setting with key 'new' not found\n") == (answer.status, answer.text)
    connection = opened(site, url, BROWSER)
    assert parse_answer(connection.received()).text.endswith('data: {"value":null,"variationId":""}\n\n')
    site.sdk.snapshot = load(json.dumps({"f": FLAGS | {"new": FLAGS["on"]}}).encode(), '"2"', site.sdk.snapshot)
    site.hub.publish(site.sdk.snapshot)
    assert site.hub.work(lambda: False)
    assert b'data: {"value":true,"variationId":"v1"}' in connection.received()


def test_a_url_can_be_issued_before_the_first_config() -> None:
    """A browser's stream then opens and waits."""
    early = MemorySite(CONFIG, sdk={"snapshot": None, "loading": True})
    connection = opened(early, url_of(early), BROWSER)
    assert "data:" not in parse_answer(connection.received()).text
    early.sdk.first_fetch_ended(early.snapshot)
    early.hub.publish(early.snapshot)
    assert early.hub.work(lambda: False)
    assert FOUND.encode() in connection.received()


def test_a_changed_url_is_403_and_an_expired_one_410(site: MemorySite) -> None:
    """No ``EventSource`` reconnects after either; both have CORS headers, so that a script can read the status."""
    url = url_of(site)
    open_stream = opened(site, url)
    open_stream.received()
    site.clock.advance(86_399)
    assert 200 == parse_answer(opened(site, url).received()).status
    changed = url[:-3] + ("A" if url[-3] != "A" else "B") + url[-2:]
    site.clock.advance(1)
    for path, status in ((changed, 403), (url, 410), (changed, 403)):
        answer = site.request("GET", path, BROWSER | {"Origin": "https://a.example"})
        assert (status, "https://a.example") == (answer.status, answer["access-control-allow-origin"])
        assert "request a new one" in answer.text
    assert not open_stream.closed


def test_the_lifetime_is_an_option() -> None:
    """``http.sse.url_lifetime``, in seconds."""
    site = MemorySite(CONFIG, {"http": {"sse": {"url_lifetime": 90}}})
    assert "2023-11-14T22:14:50.000Z" == created(site).json["expires_at"]


def incompressible(length: int) -> str:
    return "".join(random.Random(length).choices(string.ascii_letters + string.digits + "-_", k=length))


def test_a_url_of_the_greatest_length_is_issued() -> None:
    """Origin and prefix count; beyond ``http.max_stream_url`` the answer is 413 and names the option."""
    http = {"public_url": "https://f.example/flags", "max_stream_url": 1024}
    site = MemorySite(CONFIG, {"http": http})
    lengths, refused = [], set()
    for size in range(600, 1000):
        answer = created(site, {"user": {"x": incompressible(size)}})
        if answer.status == 201:
            lengths.append(len(answer.json["url"]))
        else:
            refused.add((answer.status, "http.max_stream_url" in answer.text, answer["access-control-allow-origin"]))
    assert 1020 < max(lengths) <= 1024
    assert {(413, True, "*")} == refused


def test_a_body_beyond_the_limit_of_a_url_is_413(site: MemorySite) -> None:
    """Also one that DEFLATE would make short; a context of 100,000 equal characters still fits."""
    assert 413 == created(site, {"user": {f"x{number}": "x" * 100_000 for number in range(2)}}).status
    url = url_of(site, {"key": "who", "user": {"Name": "anna", "x": "x" * 100_000}})
    assert len(url) < 1000
    assert parse_answer(opened(site, url).received()).text.endswith(FOUND)


@pytest.mark.parametrize(
    ("http", "headers", "start"),
    [
        ({"public_url": "https://f.example:8443/flags/"}, {}, "https://f.example:8443/flags/sse/sdk1/streams/"),
        ({"trusted_proxies": ["192.0.2.0/24"]}, {"X-Forwarded-Prefix": "/flags"}, "/flags/sse/sdk1/streams/"),
        ({}, {"X-Forwarded-Prefix": "/flags"}, "/sse/sdk1/streams/"),
    ],
)
def test_the_url_is_the_one_that_clients_reach(http: dict[str, Any], headers: dict[str, str], start: str) -> None:
    """``http.public_url`` and the prefix of a trusted proxy precede the path, in the body and in ``Location``."""
    answer = created(MemorySite(CONFIG, {"http": http}), **headers)
    assert answer.json["url"].startswith(start)
    assert answer["location"] == answer.json["url"]


def test_a_preflight_allows_post(site: MemorySite) -> None:
    """A script on another origin may send JSON."""
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    answer = site.request("OPTIONS", ROUTE, asked)
    assert (204, "https://a.example", "POST,OPTIONS") == (
        answer.status,
        answer["access-control-allow-origin"],
        answer["access-control-allow-methods"],
    )
    assert "Content-Type" in str(answer["access-control-allow-headers"]).split(",")


def test_other_methods_are_405(site: MemorySite) -> None:
    """A GET without a token opens nothing."""
    assert (405, "OPTIONS, POST") == (
        (answer := site.request("GET", ROUTE)).status,
        answer["allow"],
    )
    assert 405 == site.request("POST", url_of(site), {}, "{}").status


def test_default_attributes_are_added_when_the_stream_opens(site: MemorySite) -> None:
    """A URL stays valid when they change, and the stream has the new ones."""
    url = url_of(site, {"key": "who"})
    site.sdk.defaults = {"Name": "anna"}
    assert parse_answer(opened(site, url).received()).text.endswith(FOUND)


def test_a_new_secret_makes_urls_invalid(site: MemorySite) -> None:
    """After a reload, or a restart, with another ``http.sse.url_secret`` old URLs are 403, new ones work."""
    from web_memory import settings_of

    url = url_of(site)
    secret = settings_of({"http": {"sse": {"url_secret": "s" * 32}}})
    site.site.use(site.site.prepare(secret))
    assert 403 == site.request("GET", url).status
    fresh = url_of(site)
    again = MemorySite(CONFIG, {"http": {"sse": {"url_secret": "s" * 32}}})
    assert 200 == parse_answer(opened(again, fresh).received()).status


def test_neither_route_exists_without_streams() -> None:
    """``http.sse.enabled: false`` turns both off."""
    site = MemorySite(CONFIG, {"http": {"sse": {"enabled": False}}})
    assert [404, 404] == [created(site).status, site.request("GET", ROUTE + "/AAAA").status]


def test_requests_are_counted_by_their_patterns(site: MemorySite) -> None:
    """Metrics and the request log get patterns: no token, no attribute."""
    opened(site, url_of(site))
    assert [("/sse/{sdkId}/streams", "POST", 201), ("/sse/{sdkId}/streams/{token}", "GET", 200)] == site.metrics.answers


def test_the_limit_of_streams_holds() -> None:
    """A browser gets a ``retry``, another client 503."""
    site = MemorySite(CONFIG, {"http": {"sse": {"max_connections": 1}}})
    url = url_of(site)
    opened(site, url)
    assert [200, 503] == [site.request("GET", url, BROWSER).status, site.request("GET", url).status]


def test_both_server_paths_answer_alike() -> None:
    """The URL, its stream and the refusals are the same bytes on the fast path and on the Klein path."""
    paths = ServerPaths(CONFIG)
    klein, fast = paths.answers(request_bytes("POST", ROUTE, {"Origin": "https://a.example"}, json.dumps(ANNA)))
    assert klein == fast
    url = parse_answer(klein.data).json["url"]
    for method, path in (("GET", url), ("HEAD", url), ("GET", url[:-1]), ("GET", ROUTE), ("OPTIONS", ROUTE)):
        klein, fast = paths.answers(request_bytes(method, path, BROWSER))
        assert klein == fast
    for site in (paths.klein, paths.fast):
        site.clock.advance(86_400)
    klein, fast = paths.answers(request_bytes("GET", url))
    assert klein == fast
    assert 410 == parse_answer(fast.data).status
    assert paths.klein.metrics.answers == paths.fast.metrics.answers
