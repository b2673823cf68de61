"""OFREP event streams: their paths, their tokens, and what validators depend on."""

from __future__ import annotations

import json
import random
import string
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from gateway.flags import User, load
from gateway.web.stream_token import StreamTokens
from web_memory import SDK_KEY, Answer, Connection, FakeSdk, MemorySite, parse_answer

BULK = "/ofrep/v1/evaluate/flags"
BY_ID = {"X-ConfigCat-SdkId": "sdk1"}
GERMAN = {"targetingKey": "anna", "Country": "DE", "n": 1.5, "Roles": ["a", "b"]}


def config(country: str) -> dict[str, Any]:
    rule = {"c": [{"u": {"a": "Country", "c": 28, "s": country}}], "s": {"v": {"b": True}, "i": "in"}}
    return {"f": {"a": {"t": 0, "v": {"b": False}, "i": "out", "r": [rule]}}}


@pytest.fixture
def site() -> MemorySite:
    site = MemorySite(config("DE"))
    site.clock.advance(60)
    return site


def bulk(site: MemorySite, context: object = GERMAN, query: str = "", **headers: str) -> Answer:
    answer = site.request("POST", BULK + query, {**BY_ID, **headers}, json.dumps({"context": context}))
    assert 200 == answer.status
    return answer


def target(site: MemorySite, context: object = GERMAN, **headers: str) -> str:
    streams = bulk(site, context, **headers).json["eventStreams"]
    assert [("sse", ["requestUri"], 120)] == [
        (s["type"], list(s["endpoint"]), s["inactivityDelaySec"]) for s in streams
    ]
    return str(streams[0]["endpoint"]["requestUri"])


def opened(site: MemorySite, path: str, headers: str = "") -> Connection:
    connection = site.connect()
    connection.send(f"GET {path} HTTP/1.1\r\nHost: g\r\nOrigin: https://a.test\r\n{headers}\r\n".encode())
    return connection


def change(site: MemorySite, country: str) -> None:
    site.sdk.snapshot = load(json.dumps(config(country)).encode(), f'"{country}"', site.sdk.snapshot)
    site.hub.publish(site.sdk.snapshot)
    site.hub.work(lambda: False)
    site.clock.advance(5)
    assert site.hub.work(lambda: False)


def test_a_bulk_answer_points_to_a_stream_of_its_context(site: MemorySite) -> None:
    """The stream opens without headers and sends its first event when the context's results change."""
    connection = opened(site, target(site))
    first = parse_answer(connection.received())
    assert (200, "text/event-stream", "https://a.test") == (
        first.status,
        first["content-type"],
        first["access-control-allow-origin"],
    )
    assert "\nid: " in first.text
    assert first.text.endswith('\ndata: {"type":"recovered"}\n\n')
    other = opened(site, target(site, {"Country": "US"}))
    other.received()
    change(site, "FR")
    text = connection.received().decode()
    payload = json.loads(text.partition("data: ")[2].partition("\n")[0])
    assert {"type": "refetchEvaluation", "etag": '"FR"', "lastModified": 1_700_000_060} == payload
    assert b"" == other.received()


def test_resuming_sends_an_event_only_after_a_change(site: MemorySite) -> None:
    """A stream that resumes sends an event only if its results changed since its last event id."""
    path = target(site)
    last = parse_answer(opened(site, path).received()).text.partition("id: ")[2].partition("\n")[0]
    assert "refetchEvaluation" not in parse_answer(opened(site, path, f"Last-Event-ID: {last}\r\n").received()).text
    change(site, "FR")
    assert "refetchEvaluation" in parse_answer(opened(site, path, f"Last-Event-ID: {last}\r\n").received()).text


