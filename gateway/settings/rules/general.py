"""Rules that look at more than one option, or at more than an option's type.

Each yields findings; their texts are those of the system we replace where it has the rule, typing slips included,
because people search for them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs
import re2

from gateway.settings.problems import shortened

if TYPE_CHECKING:
    from gateway.settings.fields import Path
    from gateway.settings.schema.root import Cors, Diag, Http, OriginRegex, Sdk, Settings, Tls, Webhook

Exists = Callable[[str], bool]

SHORTEST_VALIDITY: Final = 5  # seconds; clocks of sender and receiver differ by more than less.
# No blanks, controls, or what RFC 3986 keeps out of a host; 253 characters are the longest name that DNS has.
_HOST: Final = re.compile(r"[^\s\x00-\x20\x7f<>\"\\^`{|}]{1,253}")
_NETWORK: Final = "networks such as 192.0.2.0/24 or 2001:db8::/32"


@attrs.frozen
class Finding:
    """Something wrong with the option at ``path``; its text holds no secret."""

    path: Path
    text: str
    found: str = ""
    allowed: str = ""


def errors(settings: Settings, exists: Exists) -> Iterator[Finding]:
    """Yield what keeps the gateway from starting; ``exists`` tells whether a file is there."""
    if not settings.sdks and not settings.profile.key:
        yield Finding(("sdks",), "sdk: at least 1 SDK or a proxy profile must be configured")
    for sdk_id, sdk in settings.sdks.items():
        yield from _sdk(sdk_id, sdk, settings, exists)
    yield from check_url(("http_proxy", "url"), settings.http_proxy.url)
    yield from check_file(("upstream", "ca_file"), settings.upstream.ca_file, exists)
    yield from _tls(settings.tls, exists)
    yield from _http(settings)
    yield from _address(("diag", "bind"), settings.diag.bind)
    yield from _shared_port(settings.http, settings.diag)


def _http(settings: Settings) -> Iterator[Finding]:
    http = settings.http
    yield from _address(("http", "bind"), http.bind)
    yield from check_networks(("http", "trusted_proxies"), http.trusted_proxies)
    yield from _webhook(http.webhook)
    parts: tuple[tuple[str, Cors], ...] = (
        ("api", http.api.cors),
        ("ofrep", http.ofrep.cors),
        ("sse", http.sse.cors),
        ("cdn_proxy", http.cdn_proxy.cors),
    )
    for name, cors in parts:
        yield from _cors(("http", name, "cors", "allowed_origins_regex"), cors)


def _shared_port(http: Http, diag: Diag) -> Iterator[Finding]:
    """Yield that both servers want one port; on addresses that have nothing to do with each other they may."""
    overlapping = http.bind == diag.bind or not (http.bind and diag.bind)
    if http.enabled and diag.enabled and http.port == diag.port and overlapping:
        yield Finding(("diag", "port"), "diag: the same port as http.port", f"{diag.port}", "a port of its own")


def _sdk(sdk_id: str, sdk: Sdk, settings: Settings, exists: Exists) -> Iterator[Finding]:
    path: Path = ("sdks", sdk_id)
    if not sdk.key and not settings.profile.key:
        yield Finding((*path, "key"), f"sdk-{sdk_id}: SDK key is required")
    yield from check_url((*path, "base_url"), sdk.base_url)
    if sdk.webhook_signing_key and sdk.webhook_signature_valid_for < SHORTEST_VALIDITY:
        yield Finding(
            (*path, "webhook_signature_valid_for"),
            f"sdk-{sdk_id}: webhook signature validity check must be greater than 5 seconds",
            found=f"{sdk.webhook_signature_valid_for:g}",
            allowed=f"a number, at least {SHORTEST_VALIDITY}",
        )
    if sdk.offline.enabled:
        yield from _offline(sdk_id, sdk, settings, exists)


def _offline(sdk_id: str, sdk: Sdk, settings: Settings, exists: Exists) -> Iterator[Finding]:
    path: Path = ("sdks", sdk_id, "offline")
    local = sdk.offline.local
    cache = settings.cache
    cached = cache.redis.enabled or cache.mongodb.enabled or cache.dynamodb.enabled
    if not local.file_path and not sdk.offline.use_cache:
        text = f"sdk-{sdk_id}: offline mode requires either a configured cache or a local file"
        yield Finding((*path, "enabled"), text)
    if local.file_path and sdk.offline.use_cache:
        text = f"sdk-{sdk_id}: can't use both local file and cache for offline mode"
        yield Finding((*path, "local", "file_path"), text)
    if sdk.offline.use_cache and not cached:
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


def _tls(tls: Tls, exists: Exists) -> Iterator[Finding]:
    if not tls.enabled:
        return
    if not tls.certificates:
        yield Finding(("tls", "certificates"), "tls: TLS is enabled without a certificate")
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


def _cors(path: Path, cors: Cors) -> Iterator[Finding]:
    rules: OriginRegex = cors.allowed_origins_regex
    if cors.enabled and rules.patterns and not rules.if_no_match:
        text = "cors: the 'if no watch' field is required when allowed origins regex is set"
        yield Finding((*path, "if_no_match"), text, allowed="the origin to answer when no pattern matches")
    for index, pattern in enumerate(rules.patterns):
        reason = _pattern_error(pattern)
        if reason:
            yield Finding(
                (*path, "patterns", index),
                f"cors: not a regular expression: {reason}",
                found=shortened(pattern),
                allowed="RE2 syntax",
            )


def _pattern_error(pattern: str) -> str:
    quiet = re2.Options()
    quiet.log_errors = False
    try:
        re2.compile(pattern, quiet)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    except UnicodeError:
        return "not valid text"
    return ""


def check_url(path: Path, url: str) -> Iterator[Finding]:
    """Yield what is wrong with an address; none is no fault."""
    if url and not _is_url(url):
        # Not shown: nobody can say which part of a broken address is the password.
        yield Finding(path, "not a usable address", allowed="http://… or https://…")


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0
    except ValueError:
        return False


def check_file(path: Path, name: str, exists: Exists) -> Iterator[Finding]:
    """Yield that a file is named and not there."""
    if name and not exists(name):
        yield Finding(path, f"couldn't find the file {name}", allowed="an existing file")


def _address(path: Path, address: str) -> Iterator[Finding]:
    if address in {"", "localhost"}:
        return
    try:
        ipaddress.ip_address(address)
    except ValueError:
        yield Finding(path, "not an address of this machine", found=shortened(address), allowed="an IP address")


def check_networks(path: Path, networks: list[str]) -> Iterator[Finding]:
    """Yield each entry that is no network."""
    for index, network in enumerate(networks):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield Finding((*path, index), "not a network", found=shortened(network), allowed=_NETWORK)
