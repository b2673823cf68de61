"""Rules that types and bounds of single options cannot express.

Rules that ConfigCat Proxy has too use its texts where they are right, because users search for them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs

from gateway.settings.problems import shortened
from gateway.settings.sdk_ids import valid_key

if TYPE_CHECKING:
    from gateway.settings.fields import Path
    from gateway.settings.schema import Diag, Http, Otlp, Sdk, Settings, Tls, Webhook

Exists = Callable[[str], bool]

_SHORTEST_VALIDITY: Final = 5  # seconds; as in ConfigCat Proxy, because clocks of sender and receiver differ.
_SHORTEST_PROFILE_INTERVAL: Final = 60  # seconds; as in ConfigCat Proxy.
_SHORTEST_URL_SECRET: Final = 32  # characters: 128 bits in hexadecimal, too many to try
_OTLP_PROTOCOLS: Final = ("http", "https", "grpc")
# No spaces, control characters, or what RFC 3986 forbids in a host; 253 characters are the limit of DNS.
_HOST: Final = re.compile(r"[^\s\x00-\x20\x7f<>\"\\^`{|}]{1,253}")
_USER_NAME: Final = re.compile(r"[^:\x00-\x1f\x7f-\x9f\ud800-\udfff]*")  # RFC 7617, 2
_CERTIFICATES: Final = "certificates: [{cert: <file>, key: <file>}]"
_PLAIN_ID: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._~-]+")  # unreserved in RFC 3986; . and .. are removed
# Clients get it as it is: nothing in it may be secret or end a JSON text.
_PUBLIC_URL: Final = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?")
_REDIS_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
_NODE_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NODE_NAMES: Final = "up to 64 letters, digits, dots, dashes and underscores"
_NETWORK: Final = "networks such as 192.0.2.0/24 or 2001:db8::/32"


@attrs.frozen
class Finding:
    """An error or warning about the option at ``path``, without secrets."""

    path: Path
    text: str
    found: str = ""
    allowed: str = ""


def errors(settings: Settings, exists: Exists) -> Iterator[Finding]:
    """Yield the reasons why the gateway cannot start; ``exists`` returns whether a file exists."""
    if not settings.sdks and not settings.profile.key:
        text = "sdk: at least 1 SDK must be configured"
        yield Finding(("sdks",), text, allowed="sdks: {<id>: {key: <SDK key>}}, or the variable CONFIGCAT_SDKS")
    for sdk_id, sdk in settings.sdks.items():
        yield from _sdk(sdk_id, sdk, settings, exists)
    yield from check_url(("http_proxy", "url"), settings.http_proxy.url)
    yield from check_file(("upstream", "ca_file"), settings.upstream.ca_file, exists)
    yield from _tls(settings.tls, exists)
    yield from _http(settings)
    yield from _address(("diag", "bind"), settings.diag.bind)
    yield from _shared_port(settings.http, settings.diag)
    yield from _unsupported(settings)


def warnings(settings: Settings) -> Iterator[Finding]:
    """Yield settings that are allowed but probably a mistake."""
    if settings.tls.enabled and settings.tls.min_version in {"1.0", "1.1"}:
        yield Finding(("tls", "min_version"), "TLS 1.0 and 1.1 are unsafe")
    for sdk_id, sdk in settings.sdks.items():
        if not _PLAIN_ID.fullmatch(sdk_id):
            text = "clients must escape this SDK id in URLs; use only letters, digits, '-', '_', '.' and '~'"
            yield Finding(("sdks", sdk_id), text)
        if sdk.poll_interval < 0:
            yield Finding(("sdks", sdk_id, "poll_interval"), "below 0, so that 60 seconds are used")
        if sdk.key and not sdk.offline.enabled and not valid_key(sdk.key, custom_base=bool(sdk.base_url)):
            yield Finding(("sdks", sdk_id, "key"), "not a valid SDK key: no config is fetched for this SDK")
        if sdk.offline.local.file_path and not sdk.offline.enabled:
            text = f"has no effect: sdks.{sdk_id}.offline.enabled is not true"
            yield Finding(("sdks", sdk_id, "offline", "local", "file_path"), text)


def _http(settings: Settings) -> Iterator[Finding]:
    http = settings.http
    yield from _address(("http", "bind"), http.bind)
    yield from check_networks(("http", "trusted_proxies"), http.trusted_proxies)
    if http.public_url and not _PUBLIC_URL.fullmatch(http.public_url):
        text = "http: not a URL under which clients can reach the gateway"
        allowed = "http://… or https://…, without user, password, query, fragment and characters that URLs escape"
        yield Finding(("http", "public_url"), text, allowed=allowed)
    if 0 < len(http.sse.url_secret) < _SHORTEST_URL_SECRET:
        text = "sse: the secret is too short, so that it could be guessed"
        allowed = f"at least {_SHORTEST_URL_SECRET} characters, such as the output of `openssl rand -hex 32`"
        yield Finding(("http", "sse", "url_secret"), text, allowed=allowed)
    yield from _webhook(http.webhook)


def _shared_port(http: Http, diag: Diag) -> Iterator[Finding]:
    """Yield a finding if both servers have the same port, unless each has an address of its own."""
    overlapping = http.bind == diag.bind or not (http.bind and diag.bind)
    if http.enabled and diag.enabled and http.port == diag.port and overlapping:
        yield Finding(("diag", "port"), "diag: the same port as http.port", f"{diag.port}", "another port")


def _sdk(sdk_id: str, sdk: Sdk, settings: Settings, exists: Exists) -> Iterator[Finding]:
    path: Path = ("sdks", sdk_id)
    if not sdk.key and not settings.profile.key:
        yield Finding((*path, "key"), f"sdk-{sdk_id}: SDK key is required")
    yield from check_url((*path, "base_url"), sdk.base_url)
    if sdk.webhook_signing_key and sdk.webhook_signature_valid_for < _SHORTEST_VALIDITY:
        yield Finding(
            (*path, "webhook_signature_valid_for"),
            f"sdk-{sdk_id}: webhook signature validity check must be greater than 5 seconds",
            found=f"{sdk.webhook_signature_valid_for:g}",
            allowed=f"a number, at least {_SHORTEST_VALIDITY}",
        )
    if sdk.offline.enabled:
        yield from _offline(sdk_id, sdk, settings, exists)


def _offline(sdk_id: str, sdk: Sdk, settings: Settings, exists: Exists) -> Iterator[Finding]:
    path: Path = ("sdks", sdk_id, "offline")
    local = sdk.offline.local
    if not local.file_path and not sdk.offline.use_cache:
        text = f"sdk-{sdk_id}: offline mode requires either a configured cache or a local file"
        yield Finding((*path, "enabled"), text)
    if local.file_path and sdk.offline.use_cache:
        text = f"sdk-{sdk_id}: can't use both local file and cache for offline mode"
        yield Finding((*path, "local", "file_path"), text)
    if sdk.offline.use_cache and not _has_cache(settings):
        text = f"sdk-{sdk_id}: offline mode enabled with cache, but no cache is configured"
        yield Finding((*path, "enabled"), text)
    if local.file_path and not exists(local.file_path):
        text = f"sdk-{sdk_id}: couldn't find the local file {local.file_path}"
        yield Finding((*path, "local", "file_path"), text)
    if local.polling and local.poll_interval < 1:
        yield Finding(
            (*path, "local", "poll_interval"),
            f"sdk-{sdk_id}: local file poll interval must be greater than 1 seconds",
            found=f"{local.poll_interval:g}",
            allowed="a number, at least 1",
        )


def _has_cache(settings: Settings) -> bool:
    return settings.cache.redis.enabled


def _tls(tls: Tls, exists: Exists) -> Iterator[Finding]:
    if not tls.enabled:
        return
    if not tls.certificates:
        yield Finding(("tls", "certificates"), "tls: TLS is enabled without a certificate", allowed=_CERTIFICATES)
    for index, certificate in enumerate(tls.certificates):
        path: Path = ("tls", "certificates", index)
        if not certificate.cert or not certificate.key:
            yield Finding(path, "tls: both TLS cert and key file required")
            continue
        yield from check_file((*path, "cert"), certificate.cert, exists)
        yield from check_file((*path, "key"), certificate.key, exists)


def _webhook(webhook: Webhook) -> Iterator[Finding]:
    yield from check_networks(("http", "webhook", "allowed_networks"), webhook.allowed_networks)
    if webhook.enabled and bool(webhook.auth.user) != bool(webhook.auth.password):
        yield Finding(("http", "webhook", "auth"), "webhook: both basic auth user and password required")
    if not _USER_NAME.fullmatch(webhook.auth.user):
        text = "webhook: a user name of Basic authentication contains no colon or control character"
        yield Finding(("http", "webhook", "auth", "user"), text, allowed="another user name")


def check_url(path: Path, url: str, *, query: bool = False) -> Iterator[Finding]:
    """Yield a finding if a URL is set and not valid, without the URL, because any part of it may be a password."""
    if not url:
        return
    if not _is_url(url):
        yield Finding(path, "not a valid URL", allowed="http://… or https://…")
    elif "#" in url:
        yield Finding(path, "the URL has a fragment (#), which is never sent", allowed="a URL without #, or %23")
    elif "?" in url and not query:
        yield Finding(path, "the URL has a query (?), which cannot be used here", allowed="a URL without ?, or %3F")


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0
    except ValueError:
        return False


def check_file(path: Path, name: str, exists: Exists) -> Iterator[Finding]:
    """Yield a finding if a file is set and does not exist."""
    if name and not exists(name):
        yield Finding(path, f"couldn't find the file {name}", allowed="an existing file")


def _address(path: Path, address: str) -> Iterator[Finding]:
    if address not in {"", "localhost"} and not is_address(address):
        yield Finding(path, "not an IP address", found=shortened(address), allowed="an IP address of this machine")


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_networks(path: Path, networks: list[str]) -> Iterator[Finding]:
    """Yield a finding for each entry that is not a network."""
    for index, network in enumerate(networks):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield Finding((*path, index), "not a network", found=shortened(network), allowed=_NETWORK)


def _unsupported(settings: Settings) -> Iterator[Finding]:
    """Yield the errors that ConfigCat Proxy reports for features that the gateway does not support yet."""
    yield from _profile(settings)
    yield from _otlp(("diag", "metrics", "otlp"), settings.diag.metrics.otlp)
    yield from _otlp(("diag", "traces", "otlp"), settings.diag.traces.otlp)
    cache = settings.cache
    yield from _redis(settings)
    if cache.mongodb.enabled and not cache.mongodb.url:
        yield Finding(("cache", "mongodb", "url"), "mongodb: invalid connection uri")
    if settings.offline.enabled and not _has_cache(settings):
        yield Finding(("offline", "enabled"), "offline: global offline mode enabled, but no cache is configured")


def _redis(settings: Settings) -> Iterator[Finding]:
    redis, path = settings.cache.redis, ("cache", "redis")
    if not redis.enabled:
        return
    if not redis.addresses:
        yield Finding((*path, "addresses"), "redis: at least 1 server address required")
    for index, address in enumerate(redis.addresses):
        if not _REDIS_ADDRESS.fullmatch(address):
            text = "redis: not a host and a port"
            yield Finding((*path, "addresses", index), text, shortened(address), "host:port")
    if redis.user and not redis.password:
        yield Finding((*path, "password"), "redis: a user needs a password")
    if redis.tls.enabled and redis.tls.server_name and len(redis.addresses) > 1 and not redis.sentinel.name:
        text = "redis: the servers of a cluster have several names"
        yield Finding((*path, "tls", "server_name"), text, allowed="leave it out")
    if not _NODE_NAME.fullmatch(settings.cluster.name):
        yield Finding(("cluster", "name"), "cluster: not a name", shortened(settings.cluster.name), _NODE_NAMES)
    if settings.cluster.node and not _NODE_NAME.fullmatch(settings.cluster.node):
        yield Finding(("cluster", "node"), "cluster: not a name", shortened(settings.cluster.node), _NODE_NAMES)


def _profile(settings: Settings) -> Iterator[Finding]:
    profile = settings.profile
    if not profile.key:
        return
    if not profile.secret and not settings.offline.enabled:
        yield Finding(("profile", "secret"), "profile: proxy is in online mode without a profile secret")
    if profile.poll_interval < _SHORTEST_PROFILE_INTERVAL:
        text = "profile: auto configuration poll interval cannot be less than 60 seconds"
        yield Finding(("profile", "poll_interval"), text, found=f"{profile.poll_interval:g}")
    if profile.webhook_signing_key and profile.webhook_signature_valid_for < _SHORTEST_VALIDITY:
        text = "profile: webhook signature validity check must be greater than 5 seconds"
        path = ("profile", "webhook_signature_valid_for")
        yield Finding(path, text, found=f"{profile.webhook_signature_valid_for:g}")


def _otlp(path: Path, otlp: Otlp) -> Iterator[Finding]:
    if otlp.enabled and otlp.protocol not in _OTLP_PROTOCOLS:
        text = f"diag: invalid otlp protocol {otlp.protocol[:20]} (only 'http', 'https', or 'grpc' allowed)"
        yield Finding((*path, "protocol"), text)
