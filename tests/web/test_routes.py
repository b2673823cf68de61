"""Routing, CORS, auth and sections: what all routes share."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.web.routes import ROUTES
from server_paths import ServerPaths
from web_memory import SDK_KEY, MemorySite, parse_answer, request_bytes

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}
ORIGINS = ["https://a.example", "https://b.example"]
REGEX = {"patterns": [r"https:\/\/.*domain1\.com"], "if_no_match": "https://fallback.example"}
ROUTE_OF = {
    "api": ("POST", "/api/sdk1/eval-all", "{}"),
    "ofrep": ("POST", "/ofrep/v1/evaluate/flags", "{}"),
    "cdn_proxy": ("GET", "/configuration-files/configcat-proxy/sdk1", None),
    "sse": ("HEAD", "/sse/sdk1/eval-all", None),
}


def test_unknown_paths_and_methods() -> None:
    """404 and 405 have ConfigCat Proxy's bodies, and the headers of the section that the path belongs to."""
    site = MemorySite(CONFIG, {"http": {"api": {"headers": {"X-Custom": "1"}}}})
    missing = site.request("GET", "/api/what/ever/else")
    assert (404, "404 page not found\n", "nosniff") == (missing.status, missing.text, missing["x-content-type-options"])
    for method, path, allow in (
        ("GET", "/api/eval", "OPTIONS, POST"),
        ("POST", "/api/keys", "GET, HEAD, OPTIONS"),
        ("PUT", "/hook/sdk1", "GET, HEAD, POST"),
        ("OPTIONS", "/hook-test", "GET, HEAD, POST"),
        ("BREW", "/api/eval", "OPTIONS, POST"),
        ("get", "/api/keys", "GET, HEAD, OPTIONS"),
        ("Options", "/api/eval", "OPTIONS, POST"),
    ):
        wrong = site.request(method, path)
        of_section = ("*", "1") if path.startswith("/api") else (None, None)
        assert (405, "Method Not Allowed\n", allow, *of_section) == (
            wrong.status,
            wrong.text,
            wrong["allow"],
            wrong["access-control-allow-origin"],
            wrong["x-custom"],
        )


HEAD = b"Host: g\r\nOrigin: https://e.example\r\n"
ELSEWHERE = "https://elsewhere.example"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sse/sdk1/nothing", 404),
        ("GET", "/sse/sdk1/eval/%%%", 400),
        ("POST", "/sse/sdk1/eval-all", 405),
        ("GET", "/sse/sdk1/streams", 405),
        ("GET", "/api/sdk1/eval", 405),
        ("GET", "/api//nothing", 307),
        ("PUT", "/ofrep/v1/evaluate/flags", 405),
        ("GET", "/ofrep/v1/configuration", 404),
        ("POST", "/configuration-files/x", 405),
        ("GET", "/flags/api/sdk1/keys", 404),
        ("GET", "/", 404),
    ],
)
def test_an_answer_without_a_route_can_be_read_by_a_script(method: str, path: str, status: int) -> None:
    """Without CORS headers a browser reports a network error, and shows neither status nor text."""
    for answer in ServerPaths(CONFIG).answers(request_bytes(method, path, {"Origin": ELSEWHERE})):
        read = parse_answer(answer.data)
        assert (status, ELSEWHERE) == (read.status, read["access-control-allow-origin"])


@pytest.mark.parametrize("path", ["/hook/sdk1/x", "/hook-test/x", "/status"])
def test_routes_that_are_not_for_scripts_stay_without_cors(path: str) -> None:
    """The hook and the status page have no CORS headers, whether they exist or not."""
    for answer in ServerPaths(CONFIG).answers(request_bytes("DELETE", path, {"Origin": ELSEWHERE})):
        assert b"ccess-control" not in answer.data.lower()


