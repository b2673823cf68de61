"""Rules of webhooks, of the exporter, and of the networks that they may reach."""

from __future__ import annotations

import os.path
import re
from typing import TYPE_CHECKING, Final

from gateway.settings.problems import shortened
from gateway.settings.rules.general import Exists, Finding, check_file, check_networks, check_url, is_address
from gateway.settings.rules.headers import check_headers
from gateway.settings.schema import Exporter
from gateway.text import replace_unprintable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.settings.fields import Path
    from gateway.settings.schema import Endpoint, Settings


# In lower case; HTTP or the gateway sets these headers in each request, so that options cannot.
OWN_HEADERS: Final = frozenset(
    {
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "host",
        "user-agent",
        "x-flaggateway-delivery",
        "x-flaggateway-sequence",
        "x-hub-signature-256",
        "x-flagsmith-signature",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
)
_SCHEMA: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
NAME_LIMIT: Final = 128  # characters of an endpoint's name, which is also a metric label
# The padding may be missing; it is added when a message is signed.
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2,4}=*)")


def outgoing_errors(settings: Settings, exists: Exists) -> Iterator[Finding]:
    """Yield errors of endpoints, exporter and networks; without URLs, which may contain secrets."""
    seen: set[str] = set()
    for index, endpoint in enumerate(settings.webhooks):
        path: Path = ("webhooks", index)
        yield from _endpoint(path, endpoint, settings, exists)
        if endpoint.name and endpoint.name in seen:
            yield Finding((*path, "name"), f"webhooks: the name '{endpoint.name}' is used by another endpoint")
        seen.add(endpoint.name)
    yield from _exporter(settings.exporter, exists)
    yield from _outbox(settings)
    delivery = settings.delivery
    yield from check_networks(("delivery", "allowed_networks"), delivery.allowed_networks)
    yield from check_networks(("delivery", "denied_networks"), delivery.denied_networks)
    if delivery.source_address is not None and not is_address(delivery.source_address):
        yield Finding(("delivery", "source_address"), "not an IP address", allowed="an IP address of this machine")


def _outbox(settings: Settings) -> Iterator[Finding]:
    """Yield errors of the shared outbox; without the URLs, which may contain passwords."""
    outbox, allowed = settings.outbox, "postgresql://USER:PASSWORD@HOST/DATABASE"
    for name, url in (("url", outbox.url), ("listen_url", outbox.listen_url)):
        if url and not url.startswith(("postgresql://", "postgres://")):
            yield Finding(("outbox", name), "not the URL of a PostgreSQL database", allowed=allowed)
    if outbox.listen_url and not outbox.url:
        yield Finding(("outbox", "listen_url"), "has no effect without outbox.url")
    if not _SCHEMA.fullmatch(outbox.schema):
        allowed = "lower-case letters, digits and _, a letter first, at most 40 characters"
        yield Finding(("outbox", "schema"), "not a name of a schema", allowed=allowed)


def _endpoint(path: Path, endpoint: Endpoint, settings: Settings, exists: Exists) -> Iterator[Finding]:
    if not endpoint.name:
        yield Finding((*path, "name"), "webhooks: an endpoint needs a name", allowed="a unique name")
    elif endpoint.name != replace_unprintable(endpoint.name).strip() or len(endpoint.name) > NAME_LIMIT:
        text = "webhooks: the name is too long, begins or ends with a space, or contains control characters"
        allowed = f"at most {NAME_LIMIT} characters"
        yield Finding((*path, "name"), text, found=shortened(replace_unprintable(endpoint.name)), allowed=allowed)
    if not endpoint.url:
        yield Finding((*path, "url"), "webhooks: an endpoint needs a URL", allowed="http://… or https://…")
    yield from check_url((*path, "url"), endpoint.url, query=True)
    yield from check_file((*path, "ca_file"), endpoint.ca_file, exists)
    yield from check_headers((*path, "headers"), endpoint.headers)
    for position, secret in enumerate(endpoint.secrets):
        if not secret:
            yield Finding((*path, "secrets", position), "webhooks: a secret is empty", allowed="some text")
        yield from _versioned_secret((*path, "secrets", position), secret)
    yield from _versioned_secret((*path, "secret"), endpoint.secret)
    for position, sdk_id in enumerate(endpoint.sdks):
        if sdk_id not in settings.sdks and not settings.profile.key:
            yield Finding((*path, "sdks", position), f"webhooks: unknown SDK '{sdk_id}'")


