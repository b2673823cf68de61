"""Keys of callers: what a call without one, or with one for something else, is answered; rates and streams."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from gateway.text import hash_caller_key
from tokens import SECRET, sign
from web_memory import NOW, SDK_KEY, Answer, Connection, FakeSdk, MemorySite, parse_answer, settings_of

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}
FIRST, SECOND, OTHER = "fgk_first", "fgk_second", "fgk_other"
HEADER = "X-Flaggateway-Key"
TEAM = {"name": "team", "hash": hash_caller_key(FIRST.encode()), "second_hash": hash_caller_key(SECOND.encode())}
STRANGER = {"name": "other", "hash": hash_caller_key(OTHER.encode()), "sdks": ["sdk2"], "routes": ["api"]}
BROWSER = {"Accept": "text/event-stream"}
DATA = urlsafe_b64encode(json.dumps({"key": "on", "user": {"Identifier": "zoe"}}).encode()).decode()
BY_ID = {"X-ConfigCat-SdkId": "sdk1"}
REQUESTS: dict[str, tuple[str, str, dict[str, str], str | None]] = {
    "api": ("POST", "/api/sdk1/eval", {}, '{"key":"on"}'),
    "api by key": ("POST", "/api/eval-all", {"X-ConfigCat-SdkKey": SDK_KEY}, "{}"),
    "keys": ("GET", "/api/sdk1/keys", {}, None),
    "ofrep": ("POST", "/ofrep/v1/evaluate/flags", BY_ID, "{}"),
    "sse": ("GET", f"/sse/sdk1/eval/{DATA}", {}, None),
    "url": ("POST", "/sse/sdk1/streams", {}, '{"key":"on"}'),
    "cdn": ("GET", f"/configuration-files/{SDK_KEY}/config_v6.json", {}, None),
}


def made(*keys: dict[str, Any], http: dict[str, Any] | None = None, **others: Any) -> MemorySite:
    site = MemorySite(CONFIG, settings(*keys, http=http, **others))
    site.registry.sdks = (*site.registry.sdks, FakeSdk("sdk2", "second-sdk-key", snapshot=site.snapshot))
    return site


def settings(*keys: dict[str, Any], http: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    return {"http": {"auth": {"keys": list(keys)}} | (http or {})} | others


def sent(site: MemorySite, name: str, key: str | None = FIRST, **headers: str) -> Answer:
    method, path, own, body = REQUESTS[name]
    given = {} if key is None else {HEADER: key}
    return site.request(method, path, own | given | headers, body)


def stream(site: MemorySite, path: str, headers: dict[str, str] | None = None) -> tuple[Connection, Answer]:
    connection = site.connect()
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    connection.send(f"GET {path} HTTP/1.1\r\nHost: g\r\n{lines}\r\n".encode())
    return connection, parse_answer(connection.received())


def test_without_keys_nothing_is_needed() -> None:
    site = MemorySite(CONFIG)
    assert [200, 200, 200, 200, 200, 201, 200] == [sent(site, name, None).status for name in REQUESTS]


def test_a_key_is_needed() -> None:
    """In api, ofrep and sse; both keys of a caller are accepted, and a key in a query for streams only."""
    site = made(TEAM)
    assert [401] * 6 + [200] == [sent(site, name, None).status for name in REQUESTS]
    assert f"unauthorized: a key is required in the header {HEADER}\n" == sent(site, "api", None).text
    for key in (FIRST, SECOND):
        assert [200, 200, 200, 200, 200, 201, 200] == [sent(site, name, key).status for name in REQUESTS]
    for key in ("fgk_firs", "fgk_first ", "FGK_FIRST", "x" * 1000, TEAM["hash"], TEAM["hash"][7:]):
        expected = 200 if key.strip() == FIRST else 401
        assert expected == sent(site, "api", key).status
    path = REQUESTS["sse"][1]
    assert 200 == stream(site, f"{path}?api_key={FIRST}")[1].status
    assert 401 == stream(site, f"{path}?api_key={OTHER}")[1].status
    assert 401 == site.request("POST", f"/api/sdk1/eval?api_key={FIRST}", {}, '{"key":"on"}').status


def test_the_groups_that_need_a_key_can_be_chosen() -> None:
    site = made(TEAM, http={"auth": {"keys": [TEAM], "routes": ["cdn_proxy"]}})
    assert [200, 200, 200, 200, 200, 201, 401] == [sent(site, name, None).status for name in REQUESTS]
    assert 200 == sent(site, "cdn").status


def test_a_caller_has_its_own_sdks_and_routes() -> None:
    """Other SDKs do not exist for it, whether they are named by id or by key; other routes are 403."""
    site = made(TEAM, STRANGER)
    assert [404, 404, 404] == [sent(site, name, OTHER).status for name in ("api", "api by key", "keys")]
    assert [403, 403, 403] == [sent(site, name, OTHER).status for name in ("ofrep", "sse", "url")]
    body = '{"key":"on"}'
    assert 200 == site.request("POST", "/api/sdk2/eval", {HEADER: OTHER}, body).status
    by_key = {HEADER: OTHER, "X-ConfigCat-SdkKey": "second-sdk-key"}
    assert 200 == site.request("POST", "/api/eval", by_key, body).status
    assert 200 == site.request("POST", "/api/sdk2/eval", {HEADER: FIRST}, body).status


def test_a_rate() -> None:
    """429 with the seconds until the next request; an EventSource gets an empty stream with a ``retry``."""
    site = made(TEAM | {"rate": 2}, STRANGER)
    assert [200, 200, 429] == [sent(site, "api").status for _ in range(3)]
    answer = sent(site, "ofrep")
    assert (429, "1", "the caller has sent too many requests\n") == (answer.status, answer["retry-after"], answer.text)
    assert 429 == sent(site, "sse").status
    late = sent(site, "sse", **BROWSER)
    assert (200, True) == (late.status, late.text.startswith("retry: "))
    assert [404, 429] == [sent(site, "api", OTHER).status, sent(site, "api", SECOND).status]
    site.clock.advance(0.5)
    assert [200, 429] == [sent(site, "api").status for _ in range(2)]
    site.clock.advance(100)
    assert [200, 200, 429] == [sent(site, "api").status for _ in range(3)]


def test_a_slow_rate() -> None:
    site = made(TEAM | {"rate": 0.1})
    assert 200 == sent(site, "api").status
    answer = sent(site, "api")
    assert (429, "10") == (answer.status, answer["retry-after"])


def test_a_cap_of_streams() -> None:
    """However they were opened; what is closed makes room, and a reload keeps the count."""
    site = made(TEAM | {"max_streams": 3}, STRANGER)
    path = REQUESTS["sse"][1]
    first, _ = stream(site, path, {HEADER: FIRST})
    url = sent(site, "url").json["url"]
    bulk = sent(site, "ofrep").json["eventStreams"][0]["endpoint"]["requestUri"]
    assert [200, 200] == [stream(site, each)[1].status for each in (url, bulk)]
    for refused in (stream(site, path, {HEADER: SECOND})[1], stream(site, url)[1], stream(site, bulk)[1]):
        assert (429, "10") == (refused.status, refused["retry-after"])
        assert "the caller has reached its limit of open streams\n" == refused.text
    _, late = stream(site, path, {HEADER: FIRST} | BROWSER)
    assert (200, True) == (late.status, late.text.startswith("retry: "))
    assert ["key"] * 4 == site.metrics.refusals
    site.site.use(site.site.prepare(settings_of(settings(TEAM | {"max_streams": 4}))))
    assert [200, 429] == [stream(site, path, {HEADER: FIRST})[1].status for _ in range(2)]
    first.hang_up()
    assert [200, 429] == [stream(site, path, {HEADER: FIRST})[1].status for _ in range(2)]
    assert 4 == site.site.routes.dispatcher.context.state.streams.total


def test_a_stream_url_is_that_of_its_caller() -> None:
    """It ends with the key of the caller; and the SDK key, which others have, does not suffice to make one."""
    site = made(TEAM)
    url, bulk = sent(site, "url").json["url"], sent(site, "ofrep").json["eventStreams"][0]["endpoint"]["requestUri"]
    unkeyed = MemorySite(CONFIG)
    for path in (sent(unkeyed, "url", None).json["url"], url, bulk):
        assert 403 == stream(made(TEAM), path)[1].status
    for keys, status in (((TEAM,), 200), ((TEAM | {"sdks": ["sdk2"]},), 403), ((STRANGER,), 403)):
        site.site.use(site.site.prepare(settings_of(settings(*keys))))
        assert [status, status] == [stream(site, path)[1].status for path in (url, bulk)]


def test_a_key_and_a_token() -> None:
    """Where users are signed, a call needs both; a stream URL has proved both."""
    identity = {"keys": [{"alg": "HS256", "secret": SECRET}], "leeway": 0}
    site = made(TEAM, http={"sse": {"users": "signed"}, "auth": {"keys": [TEAM]}}, identity=identity)
    token = {"Authorization": "Bearer " + sign({"sub": "zoe", "exp": NOW + 100}).decode()}
    assert [401, 401, 401] == [
        sent(site, "sse", None).status,
        sent(site, "sse").status,
        sent(site, "sse", None, **token).status,
    ]
    assert 200 == sent(site, "sse", **token).status
    assert 200 == stream(site, sent(site, "url", **token).json["url"])[1].status


def test_a_preflight_allows_the_header() -> None:
    asked = {"Origin": "https://a.test", "Access-Control-Request-Method": "POST"}
    for name in ("api", "ofrep", "sse", "url"):
        path = REQUESTS[name][1]
        for site, expected in ((made(TEAM), True), (MemorySite(CONFIG), False)):
            answer = site.request("OPTIONS", path, asked)
            assert (204, expected) == (answer.status, HEADER in answer["access-control-allow-headers"].split(","))


def test_the_use_of_keys_is_noted() -> None:
    site = made(TEAM, STRANGER)
    for key in (FIRST, FIRST, SECOND, OTHER, "unknown"):
        sent(site, "api", key)
    seen = site.site.routes.dispatcher.context.clients.seen().keys
    assert [("team", 0, 2, NOW), ("team", 1, 1, NOW), ("other", 0, 1, NOW)] == [
        (use.caller, use.number, use.requests, use.last) for use in seen
    ]


def test_every_key_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the time of an answer does not show which key was nearly right."""
    compared: list[bytes] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append(right)
        return left == right

    monkeypatch.setattr("gateway.web.caller_keys.compare_digest", compare)
    site = made(TEAM, STRANGER)
    for key in (FIRST, OTHER, "unknown"):
        compared.clear()
        sent(site, "api", key)
        assert 3 == len(compared)
