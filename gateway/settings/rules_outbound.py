"""Rules of web hooks and of where they may go."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from gateway.settings.rules import Exists, Finding, check_file, check_networks, check_url
from gateway.settings.schema import Exporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.settings.fields import Path
    from gateway.settings.schema import Endpoint, Settings


def outbound_errors(settings: Settings, exists: Exists) -> Iterator[Finding]:
    """Yield what is wrong with receivers and networks; names and numbers only, an address may hold a secret."""
    seen: set[str] = set()
    for index, endpoint in enumerate(settings.webhooks):
        path: Path = ("webhooks", index)
        yield from _endpoint(path, endpoint, settings, exists)
        if endpoint.name and endpoint.name in seen:
            yield Finding((*path, "name"), f"webhooks: the name '{endpoint.name}' is taken by another web hook")
        seen.add(endpoint.name)
    yield from _exporter(settings.exporter, exists)
    delivery = settings.delivery
    yield from check_networks(("delivery", "allowed_networks"), delivery.allowed_networks)
    yield from check_networks(("delivery", "denied_networks"), delivery.denied_networks)
    if delivery.source_address is not None and not _is_address(delivery.source_address):
        yield Finding(("delivery", "source_address"), "not an IP address", allowed="an IP address of this machine")


def _endpoint(path: Path, endpoint: Endpoint, settings: Settings, exists: Exists) -> Iterator[Finding]:
    if not endpoint.name:
        yield Finding((*path, "name"), "webhooks: a web hook needs a name", allowed="a unique name")
    if not endpoint.url:
        yield Finding((*path, "url"), "webhooks: a web hook needs an address", allowed="http://… or https://…")
    yield from check_url((*path, "url"), endpoint.url)
    yield from check_file((*path, "ca_file"), endpoint.ca_file, exists)
    for position, sdk_id in enumerate(endpoint.sdks):
        if sdk_id not in settings.sdks and not settings.profile.key:
            yield Finding((*path, "sdks", position), f"webhooks: there is no SDK '{sdk_id}'")


def _exporter(exporter: Exporter, exists: Exists) -> Iterator[Finding]:
    path: Path = ("exporter",)
    yield from check_url((*path, "endpoint_url"), exporter.endpoint_url)
    yield from check_file((*path, "ca_file"), exporter.ca_file, exists)
    if exporter.on or exporter == Exporter():
        return
    if exporter.kind == "file":
        yield Finding((*path, "path"), "exporter: kind 'file' needs a path", allowed="a file to write to")
    else:
        text = "exporter: kind 'webhook' needs an address"
        yield Finding((*path, "endpoint_url"), text, allowed="http://… or https://…")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