def test_the_endpoint_is_that_of_the_effective_context(site: MemorySite) -> None:
    """The path is equal on every node for equal effective contexts, whatever the order of attributes."""
    assert target(site) == target(MemorySite(config("FR")), dict(reversed(GERMAN.items())))
    assert target(site, {"targetingKey": "1", "Identifier": "0"}) == target(site, {"targetingKey": "1"})
    assert target(site, {"n": 1}) == target(site, {"n": 1.0})
    contexts: list[object] = [{}, {"a": "1"}, {"a": 1}, {"a": ["1"]}, {"a": ["1", "2"]}, {"a": ["1,2"]}, {"b": "1"}]
    assert len(contexts) == len({target(site, context) for context in contexts})
    no_context = site.request("POST", BULK, BY_ID, "{}").json["eventStreams"][0]["endpoint"]["requestUri"]
    assert 200 == parse_answer(opened(site, no_context).received()).status
    assert no_context != target(site, {})
    site.sdk.defaults = {"b": "1"}
    assert target(site, {"a": 1}) == target(site, {"a": 1, "b": "1"})


@pytest.mark.parametrize(
    "fault", ["changed", "of another context", "short", "empty", "sdk", "not base64", "unknown sdk"]
)
def test_a_changed_path_is_403(site: MemorySite, fault: str) -> None:
    """A change to any part of the path is 403, always with the same body."""
    path = target(site)
    head, _, token = path.rpartition("/")
    other = target(site, {"Country": "US"}).rpartition("/")[2]
    faulty = {
        "changed": f"{'B' if token[0] == 'A' else 'A'}{token[1:]}",
        "of another context": token[:20] + other[20:],
        "short": token[:20],
        "empty": "AA",
        "not base64": "é!.!",
    }.get(fault, token)
    wrong = {"unknown sdk": "/ofrep/v1/streams/nope", "sdk": "/ofrep/v1/streams/sdk%32"}.get(fault, head)
    answer = site.request("GET", f"{wrong}/{faulty}".replace("é", "%C3%A9"))
    assert (403, ["errorDetails"]) == (answer.status, list(answer.json))


def test_the_path_shows_no_attribute(site: MemorySite) -> None:
    """Neither the path nor what it encodes contains anything of the context: proxies may log it."""
    token = target(site, {"targetingKey": "anna-identifier"}).rpartition("/")[2]
    for shown in (token.encode(), urlsafe_b64decode(token + "=" * (-len(token) % 4))):
        assert b"anna" not in shown
        assert b"Identifier" not in shown


def test_a_token_ends_with_key_headers_or_defaults() -> None:
    """A token is valid for one SDK key, one set of auth headers and one set of defaults; header names have no case."""
    user = User({"Identifier": "1"})
    sdk = FakeSdk("sdk1", SDK_KEY, None)

    def made(headers: dict[str, str], sdk: FakeSdk) -> bytes:
        path = StreamTokens.from_settings(headers).stream_path(sdk, user)
        assert path is not None
        return path

    first = made({}, sdk)
    assert first == made({}, FakeSdk("sdk1", SDK_KEY, None))
    assert made({"A": "1", "b": "2"}, sdk) == made({"B": "2", "a": "1"}, sdk)
    others = [
        StreamTokens.from_settings({}, "a secret").stream_path(sdk, user),
        made({}, FakeSdk("sdk1", "other", None)),
        made({}, FakeSdk("sdk1", SDK_KEY, None, {"c": "1"})),
        made({"a": "1"}, sdk),
        made({"a": "12"}, sdk),
        made({"a1": "2"}, sdk),
    ]
    assert len(others) + 1 == len({first, *others})


def test_the_cached_key_follows_the_sdk() -> None:
    """The cached key of an SDK is replaced when its SDK key or its defaults change."""
    tokens = StreamTokens.from_settings({})
    sdk = FakeSdk("sdk1", SDK_KEY, None)
    path = tokens.stream_path(sdk, None)
    assert path is not None
    token = path.decode().rpartition("/")[2]
    assert (None, 0.0, "") == tokens.read(sdk, token)
    for change in ({"defaults": {"a": "1"}}, {"key": "other"}):
        for name, value in change.items():
            setattr(sdk, name, value)
        with pytest.raises(ValueError, match="not made under this key"):
            tokens.read(sdk, token)


def test_auth_headers_are_for_the_bulk_route_and_not_for_the_stream() -> None:
    """A browser's EventSource sends no auth headers: the path is enough."""
    site = MemorySite(config("DE"), {"http": {"ofrep": {"auth_headers": {"X-Key": "secret"}}}})
    assert 401 == site.request("POST", BULK, BY_ID, "{}").status
    path = target(site, GERMAN, **{"X-Key": "secret"})
    assert "secret" not in path
    assert 200 == parse_answer(opened(site, path).received()).status


