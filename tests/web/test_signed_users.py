"""Routes with ``users: signed``: which token is read, what is refused and how, and what the answer is evaluated for."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.flags import load
from tokens import SECRET, key_set, raw, rsa_key, sign
from web_memory import NOW, SDK_KEY, Answer, Connection, MemorySite, parse_answer

CONFIG: dict[str, Any] = {
    "f": {
        "who": {
            "t": 1,
            "v": {"s": "nobody"},
            "i": "v0",
            "r": [
                {
                    "c": [{"u": {"a": attribute, "c": 28, "s": name}}],
                    "s": {"v": {"s": f"{attribute} {name}"}, "i": name},
                }
                for attribute, name in (("Identifier", "root"), ("Identifier", "zoe"), ("Theme", "dark"))
            ],
        }
    }
}
IDENTITY = {"keys": [{"kid": "k1", "alg": "HS256", "secret": SECRET}], "leeway": 0, "open_attributes": ["Theme"]}
SIGNED = {"users": "signed"}
ALL_SIGNED = {"http": {"api": SIGNED, "ofrep": SIGNED, "sse": SIGNED}, "identity": IDENTITY}
ROOT = {"Identifier": "root", "targetingKey": "root"}
BY_ID = {"X-ConfigCat-SdkId": "sdk1"}
ORIGIN = "https://app.example.com"


def token(subject: str = "zoe", **claims: Any) -> str:
    return sign({"sub": subject, "exp": NOW + 100, **claims}).decode()


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def data(user: object = None, key: str = "who") -> str:
    return urlsafe_b64encode(json.dumps({"key": key, **({"user": user} if user else {})}).encode()).decode()


def evaluated(site: MemorySite, route: str, headers: dict[str, str], user: dict[str, Any] = ROOT) -> Answer:
    """Send the request of a route that names ``user``."""
    match route:
        case "api one":
            return site.request("POST", "/api/sdk1/eval", headers, json.dumps({"key": "who", "user": user}))
        case "api all":
            return site.request("POST", "/api/sdk1/eval-all", headers, json.dumps({"user": user}))
        case "ofrep one":
            body = json.dumps({"context": user})
            return site.request("POST", "/ofrep/v1/evaluate/flags/who", BY_ID | headers, body)
        case "ofrep all":
            return site.request("POST", "/ofrep/v1/evaluate/flags", BY_ID | headers, json.dumps({"context": user}))
        case "sse one":
            return opened(site, f"/sse/sdk1/eval/{data(user)}", headers)
        case "sse all":
            return opened(site, f"/sse/sdk1/eval-all/{data(user)}", headers)
        case "sse by key":
            named = urlsafe_b64encode(json.dumps({"key": "who", "sdkKey": SDK_KEY, "user": user}).encode()).decode()
            return opened(site, f"/sse/eval/k/{named}", headers)
        case _:
            return site.request("POST", "/sse/sdk1/streams", headers, json.dumps({"key": "who", "user": user}))


ROUTES = ["api one", "api all", "ofrep one", "ofrep all", "sse one", "sse all", "sse by key", "stream url"]


def connection(site: MemorySite, path: str, headers: dict[str, str] | None = None) -> Connection:
    made = site.connect()
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    made.send(f"GET {path} HTTP/1.1\r\nHost: gateway.test\r\n{lines}\r\n".encode())
    return made


def opened(site: MemorySite, path: str, headers: dict[str, str] | None = None) -> Answer:
    return parse_answer(connection(site, path, headers).received())


@pytest.fixture
def site() -> MemorySite:
    return MemorySite(CONFIG, ALL_SIGNED)


@pytest.mark.parametrize("route", ROUTES)
def test_the_user_is_that_of_the_token(site: MemorySite, route: str) -> None:
    """The user that a request names does not matter; default attributes are added as ever."""
    answer = evaluated(site, route, bearer(token()))
    if route == "stream url":
        assert 201 == answer.status
        answer = opened(site, answer.json["url"])
    assert 200 == answer.status
    assert "Identifier zoe" in answer.text
    assert "root" not in answer.text


@pytest.mark.parametrize("route", ROUTES)
def test_open_attributes_are_those_of_the_request(site: MemorySite, route: str) -> None:
    """Only what the operator lists is taken from the request."""
    answer = evaluated(site, route, bearer(token("ann")), ROOT | {"Theme": "dark"})
    if route == "stream url":
        answer = opened(site, answer.json["url"])
    assert "Theme dark" in answer.text


REFUSED = {
    None: "a token is required",
    "": "a token is required",
    "abc": "the token is not a signed JWT",
    raw({"alg": "none"}, {"sub": "zoe", "exp": NOW + 1}).decode(): "the token is not signed with a key of this gateway",
    sign({"sub": "zoe", "exp": NOW + 1}, "another secret " * 4).decode(): "the signature of the token is not valid",
    token(exp=NOW): "the token has expired",
    token(nbf=NOW + 1): "the token is not valid yet",
    token(x="y" * 9000): "the token is longer than 8192 bytes",
}


@pytest.mark.parametrize("route", ROUTES)
def test_a_refusal(site: MemorySite, route: str) -> None:
    """401 with a challenge of RFC 6750 on every route, for an EventSource too; nothing of the request is in it."""
    for sent, reason in REFUSED.items():
        headers = {"Origin": ORIGIN, "Accept": "text/event-stream"} | ({} if sent is None else bearer(sent))
        answer = evaluated(site, route, headers)
        assert (401, f"unauthorized: {reason}\n") == (answer.status, answer.text)
        assert f'Bearer error="invalid_token", error_description="{reason}"' == answer["www-authenticate"]
        assert "WWW-Authenticate" in answer["access-control-expose-headers"].split(",")
        assert ORIGIN == answer["access-control-allow-origin"]
    assert [] == site.hub.subscribers()


@pytest.mark.parametrize("path", ["/api/sdk1/eval", "/ofrep/v1/evaluate/flags", "/sse/sdk1/streams", "/sse/sdk1/eval"])
def test_a_preflight_allows_the_header(site: MemorySite, path: str) -> None:
    """A script of another origin may send the token."""
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    signed = site.request("OPTIONS", path, asked)
    assert (204, True) == (signed.status, "Authorization" in signed["access-control-allow-headers"].split(","))
    unsigned = MemorySite(CONFIG).request("OPTIONS", path, asked)
    assert "Authorization" not in unsigned["access-control-allow-headers"]


def test_routes_that_name_no_user_need_no_token(site: MemorySite) -> None:
    """The keys of flags, a refresh and the config file are the same for all users."""
    assert 200 == site.request("GET", "/api/sdk1/keys").status
    assert 200 == site.request("GET", f"/configuration-files/{SDK_KEY}/config_v6.json").status


def test_each_section_decides_for_itself() -> None:
    site = MemorySite(CONFIG, {"http": {"sse": SIGNED}, "identity": IDENTITY})
    assert [200, 200, 200, 200, 401, 401, 401, 401] == [evaluated(site, route, {}).status for route in ROUTES]


def test_a_token_in_the_query() -> None:
    """Where a client can only GET; a header has priority, and a POST has headers."""
    site = MemorySite(CONFIG, ALL_SIGNED)
    path = f"/sse/sdk1/eval/{data()}?token="
    assert "Identifier zoe" in opened(site, path + token()).text
    assert "Identifier zoe" in opened(site, path + "abc", bearer(token())).text
    assert 401 == opened(site, path + token(), bearer("abc")).status
    assert 401 == opened(site, f"/sse/sdk1/eval/{data()}?token=").status
    for route in ("/api/sdk1/eval", "/sse/sdk1/streams"):
        assert 401 == site.request("POST", f"{route}?token={token()}", {}, '{"key":"who"}').status


def cookie(text: str) -> dict[str, str]:
    return {"Cookie": f"a=b; __Host-flags={text}; c=d"}


def test_a_token_in_the_cookie(site: MemorySite) -> None:
    assert "Identifier zoe" in opened(site, f"/sse/sdk1/eval/{data()}", cookie(token())).text
    assert (
        401 == opened(site, f"/sse/sdk1/eval/{data()}", {"Cookie": f"__Secure-flags={token()}; flags={token()}"}).status
    )


ORIGINS: list[tuple[dict[str, str], int]] = [
    ({"Origin": "https://gateway.test"}, 200),
    ({"Origin": "http://GATEWAY.test"}, 200),
    ({"Sec-Fetch-Site": "same-origin"}, 200),
    ({"Sec-Fetch-Site": "none"}, 200),
    ({"Sec-Fetch-Site": "same-site"}, 401),
    ({"Sec-Fetch-Site": "cross-site"}, 401),
    ({"Origin": "https://evil.example.com"}, 401),
    ({"Origin": "https://gateway.test.evil.example.com"}, 401),
    ({"Origin": "https://gateway.test:8443"}, 401),
    ({"Origin": "null"}, 401),
    ({"Origin": "https://evil.example.com", "Sec-Fetch-Site": "same-origin"}, 401),
    ({"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}, 200),
    ({"Origin": "https://public.example.com"}, 200),
]


def test_the_cookie_is_for_known_origins() -> None:
    """A browser sends the cookie for every page; the own origin and those that are listed may use it."""
    sse = {**SIGNED, "cors": {"allowed_origins": [ORIGIN], "allow_credentials": True}}
    settings = {"http": {"sse": sse, "public_url": "https://public.example.com/flags"}, "identity": IDENTITY}
    site = MemorySite(CONFIG, settings)
    for headers, status in ORIGINS:
        answer = opened(site, f"/sse/sdk1/eval/{data()}", cookie(token()) | headers)
        assert (headers, status) == (headers, answer.status)
        assert (status == 401) == ("the cookie was sent by a page of another site" in str(answer["www-authenticate"]))
        assert 200 == opened(site, f"/sse/sdk1/eval/{data()}", bearer(token()) | headers).status


def test_without_a_list_of_origins_the_cookie_is_for_the_own_one(site: MemorySite) -> None:
    """``*``, the default of CORS, is not a list."""
    for origin, status in (("https://gateway.test", 200), (ORIGIN, 401)):
        assert status == opened(site, f"/sse/sdk1/eval/{data()}", cookie(token()) | {"Origin": origin}).status


def test_a_stream_url_ends_with_its_token(site: MemorySite) -> None:
    """It is valid until its token ends, however long URLs live otherwise."""
    answer = evaluated(site, "stream url", bearer(token()))
    assert "2023-11-14T22:15:00.000Z" == answer.json["expires_at"]
    site.clock.advance(99)
    assert 200 == opened(site, answer.json["url"]).status
    site.clock.advance(1)
    assert 410 == opened(site, answer.json["url"]).status


def test_the_life_of_a_stream_url_may_be_shorter() -> None:
    site = MemorySite(CONFIG, {"http": {"sse": {**SIGNED, "url_lifetime": 60}}, "identity": IDENTITY})
    answer = evaluated(site, "stream url", bearer(token(exp=NOW + 1000)))
    assert "2023-11-14T22:14:20.000Z" == answer.json["expires_at"]


def test_a_stream_url_of_an_unsigned_user_is_not_valid(site: MemorySite) -> None:
    """Nor does the SDK key, which clients have, suffice to make one."""
    unsigned = MemorySite(CONFIG)
    for route in ("stream url", "ofrep all"):
        answer = evaluated(unsigned, route, {}).json
        path = answer["url"] if route == "stream url" else answer["eventStreams"][0]["endpoint"]["requestUri"]
        assert [200, 403] == [opened(each, path).status for each in (unsigned, site)]
        own = evaluated(site, route, bearer(token())).json
        own_path = own["url"] if route == "stream url" else own["eventStreams"][0]["endpoint"]["requestUri"]
        assert [403, 200] == [opened(each, own_path).status for each in (unsigned, site)]
        # another gateway with the same SDK key, and no secret of the operator
        assert 403 == opened(MemorySite(CONFIG, ALL_SIGNED), own_path).status


def test_nodes_with_one_secret_share_stream_urls() -> None:
    settings = {**ALL_SIGNED, "http": {**ALL_SIGNED["http"], "sse": {**SIGNED, "url_secret": "s" * 32}}}
    first, second = MemorySite(CONFIG, settings), MemorySite(CONFIG, settings)
    assert 200 == opened(second, evaluated(first, "stream url", bearer(token())).json["url"]).status


def test_an_ofrep_stream_ends_with_its_token(site: MemorySite) -> None:
    """Its address is refused afterwards; a client that polls with one token gets one address, and 304."""
    first = evaluated(site, "ofrep all", bearer(token()))
    path = first.json["eventStreams"][0]["endpoint"]["requestUri"]
    again = site.request(
        "POST", "/ofrep/v1/evaluate/flags", BY_ID | bearer(token()) | {"If-None-Match": first["etag"]}, "{}"
    )
    assert 304 == again.status
    assert 200 == opened(site, path).status
    site.clock.advance(100)
    assert 403 == opened(site, path).status


def test_an_ofrep_context_cannot_name_another_targeting_key() -> None:
    """The targeting key is the identifier of the token, also for flags that target the attribute of that name."""
    rule = {"c": [{"u": {"a": "targetingKey", "c": 28, "s": "zoe"}}], "s": {"v": {"b": True}, "i": "zoe"}}
    config = {"f": {"a": {"t": 0, "v": {"b": False}, "i": "v0", "r": [rule]}}}
    site = MemorySite(config, ALL_SIGNED)
    for subject, value in (("zoe", True), ("root", False)):
        body = json.dumps({"context": {"targetingKey": "zoe" if subject == "root" else "root"}})
        answer = site.request("POST", "/ofrep/v1/evaluate/flags/a", BY_ID | bearer(token(subject)), body)
        assert value is answer.json["value"]


def test_200_identities(site: MemorySite) -> None:
    """Each stream and each answer is that of its own user, before and after a change, whatever else is open."""
    users = [f"user-{number}" for number in range(200)]

    def config(word: str) -> dict[str, Any]:
        rules = [
            {"c": [{"u": {"a": "Identifier", "c": 28, "s": user}}], "s": {"v": {"s": f"{word} {user}."}, "i": user}}
            for user in users
        ]
        return {"f": {"who": {"t": 1, "v": {"s": "nobody"}, "i": "v0", "r": rules}}}

    site = MemorySite(config("first"), ALL_SIGNED)
    streams = {}
    for number, user in enumerate(users):
        named = {"Identifier": users[number - 1]}
        headers = bearer(token(user))
        assert f"first {user}." in evaluated(site, "api one", headers, named).text
        assert f"first {user}." in evaluated(site, "ofrep all", headers, named).text
        path = f"/sse/sdk1/eval/{data(named)}"
        if number % 3 == 0:
            path, headers = evaluated(site, "stream url", headers, named).json["url"], {}
        elif number % 3 == 1:
            path, headers = f"{path}?token={token(user)}", {}
        streams[user] = connection(site, path, headers)
    for user, stream in streams.items():
        assert [f"first {user}."] == values(stream)
    site.sdk.snapshot = load(json.dumps(config("second")).encode(), '"second"', site.sdk.snapshot)
    site.hub.publish(site.sdk.snapshot)
    assert site.hub.work(lambda: False)
    for user, stream in streams.items():
        assert [f"second {user}."] == values(stream)


def values(stream: Connection) -> list[str]:
    text = stream.received().decode()
    return [json.loads(part.partition("\r\n")[0].partition("\n")[0])["value"] for part in text.split("data: ")[1:]]


# Keys of an issuer

RSA = rsa_key()
JWKS = "https://id.example.com/jwks.json"
BY_ISSUER = {"http": {"api": SIGNED, "sse": SIGNED}, "identity": {"keys": [{"jwks_url": JWKS}], "leeway": 0}}


def by_issuer(kid: str = "one") -> dict[str, str]:
    return bearer(sign({"sub": "zoe", "exp": NOW + 100}, RSA, "RS256", {"kid": kid}).decode())


def test_while_the_keys_have_never_been_fetched() -> None:
    """The token may be valid, so that the refusal is one that clients repeat: 503, and for an EventSource a retry."""
    site = MemorySite(CONFIG, BY_ISSUER)
    answer = evaluated(site, "api one", by_issuer())
    assert (503, "10") == (answer.status, answer["retry-after"])
    assert 503 == evaluated(site, "sse one", by_issuer()).status
    stream = evaluated(site, "sse one", by_issuer() | {"Accept": "text/event-stream"})
    assert (200, True) == (stream.status, stream.text.startswith("retry: "))
    assert 401 == evaluated(site, "api one", bearer("abc")).status
    site.site.routes.dispatcher.context.state.issuers.use(JWKS, key_set(one=RSA))
    assert "Identifier zoe" in evaluated(site, "api one", by_issuer()).text
    assert 401 == evaluated(site, "api one", by_issuer("two")).status


def test_a_request_waits_for_a_new_key() -> None:
    """The issuer has rotated its keys: the first token with the new one is answered once the key is here."""
    from twisted.internet.defer import Deferred

    site = MemorySite(CONFIG, BY_ISSUER)
    issuers = site.site.routes.dispatcher.context.state.issuers
    issuers.use(JWKS, key_set(one=rsa_key()))
    fetch: Deferred[None] = Deferred()
    issuers.refresh = lambda: fetch
    waiting = connection(site, f"/sse/sdk1/eval/{data()}", by_issuer("two"))
    assert b"" == waiting.received()
    issuers.use(JWKS, key_set(two=RSA))
    fetch.callback(None)
    assert ["Identifier zoe"] == values(waiting)


def test_the_number_of_waiting_requests_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any client can name unknown keys."""
    from twisted.internet.defer import Deferred

    monkeypatch.setattr("gateway.web.signed_users.WAITING_LIMIT", 2)
    site = MemorySite(CONFIG, BY_ISSUER)
    issuers = site.site.routes.dispatcher.context.state.issuers
    issuers.use(JWKS, key_set(one=RSA))
    fetch: Deferred[None] = Deferred()
    issuers.refresh = lambda: fetch
    held = [connection(site, f"/sse/sdk1/eval/{data()}", by_issuer("two")) for _ in range(3)]
    assert [b"", b""] == [each.received() for each in held[:2]]
    assert 401 == parse_answer(held[2].received()).status
    fetch.callback(None)
    assert [401, 401] == [parse_answer(each.received()).status for each in held[:2]]
    assert 0 == site.site.routes.dispatcher.context.state.waiting_for_keys


def test_stream_urls_are_paths(site: MemorySite) -> None:
    """No token is in what a client gets, so that none is in the log of a proxy."""
    sent = token()
    for route in ("stream url", "ofrep all"):
        assert sent not in evaluated(site, route, bearer(sent)).text
    assert urlsplit(evaluated(site, "stream url", bearer(sent)).json["url"]).query == ""
