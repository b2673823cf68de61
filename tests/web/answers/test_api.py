"""The evaluation API, beyond what the recorded answers cover."""

from __future__ import annotations

import gzip
import json

import pytest

from web_memory import NOW, Answer, MemorySite

CONFIG = {
    "p": {"s": "salt"},
    "f": {
        "on": {"t": 0, "v": {"b": True}, "i": "v1"},
        "odd": {"t": 1, "v": {"s": "<&>\u2028é"}},
        "broken": {
            "t": 0,
            "v": {"b": False},
            "r": [{"c": [{"p": {"f": "nope", "c": 0, "v": {"b": True}}}], "s": {"v": {"b": True}}}],
        },
        "who": {
            "t": 1,
            "v": {"s": "nobody"},
            "i": "w0",
            "r": [{"c": [{"u": {"a": "Plan", "c": 28, "s": "pro"}}], "s": {"v": {"s": "pro"}, "i": "w1"}}],
            "p": [{"p": 100, "v": {"s": "somebody"}, "i": "w2"}],
        },
    },
}


@pytest.fixture
def site() -> MemorySite:
    return MemorySite(CONFIG)


def evaluate(site: MemorySite, body: object, **headers: str) -> Answer:
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    return site.request("POST", "/api/sdk1/eval", headers, raw)


def test_failing_flag_is_500_alone_and_null_among_all(site: MemorySite) -> None:
    """A flag that cannot be evaluated answers 500 by itself and null beside the others."""
    assert (500, "the request failed; please check the logs for more details\n") == (
        (alone := evaluate(site, {"key": "broken"})).status,
        alone.text,
    )
    assert {"value": None, "variationId": ""} == site.request("POST", "/api/sdk1/eval-all", {}, "{}").json["broken"]


def test_missing_variation_id_is_empty_and_html_is_escaped(site: MemorySite) -> None:
    """A setting without variation id shows an empty one; characters that matter in HTML are escaped."""
    assert b'{"value":"\\u003c\\u0026\\u003e\\u2028\xc3\xa9","variationId":""}' == evaluate(site, {"key": "odd"}).body


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ('{"key":"who"}', "nobody"),
        ('{"key":"who","user":null}', "somebody"),
        ('{"key":"who","user":{}}', "somebody"),
        ('{"KEY":"who","USER":{"Plan":"pro"}}', "pro"),
        ('{"key":"nope","key":"who"}', "nobody"),
        ('{"key":"who","other":[1,{"a":null}]}', "nobody"),
        ('{"key":"who","user":{"Plan":["pro",1,null]}}', "somebody"),
        (b'{"key":"who","user":{"Plan":"\xff"}}', "somebody"),
        ('{"key":"who","user":{"Plan":"\\ud800"}}', "somebody"),
    ],
)
def test_bodies_are_read_by_gos_rules(site: MemorySite, body: str | bytes, value: str) -> None:
    """Names match in any case, the last duplicate wins, unknown fields are ignored, null user is an empty one."""
    answer = evaluate(site, body)
    assert (200, value) == (answer.status, answer.json["value"])


@pytest.mark.parametrize("body", ["", " \n", "{", '{"key":"on"'])
def test_truncated_body_has_the_known_text(site: MemorySite, body: str) -> None:
    """A truncated body is refused with ConfigCat Proxy's text."""
    answer = evaluate(site, body)
    assert (400, "failed to parse JSON body: unexpected end of JSON input\n") == (answer.status, answer.text)


