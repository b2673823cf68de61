"""Rules of signed users: keys, claims, and the routes that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gateway.settings.rules.general import Exists, Finding, check_file, check_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.settings.fields import Path
    from gateway.settings.schema import IdentityKey, Settings

KEY_LIMIT: Final = 20  # a token without the id of a key is tried with several
_SOURCES: Final = ("secret", "secret_file", "public_key", "public_key_file", "jwks_url")
_SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518, 3.2: as long as the hash
_RANDOM: Final = "such as the output of `openssl rand -hex 64`"
_ALGORITHMS: Final = {True: "HS256, HS384 or HS512", False: "RS256, ES256 or EdDSA"}


def identity_errors(settings: Settings, exists: Exists) -> Iterator[Finding]:
    """Yield errors of tokens and their keys; without the keys, which may be secret."""
    identity = settings.identity
    for section in _signed(settings):
        path: Path = ("http", section, "users")
        if not identity.keys:
            text = "signed users need a key that tokens are checked with"
            yield Finding(path, text, "signed", "identity: {keys: [...]}, or users: open")
        for name in getattr(settings.http, section).auth_headers if section != "sse" else ():
            if name.lower() == "authorization":
                text = "the token of a user comes in this header"
                yield Finding(("http", section, "auth_headers", name), text, allowed="another header")
    if len(identity.keys) > KEY_LIMIT:
        yield Finding(("identity", "keys"), "too many keys", f"{len(identity.keys)}", f"at most {KEY_LIMIT}")
    urls = [key.jwks_url for key in identity.keys]
    for index, key in enumerate(identity.keys):
        yield from _key(("identity", "keys", index), key, exists)
        if key.jwks_url in urls[:index] and key.jwks_url:
            yield Finding(("identity", "keys", index, "jwks_url"), "another key has this address")
    for index, name in enumerate(identity.open_attributes):
        if name in identity.attributes.values():
            text = "a claim of the token is this attribute, so that a request must not set it"
            yield Finding(("identity", "open_attributes", index), text, allowed="other attributes")
    for claim, attribute in identity.claims.items():
        if not attribute:
            yield Finding(
                ("identity", "claims", claim), "an attribute needs a name", allowed="the name of an attribute"
            )
    yield from check_file(("identity", "ca_file"), identity.ca_file, exists)


def identity_warnings(settings: Settings) -> Iterator[Finding]:
    """Yield settings that are allowed but probably a mistake."""
    identity = settings.identity
    signed = list(_signed(settings))
    if identity.keys and not signed:
        text = "has no effect: no group of routes has users: signed"
        yield Finding(("identity", "keys"), text)
    for index, key in enumerate(identity.keys):
        if key.jwks_url and not identity.audience:
            text = "every token of this issuer is accepted, also those for other applications: set identity.audience"
            yield Finding(("identity", "keys", index, "jwks_url"), text)
        if urlsplit(key.jwks_url).scheme == "http":
            text = "keys that are fetched without TLS can be replaced on the way"
            yield Finding(("identity", "keys", index, "jwks_url"), text)
    yield from _ways_around(settings, signed)
    if signed and not settings.http.sse.url_secret and (settings.cache.redis.enabled or settings.outbox.url):
        text = "without it the stream URLs of signed users are valid on one node only, until its restart"
        yield Finding(("http", "sse", "url_secret"), text)


def _signed(settings: Settings) -> Iterator[str]:
    http = settings.http
    for name, section in (("api", http.api), ("ofrep", http.ofrep), ("sse", http.sse)):
        if section.enabled and section.users == "signed":
            yield name


def _ways_around(settings: Settings, signed: list[str]) -> Iterator[Finding]:
    """Yield sections in which any request may name any user, while another section has them proved."""
    http = settings.http
    for name in ("api", "ofrep", "sse") if signed else ():
        section = getattr(http, name)
        if section.enabled and section.users == "open" and not getattr(section, "auth_headers", None):
            text = f"this section is open: any request may name any user here, whatever http.{signed[0]} requires"
            yield Finding(("http", name, "users"), text)


def _key(path: Path, key: IdentityKey, exists: Exists) -> Iterator[Finding]:
    given = [name for name in _SOURCES if getattr(key, name)]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        yield Finding(path, "identity: a key has exactly one source", found, "one of " + ", ".join(_SOURCES))
        return
    if key.jwks_url:
        yield from check_url((*path, "jwks_url"), key.jwks_url, query=True)
        if key.kid:
            text = "identity: the key set names its keys itself"
            yield Finding((*path, "kid"), text, allowed="leave it out")
    is_secret = given[0].startswith("secret")
    allowed = _ALGORITHMS[is_secret]
    if (key.alg is None and not key.jwks_url) or (key.alg is not None and key.alg.startswith("HS") != is_secret):
        text = f"identity: a key with {given[0]} needs an algorithm of its kind"
        yield Finding((*path, "alg"), text, key.alg or "none", allowed)
    elif key.secret and len(key.secret.encode()) < _SECRET_BYTES[key.alg or "HS256"]:
        text = "identity: the secret is too short for its algorithm"
        yield Finding((*path, "secret"), text, allowed=f"at least {_SECRET_BYTES[key.alg or 'HS256']} bytes, {_RANDOM}")
    yield from check_file((*path, "secret_file"), key.secret_file, exists)
    yield from check_file((*path, "public_key_file"), key.public_key_file, exists)
