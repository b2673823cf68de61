"""The inbound webhook: signatures, repeats, networks, and how long the sender waits."""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from gateway.web.answers.hook import ANSWER_WITHIN, CREDIT_LIMIT, signature
from gateway.web.context import RecentCallIds
from web_memory import NOW, Answer, MemorySite, Refreshed

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}
KEY = "configcat_whsk_VN3juirnVh5pNvCKd81RYRYchxUX4j3NykbZG2fAy88="
SIGNED = {"sdks": {"sdk1": {"key": "k", "webhook_signing_key": KEY, "webhook_signature_valid_for": 300}}}


def sign(body: str = "", call_id: str = "call-1", at: float = NOW, key: str = KEY) -> dict[str, str]:
    stamp = str(int(at))
    mac = hmac.new(key.encode(), f"{call_id}{stamp}{body}".encode(), sha256).digest()
    return {
        "X-ConfigCat-Webhook-ID": call_id,
        "X-ConfigCat-Webhook-Timestamp": stamp,
        "X-ConfigCat-Webhook-Signature-V1": b64encode(mac).decode(),
    }


@pytest.fixture
def signed() -> MemorySite:
    return MemorySite(CONFIG, SIGNED)


def call(site: MemorySite, headers: dict[str, str], body: str = "", **options: Any) -> Answer:
    return site.request("POST", "/hook/sdk1", headers, body, **options)


def test_documented_signature() -> None:
    """The signature of ConfigCat's documented example is the documented one."""
    signed = b"b616ca659d154a5fb907dd8475792eeb" + b"1669629035" + b"examplebody"
    assert b"Ks3cYsu9Lslfo+hVxNC3oQWnsF9e5d73TI5t94D9DRA=" == signature(KEY, signed)


@pytest.mark.parametrize("path", ["/hook", "/hook/"])
def test_missing_id_is_400(path: str) -> None:
    """A call without an SDK id is 400, not 404."""
    answer = MemorySite(CONFIG).request("POST", path)
    assert (400, "'sdkId' path parameter must be set\n") == (answer.status, answer.text)


def test_good_signatures_fetch_once(signed: MemorySite) -> None:
    """A signed call fetches without a rate limit; its repetition is 200 and fetches nothing."""
    assert [200, 200] == [call(signed, sign("x"), "x").status for _ in range(2)]
    assert 200 == call(signed, sign("x", "call-2"), "x").status
    assert [False, False] == signed.sdk.refreshes


def test_get_and_head_sign_the_empty_body(signed: MemorySite) -> None:
    """GET and HEAD are calls too."""
    assert 200 == signed.request("GET", "/hook/sdk1", sign()).status
    assert 200 == signed.request("HEAD", "/hook/sdk1", sign("", "call-2")).status
    assert [False, False] == signed.sdk.refreshes


@pytest.mark.parametrize("separator", [",", ", ", " , "])
def test_one_of_several_signatures_is_enough(signed: MemorySite, separator: str) -> None:
    """A sender that changes its key signs twice; spaces around the comma do not matter."""
    headers = sign("x")
    headers["X-ConfigCat-Webhook-Signature-V1"] = "AAAA" + separator + headers["X-ConfigCat-Webhook-Signature-V1"]
    assert 200 == call(signed, headers, "x").status


