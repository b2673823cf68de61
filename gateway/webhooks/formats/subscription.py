"""The settings that decide which endpoint gets which messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags import InvalidAttribute, attributes_from_json, effective_user
from gateway.text import json_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.flags import Attribute, User
    from gateway.settings import Endpoint
    from gateway.webhooks.formats.message import Message


def wants_sdk(endpoint: Endpoint, sdk_id: str) -> bool:
    """Whether ``endpoint`` gets messages about this SDK; an endpoint without ``sdks`` gets those about all."""
    return not endpoint.sdks or sdk_id in endpoint.sdks


def wants_type(endpoint: Endpoint, kind: str) -> bool:
    """Whether ``endpoint`` gets messages of this type; only envelopes can be selected by type."""
    return endpoint.format != "envelope" or not endpoint.events or kind in endpoint.events


def failure_receivers(endpoints: Iterable[Endpoint], failed: Message) -> list[Endpoint]:
    """Return the endpoints that get a ``DELIVERY_FAILED`` about ``failed``.

    Never the endpoint that failed, and none when ``failed`` is itself a ``DELIVERY_FAILED``.
    """
    if failed.type == "DELIVERY_FAILED":
        return []
    return [
        endpoint
        for endpoint in endpoints
        if endpoint.format == "envelope"
        and endpoint.name != failed.endpoint
        and wants_type(endpoint, "DELIVERY_FAILED")
        and (failed.sdk_id is None or wants_sdk(endpoint, failed.sdk_id))
    ]


def watched_users(
    endpoint: Endpoint, defaults: Mapping[str, Attribute]
) -> dict[str, tuple[Mapping[str, Attribute], User]]:
    """Return the users that ``endpoint`` watches: by digest, the configured attributes, and a user with ``defaults``.

    In the order of the settings; equal users once.  Malformed users, which the settings refuse, are left out.
    """
    found: dict[str, tuple[Mapping[str, Attribute], User]] = {}
    if endpoint.format != "envelope":
        return found
    for raw in endpoint.users:
        try:
            attributes = attributes_from_json(raw)
        except InvalidAttribute:
            continue
        user = effective_user(attributes, defaults)
        if user is not None:
            found.setdefault(json_digest(dict(attributes)), (attributes, user))
    return found