@pytest.mark.parametrize("path", ["/flags/api/sdk1/eval", "/api/sdk1/evil", "/sse/x", "/api//evil", "/api/%zz"])
def test_the_preflight_of_a_path_without_a_route_is_allowed(path: str) -> None:
    """A browser would not send the request itself otherwise, and the script would not see its 404."""
    asked = {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST"}
    klein, fast = ServerPaths(CONFIG).answers(request_bytes("OPTIONS", path, asked))
    assert klein == fast
    answer = parse_answer(fast.data)
    assert (204, ELSEWHERE, "GET,POST,OPTIONS") == (
        answer.status,
        answer["access-control-allow-origin"],
        answer["access-control-allow-methods"],
    )
    assert MemorySite(CONFIG).request("OPTIONS", path).status in {307, 400, 404}


def test_an_answer_without_a_route_obeys_the_rules_of_its_section() -> None:
    """Origins that are not listed get the first listed one; a section without CORS has no such headers here, too."""
    listed = {"cors": {"allowed_origins": ORIGINS}}
    site = MemorySite(CONFIG, {"http": {"sse": listed | {"enabled": False}, "api": {"cors": {"enabled": False}}}})
    shown = {
        path: site.request("GET", path, {"Origin": ELSEWHERE})["access-control-allow-origin"]
        for path in ("/sse/sdk1/eval-all", "/api/none", "/ofrep/none")
    }
    assert {"/sse/sdk1/eval-all": ORIGINS[0], "/api/none": None, "/ofrep/none": ELSEWHERE} == shown
    asked = {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST"}
    assert 404 == site.request("OPTIONS", "/api/none", asked).status


@pytest.mark.parametrize(
    ("raw", "status", "origin"),
    [
        (b"GET /sse/sdk1/eval/" + b"A" * 140_000 + b" HTTP/1.1\r\nHost: g\r\n", 414, b"*"),
        (b"POST /api/sdk1/eval HTTP/1.1\r\n" + HEAD + b"Content-Length: 2000000\r\n\r\n", 413, b"https://e.example"),
        (b"GET /api/sdk1/keys HTTP/1.1\r\n" + HEAD + b"X: 1\r\n" * 101 + b"\r\n", 431, b"https://e.example"),
        (b"GET /hook/sdk1 HTTP/1.1\r\n" + HEAD + b"X: 1\r\n" * 101 + b"\r\n", 431, None),
    ],
    ids=["long target", "large body", "many fields", "hook"],
)
def test_a_refusal_can_be_read_by_a_script(raw: bytes, status: int, origin: bytes | None) -> None:
    """What is refused for its size has the headers of its section; after a target that is too long nothing is read."""
    klein, fast = ServerPaths(CONFIG).answers(raw)
    assert klein == fast
    assert b"HTTP/1.1 %d " % status in fast.data
    if origin is None:
        assert b"access-control" not in fast.data.lower()
    else:
        assert b"Access-Control-Allow-Origin: %b\r\n" % origin in fast.data


@pytest.mark.parametrize("pending", [False, True])
def test_a_failure_can_be_read_by_a_script(pending: bool, monkeypatch: pytest.MonkeyPatch, logged_errors: Any) -> None:
    """An answer that fails is 500 with the headers of its section, at once or later."""
    paths = ServerPaths(CONFIG, sdk={"snapshot": None, "loading": True} if pending else None)
    request = request_bytes("POST", "/api/sdk1/eval", {"Origin": ELSEWHERE}, '{"key":"on"}')
    monkeypatch.setattr("gateway.flags.Snapshot.evaluate", lambda *_: 1 // 0)
    for client, memory in zip(paths.clients(), (paths.klein, paths.fast), strict=True):
        client.send(request)
        if pending:
            memory.sdk.first_fetch_ended(memory.snapshot)
        answer = parse_answer(client.everything())
        assert (500, ELSEWHERE) == (answer.status, answer["access-control-allow-origin"])
        client.hang_up()
    assert 2 == len(logged_errors.flush())


def test_allow_of_the_table_is_what_klein_sends() -> None:
    """Each route's ``allow`` is the value that Klein sends with a 405."""
    site = MemorySite(CONFIG, {"http": {"status": {"enabled": True}}})
    for route in ROUTES:
        path = route.pattern.replace("{path...}", "x").replace("{data...}", "x").replace("{sdkId}", "x")
        assert route.allow.decode() == site.request("BREW", path.replace("{key}", "x"))["allow"]


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("//api/keys", "/api/keys"),
        ("/api//keys?a=b&c=%20", "/api/keys?a=b&c=%20"),
        ("/api/x/../keys", "/api/keys"),
        ("/api/./keys", "/api/keys"),
        ("/../../api/keys", "/api/keys"),
        ("//evil.example/..", "/"),
        ("/\\evil.example//x", "/%5Cevil.example/x"),
        ("/api//a%2Fb", "/api/a%2Fb"),
    ],
)
def test_unclean_paths_are_sent_to_the_clean_one(path: str, location: str) -> None:
    """A path with empty or dot segments is redirected within this host, its query kept."""
    answer = MemorySite(CONFIG).request("GET", path)
    assert (307, location) == (answer.status, answer["location"])
    posted = MemorySite(CONFIG).request("POST", path)
    assert (307, b"") == (posted.status, posted.body)


ORIGIN = {"Origin": "https://app.example"}
SHOWN = (
    "access-control-allow-origin", "access-control-expose-headers", "access-control-allow-methods",
    "access-control-allow-headers", "vary", "x-served-by",
)  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize(
    ("unclean", "clean"),
    [
        ("//sse/sdk1/eval-all", "/sse/sdk1/eval-all"),
        ("/sse//sdk1/eval-all/", "/sse/sdk1/eval-all"),
        ("//api/sdk1/keys", "/api/sdk1/keys"),
        ("/x/../configuration-files/a/config_v6.json", "/configuration-files/a/config_v6.json"),
    ],
)
def test_answers_to_unclean_paths_have_the_cors_headers_of_the_clean_one(method: str, unclean: str, clean: str) -> None:
    """Without them no browser follows from another origin; a preflight must not be redirected at all."""
    cors = {"allowed_origins": ["https://other.example", "https://app.example"]}
    section = {"cors": cors, "headers": {"X-Served-By": "g"}}
    world = ServerPaths(CONFIG, {"http": {"sse": section, "api": section, "cdn_proxy": section}})
    answers = world.answers(request_bytes(method, unclean, ORIGIN))
    assert answers[0] == answers[1]
    answer = parse_answer(answers[0].data)
    expected = MemorySite(CONFIG, {"http": {"sse": section, "api": section, "cdn_proxy": section}}).request(
        method, clean, ORIGIN
    )
    assert "https://app.example" == answer["access-control-allow-origin"]
    assert "g" == answer["x-served-by"]
    same = [name for name in SHOWN if name != "vary"]
    assert [expected[name] for name in same] == [answer[name] for name in same]
    assert "Origin" in str(answer["vary"])
    assert (204, None) == (answer.status, answer["location"]) if method == "OPTIONS" else 307 == answer.status


def test_unclean_paths_without_a_route_lead_to_a_404_that_a_script_can_read() -> None:
    """Both the redirect and what it leads to have CORS headers."""
    site = MemorySite(CONFIG)
    answers = [site.request("GET", path, ORIGIN) for path in ("//nowhere", "/nowhere")]
    assert [(307, "https://app.example"), (404, "https://app.example")] == [
        (answer.status, answer["access-control-allow-origin"]) for answer in answers
    ]


@pytest.mark.parametrize("escaped", [".", "..", "%2E", "%2e%2E"])
def test_flags_may_be_called_by_one_or_two_dots(escaped: str) -> None:
    """Clients cannot escape a dot: URL libraries undo it, so that the key arrives as a segment of dots."""
    key = escaped.replace("%2E", ".").replace("%2e", ".")
    world = ServerPaths({"f": {key: {"t": 0, "v": {"b": True}, "i": "v1"}}})
    ask = request_bytes("POST", f"/ofrep/v1/evaluate/flags/{escaped}", {"X-ConfigCat-SdkId": "sdk1"}, "{}")
    klein, fast = world.answers(ask)
    assert klein == fast
    assert (200, key) == (parse_answer(fast.data).status, parse_answer(fast.data).json["key"])


@pytest.mark.parametrize("path", ["/api/keys/", "/api/keys"])
def test_one_trailing_slash_is_ignored(path: str) -> None:
    """One trailing slash is ignored, two are another path."""
    site, key = MemorySite(CONFIG), {"X-ConfigCat-SdkKey": SDK_KEY}
    assert 200 == site.request("GET", path, key).status
    assert 404 == site.request("GET", "/api/keys//", key).status


@pytest.mark.parametrize("path", ["/%", "/api/%zz/eval", "/sse/sdk1/eval/%%%", "/%2"])
def test_bad_escapes_are_400(path: str) -> None:
    """A path whose escapes cannot be undone is refused in plain text without a line feed."""
    answer = MemorySite(CONFIG).request("GET", path)
    assert (400, "400 Bad Request") == (answer.status, answer.text)


def test_absolute_targets_and_asterisk() -> None:
    """A proxy's absolute target is routed on its path; ``OPTIONS *`` is answered."""
    site = MemorySite(CONFIG)
    assert 200 == site.request("GET", "http://gateway.test/api/sdk1/keys").status
    assert 404 == site.request("GET", "http://gateway.test").status
    assert 200 == site.request("OPTIONS", "*").status


SHARED = ServerPaths(CONFIG)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "]api/sdk1/eval"),
        ("GET", "api/sdk1/keys"),
        ("GET", "?x"),
        ("GET", "*"),
        ("CONNECT", "gateway.test:80"),
        ("GET", "ftp://gateway.test/api/sdk1/keys"),
        ("GET", "http:///api/sdk1/keys"),
        ("GET", "http://:80/api/sdk1/keys"),
        ("GET", "http://user@gateway.test/api/sdk1/keys"),
        ("GET", "http://gateway.test:99999/api/sdk1/keys"),
        ("GET", "http:/api/sdk1/keys"),
    ],
)
def test_targets_without_a_leading_slash_are_400(method: str, target: str) -> None:
    """No byte of a target is ignored, on any path: RFC 9112 (3.2) knows no such form."""
    klein, fast = SHARED.answers(request_bytes(method, target))
    assert klein == fast
    assert fast.data.startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("host", ["", "a_b.example", "192.0.2.1:80", "[2001:db8::1]:65535", "x" * 300, "a:"])