@pytest.mark.parametrize("section", ["sse", "ofrep"])
def test_no_streams_where_either_section_is_off(section: str) -> None:
    """OFREP streams need both ``http.sse.enabled`` and ``http.ofrep.enabled``."""
    path = target(MemorySite(config("DE")))
    site = MemorySite(config("DE"), {"http": {section: {"enabled": False}}})
    assert 404 == site.request("GET", path).status
    if section == "sse":
        assert ["flags"] == list(bulk(site).json)
        assert bulk(site)["etag"] != bulk(site, {})["etag"]


def test_a_context_too_large_for_a_path_has_no_stream(site: MemorySite) -> None:
    """A path that is too long is not offered; the validator still covers the context."""
    large = {"x": incompressible(4096)}
    assert ["flags"] == list(bulk(site, large).json)
    assert bulk(site, large)["etag"] != bulk(site, {"x": incompressible(4097)})["etag"]
    limit = {f"x{number}": "x" * 100_000 for number in range(2)}  # short once it is deflated
    assert ["flags"] == list(bulk(site, limit).json)


def test_a_long_context_has_a_short_path(site: MemorySite) -> None:
    """Contexts are deflated: 10,000 characters of usual attributes fit into 4,096 bytes, and open their stream."""
    groups = [f"group-{number}:member-of-the-team" for number in range(300)]
    path = target(site, {"targetingKey": "anna", "groups": groups})
    assert len(path) < 4096
    assert 200 == parse_answer(opened(site, path).received()).status


def incompressible(length: int) -> str:
    """Return a text that DEFLATE cannot make shorter than its base64."""
    return "".join(random.Random(length).choices(string.ascii_letters + string.digits + "-_", k=length))


def test_ofrep_streams_count_towards_the_limits() -> None:
    """Beyond the limit a browser gets a ``retry``, another client 503."""
    site = MemorySite(config("DE"), {"http": {"sse": {"max_connections": 1}}})
    path = target(site)
    opened(site, path)
    assert [200, 503] == [
        parse_answer(opened(site, path, accept).received()).status for accept in ("Accept: text/event-stream\r\n", "")
    ]
    assert ["connections", "connections"] == site.metrics.refusals


def test_a_browser_waits_on_an_open_stream_for_the_first_config(site: MemorySite) -> None:
    """Before the first config the stream opens; it sends an event when the config arrives."""
    path = target(site)
    early = MemorySite(config("DE"), sdk={"snapshot": None, "loading": True})
    connection = opened(early, path, "Accept: text/event-stream\r\n")
    assert "data:" not in parse_answer(connection.received()).text
    early.sdk.first_fetch_ended(early.snapshot)
    early.hub.publish(early.snapshot)
    assert early.hub.work(lambda: False)
    assert b"refetchEvaluation" in connection.received()
    assert 500 == parse_answer(opened(MemorySite(config("DE"), sdk={"snapshot": None}), path).received()).status


def test_the_named_config_is_waited_for(site: MemorySite) -> None:
    """The reply waits for the config that ``flagConfigEtag`` names, one second at most."""
    site.sdk.instant = False
    newer = load(json.dumps(config("FR")).encode(), '"FR"')
    request = f"POST {BULK}?flagConfigEtag=%22FR%22 HTTP/1.1\r\nHost: g\r\nX-ConfigCat-SdkId: sdk1\r\nContent-Length: "
    body = json.dumps({"context": {"Country": "FR"}})
    first, second = site.connect(), site.connect()
    first.send(f"{request}{len(body)}\r\n\r\n{body}".encode())
    assert b"" == first.received()
    site.sdk.snapshot = newer
    site.hub.publish(newer)
    assert parse_answer(first.received()).json["flags"][0]["value"] is True
    second.send(f"{request}{len(body)}\r\n\r\n{body}".replace("FR%22", "US%22").encode())
    site.clock.advance(0.9)
    assert b"" == second.received()
    site.clock.advance(0.2)
    assert 200 == parse_answer(second.received()).status


