"""Which endpoint gets which messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags import InvalidAttribute, attributes_from_json, effective_user
from gateway.webhooks.formats.message_ids import user_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.flags import Attribute, User
    from gateway.settings import Endpoint
    from gateway.webhooks.formats.message import Message


def wants_sdk(endpoint: Endpoint, sdk_id: str) -> bool:
    """Whether changes of this SDK are told to ``endpoint``; one that names no SDK hears of all."""
    return not endpoint.sdks or sdk_id in endpoint.sdks


def wants_type(endpoint: Endpoint, kind: str) -> bool:
    """Whether ``endpoint`` takes messages of this type; only envelopes have types to choose from."""
    return endpoint.format != "envelope" or not endpoint.events or kind in endpoint.events


def failure_receivers(endpoints: Iterable[Endpoint], failed: Message) -> list[Endpoint]:
    """Return who is told that ``failed`` was given up: never its own endpoint, and nobody about such word itself."""
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


def watched(endpoint: Endpoint, defaults: Mapping[str, Attribute]) -> dict[str, tuple[Mapping[str, Attribute], User]]:
    """Return the users whose values ``endpoint`` watches, by digest: their attributes as set, and with ``defaults``.

    ``defaults`` are the SDK's default attributes, which count for every stream too. Equal users are one.
    A user that is malformed is left out: settings are checked before they come here.  In the order of the settings.
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
            found.setdefault(user_digest(attributes), (attributes, user))
    return found