def test_hosts_do_not_matter(host: str) -> None:
    """The value of ``Host`` does not affect routing."""
    assert 200 == MemorySite(CONFIG).request("GET", "/api/sdk1/keys", {"Host": host}).status


@pytest.mark.parametrize("section", ROUTE_OF)
def test_routes_of_disabled_sections_are_404(section: str) -> None:
    """The routes of a disabled section are 404, under the CORS rules of that section."""
    method, path, body = ROUTE_OF[section]
    answer = MemorySite(CONFIG, {"http": {section: {"enabled": False}}}).request(method, path, {}, body)
    assert (404, "*") == (answer.status, answer["access-control-allow-origin"])


def test_webhook_section_takes_both_routes_away() -> None:
    """Without the webhook section neither ``/hook`` nor ``/hook-test`` exists."""
    site = MemorySite(CONFIG, {"http": {"webhook": {"enabled": False}}})
    assert [404, 404] == [site.request("GET", path).status for path in ("/hook/sdk1", "/hook-test")]


def test_status_page_when_enabled() -> None:
    """``/status`` on the main port is off by default and then 404."""
    assert 404 == MemorySite(CONFIG).request("GET", "/status").status
    on = MemorySite(CONFIG, {"http": {"status": {"enabled": True}}})
    answer = on.request("GET", "/status")
    assert (200, b'{"status":"healthy"}', None) == (answer.status, answer.body, answer["access-control-allow-origin"])
    assert 204 == on.request("OPTIONS", "/status").status