BAD: dict[str, dict[str, str]] = {
    "no headers": {},
    "no id": {**sign("x"), "X-ConfigCat-Webhook-ID": ""},
    "no timestamp": {**sign("x"), "X-ConfigCat-Webhook-Timestamp": ""},
    "no signature": {**sign("x"), "X-ConfigCat-Webhook-Signature-V1": ""},
    "other body": sign("y"),
    "other key": sign("x", key="configcat_whsk_other"),
    "too old": sign("x", at=NOW - 301),
    "too far ahead": sign("x", at=NOW + 301),
    "odd timestamp": {**sign("x"), "X-ConfigCat-Webhook-Timestamp": "1_700_000_000"},
    "huge timestamp": {**sign("x"), "X-ConfigCat-Webhook-Timestamp": "9" * 5000},
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_signatures_are_refused(signed: MemorySite, fault: str) -> None:
    """A call that is not signed, wrongly signed, too old or too far ahead is 400 and fetches nothing."""
    answer = call(signed, BAD[fault], "x")
    assert (400, "Signature validation failed\n", []) == (answer.status, answer.text, signed.sdk.refreshes)


@pytest.mark.parametrize("at", [NOW - 300, NOW + 300])
def test_validity_includes_its_ends(signed: MemorySite, at: float) -> None:
    """A timestamp exactly at the limit of the validity is accepted."""
    assert 200 == call(signed, sign("x", at=at), "x").status


def test_repeat_with_a_wrong_signature_is_refused(signed: MemorySite) -> None:
    """An id that was accepted is refused without a valid signature."""
    call(signed, sign("x"), "x")
    assert 400 == call(signed, {**sign("x"), "X-ConfigCat-Webhook-Signature-V1": "AAAA"}, "x").status


def test_call_ids_are_bounded_and_expire() -> None:
    """Ids are kept while their call is acceptable, up to a limit."""
    call_ids = RecentCallIds(limit=3)
    assert [False, True] == [call_ids.seen("s", b"a", until=10, now=0) for _ in range(2)]
    assert not call_ids.seen("other", b"a", until=10, now=0)
    assert not call_ids.seen("s", b"a", until=30, now=11)
    for number in range(10):
        assert not call_ids.seen("s", b"%d" % number, until=100, now=12)
    assert 3 == len(call_ids._until)
    assert call_ids.seen("s", b"9", until=100, now=12)


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"auth": {"user": "u", "password": "p"}}, {"Authorization": "Basic dTpw"}),
        ({"auth_headers": {"X-Auth": "s"}}, {"X-Auth": "s"}),
        (
            {"auth": {"user": "u", "password": "p"}, "auth_headers": {"X-Auth": "s"}},
            {"Authorization": "basic dTpw", "X-Auth": "s"},
        ),
    ],
)
def test_authenticated_calls_are_not_limited(settings: dict[str, Any], headers: dict[str, str]) -> None:
    """An authenticated call gets a fetch of its own; without the secret it is 401 and fetches nothing."""
    site = MemorySite(CONFIG, {"http": {"webhook": settings}})
    assert [200, 401] == [call(site, headers).status, call(site, {}).status]
    assert [False] == site.sdk.refreshes
    refused = call(site, {**headers, "Authorization": "Basic %%%", "X-Auth": "t"})
    assert (401, "Unauthorized\n", None, None) == (
        refused.status,
        refused.text,
        refused["www-authenticate"],
        refused["access-control-allow-origin"],
    )


def test_open_calls_are_limited() -> None:
    """Calls without authentication share a bounded rate of fetches."""
    site = MemorySite(CONFIG)
    assert 200 == call(site, {}).status
    assert [True] == site.sdk.refreshes


def test_failed_fetches_are_200_too() -> None:
    """The call is 200 whether the fetch succeeds or not; an SDK that never loaded is fetched too."""
    site = MemorySite(CONFIG, sdk={"snapshot": None, "error": "boom"})
    assert (200, b"") == ((answer := call(site, {})).status, answer.body)


def test_reply_comes_within_eight_seconds() -> None:
    """The reply comes when the fetch ends, or after 8 s while the fetch continues."""
    site = MemorySite(CONFIG, sdk={"instant": False})
    quick, slow = site.connect(), site.connect()
    for connection in (quick, slow):
        connection.send(b"POST /hook/sdk1 HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n")
    site.sdk.pending[0].callback(Refreshed())
    assert quick.received().startswith(b"HTTP/1.1 200 ")
    site.clock.advance(ANSWER_WITHIN - 0.1)
    assert b"" == slow.received()
    site.clock.advance(0.2)
    assert slow.received().startswith(b"HTTP/1.1 200 ")
    site.sdk.pending[1].callback(Refreshed("late"))
    assert ANSWER_WITHIN == 8


