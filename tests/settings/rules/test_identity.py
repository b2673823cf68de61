"""Rules of signed users."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gateway.settings import load
from gateway.settings.masking import masked

SECRET = "s" * 64
KEY = {"alg": "HS256", "secret": SECRET}


def loaded(identity: dict[str, Any], http: dict[str, Any] | None = None, **others: Any) -> Any:
    sections = {"sse": {"users": "signed"}, "api": {"users": "signed"}, "ofrep": {"users": "signed"}}
    values = {"sdks": {"a": {"key": "k" * 22 + "/" + "k" * 22}}, "http": sections if http is None else http}
    return load(yaml.safe_dump(values | {"identity": identity} | others), {}, exists=lambda path: "missing" not in path)


def problems(identity: dict[str, Any], http: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    return [(problem.path, problem.text) for problem in loaded(identity, http).problems]


def warned(identity: dict[str, Any], http: dict[str, Any] | None = None, **others: Any) -> list[str]:
    return [warning.path for warning in loaded(identity, http, **others).warnings]


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        {"alg": "HS512", "secret": SECRET, "kid": "k1"},
        {"alg": "HS384", "secret_file": "/etc/secret"},
        {"alg": "RS256", "public_key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"},
        {"alg": "EdDSA", "public_key_file": "/etc/id.pem"},
        {"jwks_url": "https://id.example.com/jwks.json"},
        {"jwks_url": "https://id.example.com/jwks.json", "alg": "ES256"},
    ],
)
def test_keys_that_can_be_used(key: dict[str, str]) -> None:
    assert [] == problems({"keys": [key], "audience": "flags"})
    assert [] == warned({"keys": [key], "audience": "flags"})


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ({"alg": "HS256"}, ""),
        ({"alg": "HS256", "secret": SECRET, "secret_file": "/etc/secret"}, ""),
        ({"secret": SECRET}, ".alg"),
        ({"alg": "RS256", "secret": SECRET}, ".alg"),
        ({"alg": "HS256", "public_key": "-----BEGIN PUBLIC KEY-----"}, ".alg"),
        ({"alg": "HS256", "jwks_url": "https://id.example.com"}, ".alg"),
        ({"public_key_file": "/etc/id.pem"}, ".alg"),
        ({"alg": "none", "secret": SECRET}, ".alg"),
        ({"alg": "HS256", "secret": "s" * 31}, ".secret"),
        ({"alg": "HS384", "secret": "s" * 47}, ".secret"),
        ({"alg": "HS512", "secret": "s" * 63}, ".secret"),
        ({"alg": "HS256", "secret_file": "/missing"}, ".secret_file"),
        ({"alg": "ES256", "public_key_file": "/missing"}, ".public_key_file"),
        ({"jwks_url": "id.example.com"}, ".jwks_url"),
        ({"jwks_url": "https://id.example.com", "kid": "k1"}, ".kid"),
    ],
)
def test_keys_that_cannot_be_used(key: dict[str, str], path: str) -> None:
    assert [f"identity.keys[0]{path}"] == [found for found, _ in problems({"keys": [key]})]


def test_two_key_sets_have_two_addresses() -> None:
    key = {"jwks_url": "https://id.example.com/jwks.json"}
    assert ["identity.keys[1].jwks_url"] == [path for path, _ in problems({"keys": [key, key | {"alg": "ES256"}]})]


def test_signed_users_need_a_key() -> None:
    sections = ["http.api.users", "http.ofrep.users", "http.sse.users"]
    assert sections == [path for path, _ in problems({})]
    assert [] == problems({}, {"sse": {"users": "signed", "enabled": False}})


def test_the_header_of_the_token_cannot_be_that_of_the_caller() -> None:
    header = {"users": "signed", "auth_headers": {"authorization": "Bearer x"}}
    assert [("http.api.auth_headers.authorization", "the token of a user comes in this header")] == problems(
        {"keys": [KEY]}, {"api": header}
    )


def test_an_attribute_is_of_the_token_or_of_the_request() -> None:
    text = "a claim of the token is this attribute, so that a request must not set it"
    identity = {"keys": [KEY], "open_attributes": ["Theme", "Identifier"]}
    assert [("identity.open_attributes[1]", text)] == problems(identity)
    assert [] == problems(identity | {"claims": {"email": "Email"}})
    assert ["identity.claims.sub"] == [path for path, _ in problems({"keys": [KEY], "claims": {"sub": ""}})]


def test_the_number_of_keys_is_bounded() -> None:
    assert ["identity.keys"] == [path for path, _ in problems({"keys": [KEY] * 21})]


def test_warnings() -> None:
    jwks = {"keys": [{"jwks_url": "http://id.example.com/jwks.json"}]}
    assert ["identity.keys[0].jwks_url"] * 2 == warned(jwks)
    assert ["identity.keys"] == warned({"keys": [KEY]}, {})
    redis = {"cache": {"redis": {"enabled": True}}}
    assert ["http.sse.url_secret"] == warned({"keys": [KEY]}, **redis)


def test_a_section_that_stays_open_is_a_way_around() -> None:
    """Whom a stream refuses, an evaluation over another route would not."""
    text = "this section is open: any request may name any user here, whatever http.sse requires"
    off = {"enabled": False}
    signed = {"sse": {"users": "signed"}, "cdn_proxy": off}
    found = loaded({"keys": [KEY]}, signed)
    expected = [("http.api.users", text), ("http.ofrep.users", text)]
    assert expected == [(warning.path, warning.text) for warning in found.warnings]
    guarded = signed | {"api": {"auth_headers": {"X-API-KEY": "x"}}, "ofrep": {"users": "signed"}}
    assert [] == warned({"keys": [KEY]}, guarded)
    assert [] == warned({"keys": [KEY]}, signed | {"api": off, "ofrep": off})


def test_secrets_are_masked() -> None:
    settings = loaded({"keys": [KEY, {"jwks_url": "https://user:hidden-1@id.example.com/jwks?x=hidden-2"}]}).settings
    shown = str(masked(settings))
    assert not any(secret in shown for secret in (SECRET, "hidden-1", "hidden-2"))