def test_teapot() -> None:
    """``/api/icanhascoffee`` is 418."""
    answer = MemorySite(CONFIG).request("GET", "/api/icanhascoffee")
    assert (418, b"", "*") == (answer.status, answer.body, answer["access-control-allow-origin"])


CORS: list[tuple[dict[str, Any], str | None, str | None, bool]] = [
    ({}, None, "*", True),
    ({}, "https://x.example", "https://x.example", True),
    ({"allowed_origins": ORIGINS}, "https://b.example", "https://b.example", True),
    ({"allowed_origins": ORIGINS}, "https://B.example", "https://a.example", True),
    ({"allowed_origins": ORIGINS}, None, "https://a.example", True),
    ({"allowed_origins": ORIGINS[:1]}, "https://x.example", "https://a.example", False),
    ({"allowed_origins": ORIGINS, "allowed_origins_regex": REGEX}, "https://b.example", "https://b.example", True),
    ({"allowed_origins_regex": REGEX}, "https://x.domain1.com", "https://x.domain1.com", True),
    ({"allowed_origins_regex": REGEX}, "https://domain1.com.evil", "https://domain1.com.evil", True),
    ({"allowed_origins_regex": REGEX}, "https://other.com", "https://fallback.example", True),
    ({"allowed_origins_regex": REGEX}, None, "https://fallback.example", True),
    ({"allowed_origins_regex": REGEX}, "https://" + "x" * 236 + "domain1.com", None, True),
    ({"allowed_origins_regex": REGEX}, "https://" + "x" * 237 + "domain1.com", "https://fallback.example", True),
    ({"enabled": False}, "https://x.example", None, False),
]