def test_client_that_hangs_up_does_not_cancel_the_fetch() -> None:
    """A fetch continues when the client that started it hangs up."""
    cancelled: list[Any] = []
    site = MemorySite(CONFIG, sdk={"instant": False})
    for path in ("/hook/sdk1", "/api/sdk1/refresh"):
        connection = site.connect()
        connection.send(f"POST {path} HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n".encode())
        site.sdk.pending[-1].addErrback(cancelled.append)
        connection.hang_up()
    site.clock.advance(ANSWER_WITHIN + 1)
    assert ([], 0) == (cancelled, site.site.answering)
    assert [False, False] == [done.called for done in site.sdk.pending]
    for done in site.sdk.pending:
        done.callback(Refreshed())


@pytest.mark.parametrize(
    ("peer", "forwarded", "status"),
    [
        ("192.0.2.7", None, 200),
        ("198.51.100.1", None, 403),
        ("198.51.100.1", "192.0.2.7", 403),
        ("10.0.0.1", "192.0.2.7", 200),
        ("10.0.0.1", "192.0.2.7, 10.0.0.2", 200),
        ("10.0.0.1", "192.0.2.7, 203.0.113.5", 403),
        ("10.0.0.1", "203.0.113.5, 192.0.2.7:1234", 200),
        ("10.0.0.1", "192.0.2.7, rubbish", 403),
        ("10.0.0.1", "[2001:db8::7]:80", 200),
        ("10.0.0.1", None, 403),
        ("::ffff:192.0.2.7", None, 200),
        ("", None, 403),
    ],
)
def test_only_allowed_networks_may_call(peer: str, forwarded: str | None, status: int) -> None:
    """The client's address decides: that of the connection, or the entry that trusted proxies wrote."""
    http = {
        "trusted_proxies": ["10.0.0.0/8"],
        "webhook": {"allowed_networks": ["192.0.2.0/24", "2001:db8::/32"], "auth_headers": {"X-Auth": "s"}},
    }
    site = MemorySite(CONFIG, {"http": http})
    headers = {"X-Auth": "s", **({"X-Forwarded-For": forwarded} if forwarded else {})}
    answer = call(site, headers, peer=peer)
    assert status == answer.status
    assert (1 if status == 200 else 0) == len(site.sdk.refreshes)
    if status == 403:
        assert "Forbidden\n" == answer.text


def test_hook_test_is_always_200_and_does_nothing() -> None:
    """``/hook-test`` is 200 for every call, whatever authentication the webhook requires."""
    site = MemorySite(CONFIG, {"http": {"webhook": {"auth_headers": {"X-Auth": "s"}}}})
    assert [200, 200] == [site.request(method, "/hook-test").status for method in ("GET", "POST")]
    assert [] == site.sdk.refreshes


def test_webhook_answers_carry_no_cors() -> None:
    """Replies of the webhook have no CORS headers."""
    answer = MemorySite(CONFIG).request(
        "POST", "/hook/nope", {"Origin": "https://x.example", "Accept-Encoding": "gzip"}
    )
    assert (404, "SDK not found for identifier: 'nope'\n", None, None) == (
        answer.status,
        answer.text,
        answer["access-control-allow-origin"],
        answer["content-encoding"],
    )


NAMED = '{"changedBy":"Jane"}'


def test_only_authenticated_calls_name_the_author(signed: MemorySite) -> None:
    """The body of a signed or Basic authenticated call goes with the fetch; that of an open call does not."""
    call(signed, sign(NAMED), NAMED)
    assert [NAMED.encode()] == signed.sdk.credits
    basic = MemorySite(CONFIG, {"http": {"webhook": {"auth": {"user": "u", "password": "p"}}}})
    call(basic, {"Authorization": "Basic dTpw"}, NAMED)
    assert [NAMED.encode()] == basic.sdk.credits
    anybody = MemorySite(CONFIG)
    call(anybody, {}, NAMED)
    assert [b""] == anybody.sdk.credits


def test_a_long_body_names_no_author(signed: MemorySite) -> None:
    """A body that is too long to name an author is left out, and the fetch takes place."""
    long = NAMED + " " * CREDIT_LIMIT
    assert 200 == call(signed, sign(long), long).status
    assert [b""] == signed.sdk.credits