def outgoing_warnings(settings: Settings) -> Iterator[Finding]:
    """Yield settings that are allowed but probably a mistake."""
    for index, endpoint in enumerate(settings.webhooks):
        path: Path = ("webhooks", index)
        yield from _options_of_other_formats(path, endpoint)
        watches = "USER_FLAGS_UPDATED" in endpoint.events
        if endpoint.users and endpoint.events and not watches:
            yield Finding((*path, "users"), "has no effect: events does not contain USER_FLAGS_UPDATED")
        if watches and not endpoint.users:
            yield Finding((*path, "events"), "USER_FLAGS_UPDATED is never sent: users is empty")
        for position, user in enumerate(endpoint.users):
            if not user:
                yield Finding((*path, "users", position), "a user without attributes is not watched")
        yield from _own_headers((*path, "headers"), endpoint.headers)
        listed = [(("secrets", position), secret) for position, secret in enumerate(endpoint.secrets)]
        for where, secret in ((("secret",), endpoint.secret), *listed):
            yield from _secret((*path, *where), secret)
    yield from _own_headers(("exporter", "headers"), settings.exporter.headers)
    yield from _secret(("exporter", "secret"), settings.exporter.secret)


def _options_of_other_formats(path: Path, endpoint: Endpoint) -> Iterator[Finding]:
    for option, style in (("events", "envelope"), ("users", "envelope"), ("meta", "notifier")):
        if getattr(endpoint, option) and endpoint.format != style:
            yield Finding((*path, option), f"has no effect: only format {style} uses it")


def _own_headers(path: Path, headers: Mapping[str, str | list[str]]) -> Iterator[Finding]:
    for name in headers:
        if name.lower() in OWN_HEADERS:
            yield Finding((*path, name), "has no effect: the gateway sets this header itself")


def _secret(path: Path, secret: str) -> Iterator[Finding]:
    if secret.startswith("whsec_") and not _BASE64.fullmatch(secret, len("whsec_")):
        text = "begins with whsec_ but is not base64 after it: used as plain text, unlike in most receivers"
        yield Finding(path, text)


def _versioned_secret(path: Path, secret: str) -> Iterator[Finding]:
    """Yield a finding for a secret as some services show it, with the version of the signature in front."""
    if secret.startswith("v1,"):
        yield Finding(path, "begins with 'v1,', which is not a part of the secret", allowed="the part from whsec_ on")


def _exporter(exporter: Exporter, exists: Exists) -> Iterator[Finding]:
    path: Path = ("exporter",)
    yield from check_url((*path, "endpoint_url"), exporter.endpoint_url, query=True)
    yield from check_file((*path, "ca_file"), exporter.ca_file, exists)
    yield from check_headers((*path, "headers"), exporter.headers)
    yield from _versioned_secret((*path, "secret"), exporter.secret)
    if exporter.on:
        folder = os.path.dirname(exporter.path)  # noqa: PTH120 - pathlib would access the disk
        if exporter.kind == "file" and folder and not exists(folder):
            yield Finding(
                (*path, "path"), f"exporter: folder {folder} does not exist", allowed="a file in an existing folder"
            )
        return
    if exporter == Exporter():
        return
    if exporter.kind == "file":
        yield Finding((*path, "path"), "exporter: kind 'file' needs a path", allowed="a file to write to")
    else:
        yield Finding((*path, "endpoint_url"), "exporter: kind 'webhook' needs a URL", allowed="http://… or https://…")