@pytest.mark.parametrize("section", ROUTE_OF)
@pytest.mark.parametrize(("cors", "origin", "allowed", "varies"), CORS)
def test_origin_decision(
    section: str, cors: dict[str, Any], origin: str | None, allowed: str | None, varies: bool
) -> None:
    """The allowed origin follows the decision table in all four sections, with ``Vary`` if the request decides."""
    site = MemorySite(CONFIG, {"http": {section: {"cors": cors}}})
    method, path, body = ROUTE_OF[section]
    headers = {"Origin": origin} if origin else {}
    if allowed is None and cors.get("enabled", True):
        allowed = origin
    for answer in (site.request(method, path, headers, body), site.request("OPTIONS", path, headers)):
        assert allowed == answer["access-control-allow-origin"]
        assert varies == ("Origin" in (answer["vary"] or ""))


@pytest.mark.parametrize(
    ("section", "extra"),
    [
        ("api", {"X-Auth", "X-ConfigCat-SdkKey"}),
        ("ofrep", {"X-Auth", "X-ConfigCat-SdkKey", "X-ConfigCat-SdkId"}),
        ("cdn_proxy", set()),
        ("sse", {"Last-Event-ID"}),
    ],
)
def test_preflight(section: str, extra: set[str]) -> None:
    """OPTIONS needs no authentication and lists what a browser may send, the headers that name an SDK included."""
    own = ["X-Request-Id", "content-type"]  # the second one is allowed anyway
    options: dict[str, Any] = {"headers": {"x-custom": "1", "etag": "2"}, "cors": {"allowed_headers": own}}
    if section in ("api", "ofrep"):
        options["auth_headers"] = {"X-Auth": "secret"}
    method, path, _ = ROUTE_OF[section]
    answer = MemorySite(CONFIG, {"http": {section: options}}).request("OPTIONS", path, {"Origin": "https://x.example"})
    assert (204, b"", "false", "600", "1") == (
        answer.status,
        answer.body,
        answer["access-control-allow-credentials"],
        answer["access-control-max-age"],
        answer["x-custom"],
    )
    assert f"{'GET' if method == 'HEAD' else method},OPTIONS" == answer["access-control-allow-methods"]
    assert "Content-Length,ETag,Date,Content-Encoding,x-custom" == answer["access-control-expose-headers"]
    always = {"Cache-Control", "Content-Type", "Content-Length", "Accept-Encoding", "If-None-Match"}
    allowed = str(answer["access-control-allow-headers"]).split(",")
    assert always | extra | {"X-Request-Id"} == set(allowed)
    assert len(allowed) == len(set(allowed))