@pytest.mark.parametrize("query", ["", "?flagConfigEtag=%22tag%22", "?flagConfigLastModified=17", "?flagConfigEtag="])
def test_the_validator_does_not_depend_on_the_query(site: MemorySite, query: str) -> None:
    """The query that a provider copies from an event does not change the reply or its validator."""
    assert (bulk(site)["etag"], bulk(site).body) == (bulk(site, GERMAN, query)["etag"], bulk(site, GERMAN, query).body)


def test_the_validator_depends_on_the_endpoint() -> None:
    """Other auth headers give another path and validator, so that a 304 never keeps the old path."""
    open_site = MemorySite(config("DE"))
    closed_site = MemorySite(config("DE"), {"http": {"ofrep": {"auth_headers": {"X-Key": "1"}}}})
    assert bulk(open_site)["etag"] != bulk(closed_site, GERMAN, **{"X-Key": "1"})["etag"]


def prefixed(prefix: str, http: dict[str, Any], peer: str = "10.1.2.3") -> dict[str, str]:
    """Return the endpoint of a bulk answer to a request with this ``X-Forwarded-Prefix``."""
    site = MemorySite(config("DE"), {"http": http})
    headers = {**BY_ID, "X-Forwarded-Prefix": prefix}
    endpoint: dict[str, str] = site.request("POST", BULK, headers, "{}", peer=peer).json["eventStreams"][0]["endpoint"]
    return endpoint


TRUSTED = {"trusted_proxies": ["10.0.0.0/8"]}


@pytest.mark.parametrize("prefix", ["/flags", "/flags/", "/a/b%20c"])
def test_the_prefix_of_a_trusted_proxy_precedes_the_path(prefix: str) -> None:
    """``requestUri`` is the path by which the client reaches the stream through its proxy."""
    assert prefixed(prefix, TRUSTED)["requestUri"].startswith(prefix.rstrip("/") + "/ofrep/v1/streams/sdk1/")


@pytest.mark.parametrize(
    "prefix", ["", "/", "flags", "//evil.test", "/a/../b", '/a"', "/a?b", "/a#b", "/a b", "/" + "x" * 255]
)
def test_a_prefix_that_is_no_path_is_ignored(prefix: str) -> None:
    """Nothing that leads to another origin, or out of the JSON text, gets into an answer."""
    assert prefixed(prefix, TRUSTED)["requestUri"].startswith("/ofrep/v1/streams/sdk1/")


def test_a_prefix_counts_only_from_a_trusted_proxy() -> None:
    """Any client can send the header, so it is ignored from other addresses."""
    assert prefixed("/flags", TRUSTED, peer="192.0.2.7")["requestUri"].startswith("/ofrep/")
    assert prefixed("/flags", {})["requestUri"].startswith("/ofrep/")


@pytest.mark.parametrize("url", ["https://f.example:8443/flags", "https://f.example:8443/flags/"])
def test_the_public_url_sets_origin_and_prefix(url: str) -> None:
    """It wins over the header of a proxy, and changes the validator."""
    endpoint = prefixed("/other", TRUSTED | {"public_url": url})
    assert "https://f.example:8443" == endpoint["origin"]
    assert endpoint["requestUri"].startswith("/flags/ofrep/v1/streams/sdk1/")
    etags = [
        bulk(MemorySite(config("DE"), {"http": {"public_url": each}}))["etag"]
        for each in ("", url, "https://g.example")
    ]
    assert 3 == len(set(etags))


def test_an_address_of_the_greatest_length_is_offered() -> None:
    """Origin and prefix count; one byte more, and the answer offers no stream."""
    http = {"public_url": "https://f.example/flags", "max_stream_url": 1024}
    site = MemorySite(config("DE"), {"http": http})
    lengths = []
    for size in range(600, 1000):
        for stream in bulk(site, {"x": incompressible(size)}).json.get("eventStreams", ()):
            lengths.append(len(stream["endpoint"]["origin"] + stream["endpoint"]["requestUri"]))
    assert 1020 < max(lengths) <= 1024
    assert len(lengths) < 400