@pytest.mark.parametrize(
    "body",
    [
        '{"key":"on"} x',
        "[]",
        '"secret-canary"',
        "7",
        '{"key":5}',
        '{"user":"secret-canary"}',
        '{"user":{"a":1e999}}',
        "{secret-canary}",
        '{"key":NaN}',
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_other_errors_are_400_and_quote_nothing(site: MemorySite, body: str) -> None:
    """A body of another shape is refused with a reason that quotes nothing of it."""
    answer = evaluate(site, body)
    assert 400 == answer.status
    assert answer.text.startswith("failed to parse JSON body: ")
    assert "canary" not in answer.text


def test_null_body_is_an_empty_object(site: MemorySite) -> None:
    """JSON null counts as an object without fields."""
    assert "feature flag or setting with key '' not found\n" == evaluate(site, "null").text
    assert 200 == site.request("POST", "/api/sdk1/eval-all", {}, "null").status


@pytest.mark.parametrize("kind", ["true", "null", "{}"])
def test_wrong_attribute_type_names_the_attribute(site: MemorySite, kind: str) -> None:
    """An attribute of a type that is not allowed is named, its value is not."""
    expected = (
        "failed to parse JSON body: 'Age' has an invalid type, "
        "only 'string', 'number', and 'string[]' types are allowed\n"
    )
    assert expected == evaluate(site, '{"key":"on","user":{"Age":' + kind + "}}").text


def test_body_is_checked_before_the_sdk(site: MemorySite) -> None:
    """The body is judged before the SDK is looked up."""
    assert 400 == site.request("POST", "/api/nope/eval", {}, "{").status
    assert 404 == site.request("POST", "/api/nope/eval", {}, "{}").status


def test_id_in_the_path_wins_over_the_key(site: MemorySite) -> None:
    """An unknown id in the path is 404 even with a known key in the header."""
    key = {"X-ConfigCat-SdkKey": site.sdk.key}
    assert 404 == site.request("POST", "/api/nope/eval", key, "{}").status
    assert 400 == site.request("POST", "/api/eval", {}, "{}").status


def test_attributes_of_the_request_win_over_defaults(site: MemorySite) -> None:
    """Default attributes apply with and without a user, and the request's win."""
    site.sdk.defaults = {"Plan": "pro"}
    assert "pro" == evaluate(site, {"key": "who"}).json["value"]
    assert "pro" == evaluate(site, {"key": "who", "user": {"Identifier": "x"}}).json["value"]
    assert "somebody" == evaluate(site, {"key": "who", "user": {"Plan": "free"}}).json["value"]


def test_never_loaded_is_500_everywhere() -> None:
    """An SDK without a config answers 500 on every route that reads it."""
    site = MemorySite(CONFIG, sdk={"snapshot": None})
    text = "requested SDK is in an invalid state; please check the logs for more details"
    for method, path in (("POST", "/api/sdk1/eval"), ("POST", "/api/sdk1/eval-all"), ("GET", "/api/sdk1/keys")):
        answer = site.request(method, path, {}, "{}" if method == "POST" else None)
        assert (500, text + "\n") == (answer.status, answer.text)
    assert (500, text + "\n") == (site.request("GET", f"/configuration-files/{site.sdk.key}").status, text + "\n")
    ofrep = site.request("POST", "/ofrep/v1/evaluate/flags", {"X-ConfigCat-SdkId": "sdk1"}, "{}")
    assert (500, {"errorDetails": text}) == (ofrep.status, ofrep.json)
    assert 500 == site.request("GET", "/sse/sdk1/eval-all").status


def test_requests_wait_for_the_first_fetch(site: MemorySite) -> None:
    """A request during the very first fetch is answered when the fetch ends."""
    site.sdk.snapshot, site.sdk.loading = None, True
    connection = site.connect()
    connection.send(b'POST /api/sdk1/eval HTTP/1.1\r\nHost: g\r\nContent-Length: 12\r\n\r\n{"key":"on"}')
    assert b"" == connection.received()
    site.sdk.first_fetch_ended(site.snapshot)
    assert b'{"value":true,"variationId":"v1"}' in connection.received()


def test_first_fetch_that_fails_ends_the_wait_with_500(site: MemorySite) -> None:
    """A request that waited for a first fetch without a config is answered with 500."""
    site.sdk.snapshot, site.sdk.loading = None, True
    connection = site.connect()
    connection.send(b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n")
    site.sdk.first_fetch_ended(None)
    assert connection.received().startswith(b"HTTP/1.1 500 ")


def test_client_that_hangs_up_while_waiting_affects_no_other(site: MemorySite) -> None:
    """A client that hangs up during the first fetch affects neither the fetch nor other clients that wait."""
    site.sdk.snapshot, site.sdk.loading = None, True
    gone, stays = site.connect(), site.connect()
    for connection in (gone, stays):
        connection.send(b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n")
    gone.hang_up()
    assert not any(done.called for done in site.sdk.waiting)
    site.sdk.first_fetch_ended(site.snapshot)
    assert stays.received().startswith(b"HTTP/1.1 200 ")


def test_refresh_fetches_for_an_sdk_that_never_loaded(site: MemorySite) -> None:
    """Refresh fetches even when there is no config, and its reply contains the error."""
    site.sdk.snapshot = None
    assert (200, b"", None) == (
        (done := site.request("POST", "/api/sdk1/refresh")).status,
        done.body,
        done["content-type"],
    )
    site.sdk.error = "config fetch failed: 503"
    assert (500, "config fetch failed: 503\n") == ((bad := site.request("POST", "/api/sdk1/refresh")).status, bad.text)


def test_refresh_is_limited_unless_callers_are_authenticated() -> None:
    """Refreshes without authentication share a bounded rate; authenticated ones are not limited."""
    site = MemorySite(CONFIG)
    site.request("POST", "/api/sdk1/refresh")
    guarded = MemorySite(CONFIG, {"http": {"api": {"auth_headers": {"X-Auth": "s"}}}})
    guarded.request("POST", "/api/sdk1/refresh", {"x-auth": "s"})
    assert ([True], [False]) == (site.sdk.refreshes, guarded.sdk.refreshes)


def test_errors_are_gzipped_too_and_refusals_are_not() -> None:
    """Answers and errors are compressed for clients that accept it, but not 401, 204 or refresh."""
    site = MemorySite(CONFIG, {"http": {"api": {"auth_headers": {"X-Auth": "s"}}}})
    asking = {"X-Auth": "s", "Accept-Encoding": "gzip;q=0.1"}
    bad = site.request("POST", "/api/sdk1/eval", asking, "{")
    assert (400, "gzip", "Accept-Encoding") == (bad.status, bad["content-encoding"], str(bad["vary"]).split(", ")[-1])
    assert b"unexpected end of JSON input\n" in gzip.decompress(bad.body)
    for method, path, headers in (
        ("POST", "/api/sdk1/eval", {"Accept-Encoding": "gzip"}),
        ("OPTIONS", "/api/sdk1/eval", asking),
        ("POST", "/api/sdk1/refresh", asking),
        ("POST", "/api/sdk1/eval", {"X-Auth": "s", "Accept-Encoding": "gzip;q=0"}),
    ):
        assert None is site.request(method, path, headers, "{}" if method == "POST" else None)["content-encoding"]


def test_head_is_get_without_the_body(site: MemorySite) -> None:
    """HEAD has the headers of GET, Content-Length included, and no body."""
    got, head = site.request("GET", "/api/sdk1/keys"), site.request("HEAD", "/api/sdk1/keys")
    assert (got.status, got.headers, b"") == (head.status, head.headers, head.body)
    assert str(len(got.body)) == head["content-length"]
    assert 405 == site.request("HEAD", "/api/sdk1/eval").status


def test_answers_have_date_and_no_server(site: MemorySite) -> None:
    """Every reply has Date in the site's time and no Server header."""
    for answer in (
        site.request("GET", "/api/sdk1/keys"),
        site.request("GET", "/nope"),
        site.request("OPTIONS", "/api/eval"),
    ):
        assert ("Tue, 14 Nov 2023 22:13:20 GMT", None) == (answer["date"], answer["server"])
    assert 1_700_000_000 == NOW


def test_a_new_snapshot_is_answered_from_at_once(site: MemorySite) -> None:
    """Keys and config file follow the SDK's current Snapshot, not the encoding of an older one."""
    from gateway.flags import load

    key_path, file_path = "/api/sdk1/keys", "/configuration-files/configcat-proxy/sdk1"
    before = (
        site.request("GET", key_path).json["keys"],
        site.request("GET", file_path, {"Accept-Encoding": "gzip"}).body,
    )
    site.sdk.snapshot = load(b'{"f":{"only":{"t":0,"v":{"b":true}}}}', '"2"')
    after = site.request("GET", key_path).json["keys"], site.request("GET", file_path, {"Accept-Encoding": "gzip"}).body
    assert (["broken", "odd", "on", "who"], ["only"]) == (before[0], after[0])
    assert b'{"f":{"only":{"t":0,"v":{"b":true}}}}' == gzip.decompress(after[1])


def test_an_exception_is_500_and_its_message_is_not_logged(site: MemorySite, monkeypatch, logged_errors) -> None:
    """An exception inside an answer is a text 500; the log has its type and place, never its message."""

    class Trap:
        tag = etag = "x"

        def evaluate_all(self, user):
            raise RuntimeError("secret-canary")

    site.sdk.snapshot = Trap()
    answer = site.request("POST", "/api/sdk1/eval-all", {}, "{}")
    assert (500, "the request failed; please check the logs for more details\n") == (answer.status, answer.text)
    assert [] == [event for event in logged_errors.flush() if "canary" in str(event)]