def test_preflight_of_an_ofrep_stream() -> None:
    """Libraries that read streams with ``fetch`` send the id of the last event as a header."""
    options = {"cors": {"allowed_headers": ["traceparent"]}}
    answer = MemorySite(CONFIG, {"http": {"ofrep": options}}).request("OPTIONS", "/ofrep/v1/streams/sdk1/token")
    assert (204, "GET,OPTIONS") == (answer.status, answer["access-control-allow-methods"])
    assert {"Last-Event-ID", "traceparent"} <= set(str(answer["access-control-allow-headers"]).split(","))


@pytest.mark.parametrize("section", ROUTE_OF)
@pytest.mark.parametrize("origin", ["https://app.example", "https://other.example", None])
def test_credentials_are_allowed_to_listed_origins_only(section: str, origin: str | None) -> None:
    """Every reply, errors included, allows them together with a listed origin, never with the request's or ``*``."""
    cors = {"allowed_origins": ["https://app.example", "https://admin.example"], "allow_credentials": True}
    site = MemorySite(CONFIG, {"http": {section: {"cors": cors}}})
    method, path, body = ROUTE_OF[section]
    headers = {"Origin": origin} if origin else {}
    for verb, place in ((method, path), ("OPTIONS", path), (method, path.replace("sdk1", "nope"))):
        answer = site.request(verb, place, headers, body)
        assert "https://app.example" == answer["access-control-allow-origin"]
        assert ["true"] == [value for name, value in answer.headers if name == "Access-Control-Allow-Credentials"]


def test_options_without_cors_is_204_and_bare() -> None:
    """With CORS off OPTIONS still answers 204, without any of its headers."""
    answer = MemorySite(CONFIG, {"http": {"api": {"cors": {"enabled": False}}}}).request("OPTIONS", "/api/eval")
    assert (204, []) == (answer.status, [name for name, _ in answer.headers if name.startswith("Access-Control")])


@pytest.mark.parametrize(
    ("section", "path"), [("sse", "/sse/sdk1/eval-all"), ("cdn_proxy", "/configuration-files/sdk1/config_v6.json")]
)
@pytest.mark.parametrize("name", ["cache-control", "Cache-Control", "X-Accel-Buffering"])
def test_headers_for_proxies_are_the_operators(section: str, path: str, name: str) -> None:
    """An operator's header replaces the gateway's own one, in errors as well; the others stay, ``Vary`` is added to."""
    usual = MemorySite(CONFIG).request("HEAD", path)
    for place in (path, path.replace("sdk1", "nope")):
        site = MemorySite(CONFIG, {"http": {section: {"headers": {name: "private", "Vary": "X-Tenant"}}}})
        answer = site.request("HEAD", place)
        assert ["private"] == [value for key, value in answer.headers if key.lower() == name.lower()]
        assert "X-Tenant" in [value for key, value in answer.headers if key == "Vary"]
        if place == path:
            assert usual["content-type"] == answer["content-type"]
            kept = [line for line in usual.headers if line[0] in ("Cache-Control", "X-Accel-Buffering", "Vary", "Etag")]
            assert {line for line in kept if line[0].lower() != name.lower()} <= set(answer.headers)


