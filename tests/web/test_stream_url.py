"""The encrypted texts in the addresses of streams: who can read them, for how long, and what they cost."""

from __future__ import annotations

import os
import zlib
from typing import Any

import pytest

from gateway.web.stream_seal import CONTENT_LIMIT, NotSealed, Seal
from gateway.web.stream_url import Expired, StreamUrls, Target
from web_memory import NOW, SDK_KEY, FakeSdk

SECRET = "s" * 32
SDK = FakeSdk("shop 1", SDK_KEY)
TARGET = Target("banner", {"Identifier": "anna", "n": 1.5, "Roles": ("a", "b"), "é": "ü"})


def issued(urls: StreamUrls, sdk: FakeSdk = SDK, target: Target = TARGET, now: float = NOW) -> str:
    """Return the token of a URL."""
    made = urls.issue(sdk, target, now)
    assert made is not None
    head, _, token = made[0].decode().rpartition("/")
    assert f"/sse/{sdk.id}/streams".replace(" ", "%20") == head
    return token


@pytest.mark.parametrize(
    "target",
    [TARGET, Target(None, None), Target(None, {}), Target("a", None), Target("a", {"x": "y" * 5000, "z": ("",) * 99})],
)
def test_a_url_holds_its_flag_and_user(target: Target) -> None:
    """What is read is what was issued; no user, and a user without attributes, stay different."""
    urls = StreamUrls.from_settings()
    assert target == urls.read(SDK, issued(urls, target=target), NOW)


def test_a_change_of_any_character_is_detected() -> None:
    """Also one that changes no byte, since base64 has several texts for some bytes; and what is cut off or added."""
    urls = StreamUrls.from_settings()
    token = issued(urls)
    faulty = [token[:index] + ("B" if char == "A" else "A") + token[index + 1 :] for index, char in enumerate(token)]
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    faulty += [token[:-1] + char for char in last if char != token[-1]]
    faulty += [token[:length] for length in range(len(token))]
    faulty += [token + "A", token + "=", token + "==", "A" + token, token.replace("-", "+").replace("_", "/") + "\n"]
    for text in faulty:
        with pytest.raises(NotSealed):
            urls.read(SDK, text, NOW)


@pytest.mark.parametrize("text", ["", "A", "\ufffd", "é" * 30, "....", "A" * 27, "A" * 100_000])
def test_what_is_no_token_is_refused(text: str) -> None:
    """Whatever the path contains, the answer is the same error."""
    with pytest.raises(NotSealed):
        StreamUrls.from_settings().read(SDK, text, NOW)


def test_a_url_expires_in_wall_time() -> None:
    """It is valid until its expiry; a clock that jumps forward ends it early, one that jumps back lets it live on."""
    urls = StreamUrls.from_settings(lifetime=60)
    made = urls.issue(SDK, TARGET, NOW + 0.25)
    assert made is not None
    token, expiry = made[0].decode().rpartition("/")[2], made[1]
    assert expiry == NOW + 61
    for valid in (0.0, NOW - 3600, NOW, expiry - 0.001):
        assert TARGET == urls.read(SDK, token, valid)
    for late in (expiry, expiry + 0.001, NOW + 1e9):
        with pytest.raises(Expired):
            urls.read(SDK, token, late)


def test_a_shorter_lifetime_keeps_the_urls_that_were_issued() -> None:
    """The expiry is in the URL."""
    token = issued(StreamUrls.from_settings(SECRET, 3600))
    assert TARGET == StreamUrls.from_settings(SECRET, 60).read(SDK, token, NOW + 3599)


@pytest.mark.parametrize(
    ("secret", "sdk"),
    [
        ("", SDK),
        (SECRET + "2", SDK),
        (SECRET, FakeSdk("shop 2", SDK_KEY)),
        (SECRET, FakeSdk("shop 1", "other key")),
    ],
    ids=["no secret", "another secret", "another SDK", "another key"],
)
def test_another_secret_or_sdk_cannot_read_a_url(secret: str, sdk: FakeSdk) -> None:
    """After a change of the secret or the SDK key, and for another SDK, a URL is not valid."""
    token = issued(StreamUrls.from_settings(SECRET))
    with pytest.raises(NotSealed):
        StreamUrls.from_settings(secret).read(sdk, token, NOW)


def test_any_process_with_the_secrets_reads_a_url() -> None:
    """Nothing is stored; default attributes do not count, because they are added when a stream opens."""
    token = issued(StreamUrls.from_settings(SECRET))
    other = FakeSdk("shop 1", SDK_KEY, defaults={"added": "1"})
    assert TARGET == StreamUrls.from_settings(SECRET).read(other, token, NOW)


def test_the_key_follows_the_sdk() -> None:
    """The key that is kept for an SDK is replaced when the SDK key changes."""
    urls = StreamUrls.from_settings()
    sdk = FakeSdk("shop 1", SDK_KEY)
    token = issued(urls, sdk)
    sdk.key = "other"
    with pytest.raises(NotSealed):
        urls.read(sdk, token, NOW)
    sdk.key = SDK_KEY
    assert TARGET == urls.read(sdk, token, NOW)


def test_equal_contents_have_equal_texts_and_others_another_nonce() -> None:
    """No nonce is used for two contents: it is derived from the content."""
    urls = StreamUrls.from_settings()
    assert issued(urls) == issued(urls)
    tokens = {issued(urls, target=Target(f"flag-{number}", None)) for number in range(500)}
    assert 500 == len({token[:16] for token in tokens})


def test_a_large_context_is_refused_before_it_is_deflated() -> None:
    """The limit holds for the content itself, so that a short URL cannot stand for megabytes."""
    urls = StreamUrls.from_settings()
    assert urls.issue(SDK, Target(None, {"x": "x" * CONTENT_LIMIT}), NOW) is None
    assert urls.issue(SDK, Target(None, {"x": "x" * (CONTENT_LIMIT - 100)}), NOW) is not None


def test_inflation_is_bounded() -> None:
    """A text that inflates to more than the limit is refused, although only a holder of the key can make one."""
    seal = Seal.from_secrets(b"test", [b"secret"])
    largest = b"x" * CONTENT_LIMIT
    assert largest == seal.open(seal.close(largest).decode())
    with pytest.raises(NotSealed):
        seal.open(seal.close(largest + b"x").decode())


@pytest.mark.parametrize("body", [b"", b"\x07", zlib.compress(b"x" * 9, wbits=-15) + b"more"])
def test_deflated_data_that_is_not_whole_is_refused(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a content that was sealed with a fault is never half read."""
    seal: Any = Seal.from_secrets(b"test", [b"secret"])
    monkeypatch.setattr("gateway.web.stream_seal.zlib.compress", lambda *_, **__: body)
    with pytest.raises(NotSealed):
        seal.open(seal.close(os.urandom(600)).decode())


def test_nothing_of_the_content_or_the_secret_is_shown() -> None:
    """Neither in a text nor in what logs and tracebacks show of the objects."""
    urls = StreamUrls.from_settings(SECRET)
    token = issued(urls)
    assert "anna" not in f"{urls!r} {token}"
    assert SECRET not in f"{urls!r} {Seal.from_secrets(b'd', [SECRET.encode()])!r}"