def test_precedence_of_the_operators_headers() -> None:
    """An operator's header replaces a CORS header, not one of the answer, and cannot break the framing."""
    headers = {
        "content-type": "text/evil",
        "access-control-allow-origin": "https://mine.example",
        "Content-Length": "3",
        "Transfer-Encoding": "chunked",
        "bad name": "x",
        "X-Lines": "a\r\nSet-Cookie: b",
    }
    answer = MemorySite(CONFIG, {"http": {"api": {"headers": headers}}}).request("GET", "/api/sdk1/keys")
    assert ("application/json", "https://mine.example", '{"keys":["on"]}', None, "a Set-Cookie: b") == (
        answer["content-type"],
        answer["access-control-allow-origin"],
        answer.text,
        answer["set-cookie"],
        answer["x-lines"],
    )


@pytest.mark.parametrize(
    ("sent", "status"),
    [({"x-AUTH": "secret", "X-Two": "2"}, 200), ({"X-Auth": "secret"}, 401), ({"X-Auth": "Secret", "X-Two": "2"}, 401)],
)
def test_auth_headers(sent: dict[str, str], status: int) -> None:
    """Every configured header must have its value, byte for byte; a refusal carries CORS and the operator's headers."""
    options = {"auth_headers": {"X-Auth": "secret", "X-Two": "2", "X-Empty": ""}, "headers": {"X-Custom": "1"}}
    answer = MemorySite(CONFIG, {"http": {"api": options}}).request(
        "GET", "/api/sdk1/keys", {**sent, "Accept-Encoding": "gzip"}
    )
    assert (status, "*", "1") == (answer.status, answer["access-control-allow-origin"], answer["x-custom"])
    if status == 401:
        assert ("Unauthorized\n", None) == (answer.text, answer["content-encoding"])


def test_only_the_first_value_of_an_auth_header_counts() -> None:
    """Only the first instance of an auth header counts."""
    site = MemorySite(CONFIG, {"http": {"api": {"auth_headers": {"X-Auth": "secret"}}}})
    connection = site.connect()
    connection.send(b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\nX-Auth: no\r\nX-Auth: secret\r\n\r\n")
    assert connection.received().startswith(b"HTTP/1.1 401 ")


def test_a_reload_applies_to_the_next_request_on_the_same_connection() -> None:
    """New settings hold for the next request of an open connection; a bad pattern changes nothing."""
    from web_memory import settings_of

    site = MemorySite(CONFIG)
    connection = site.connect()
    request = b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n\r\n"
    connection.send(request)
    assert connection.received().startswith(b"HTTP/1.1 200 ")
    site.site.use(site.site.prepare(settings_of({"http": {"api": {"auth_headers": {"X-Auth": "s"}}}})))
    connection.send(request)
    assert connection.received().startswith(b"HTTP/1.1 401 ")
    broken = {"http": {"api": {"cors": {"allowed_origins_regex": {"patterns": ["("], "if_no_match": "x"}}}}}
    with pytest.raises(ValueError, match="pattern"):
        site.site.use(site.site.prepare(settings_of(broken)))
    connection.send(request)
    assert connection.received().startswith(b"HTTP/1.1 401 ")


def test_answers_are_counted_by_pattern() -> None:
    """Replies are counted by the route's pattern and a known method, never by path."""
    site = MemorySite(CONFIG)
    site.request("GET", "/api/sdk1/keys")
    site.request("POST", "/api/secret/eval", {}, "{}")
    site.request("GET", "/secret")
    site.request("BREW", "/secret")
    assert [
        ("/api/{sdkId}/keys", "GET", 200),
        ("/api/{sdkId}/eval", "POST", 404),
        ("", "GET", 404),
        ("", "other", 404),
    ] == site.metrics.answers
