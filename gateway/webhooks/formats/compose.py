"""The messages of one endpoint about a change, about an SDK, and for a test, in the endpoint's format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.text import iso
from gateway.webhooks.formats import audit_log, chat, envelope, environment, notifier
from gateway.webhooks.formats.message import EndpointMessages, Message, message_about, skipped
from gateway.webhooks.formats.message_ids import message_id
from gateway.webhooks.formats.subscription import wants_sdk
from gateway.webhooks.formats.summary import Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute
    from gateway.settings import Endpoint
    from gateway.webhooks.formats.change import Change
    from gateway.webhooks.formats.message import IntegerIds

CONFIG_UPDATED = "CONFIG_UPDATED"  # the type of a message about a whole change
TEST = "WEBHOOK_TEST"
_TEST_TEXT = "This is a test of a webhook of flaggateway; nothing has changed"


def compose(
    change: Change,
    endpoint: Endpoint,
    ids: IntegerIds,
    meta: Mapping[str, str],
    defaults: Mapping[str, Attribute] | None = None,
) -> EndpointMessages:
    """Return the messages to ``endpoint`` about ``change``, in the order in which they are sent.

    ``meta`` contains ``hostname``; ``defaults`` are the SDK's default user attributes.  Both may differ from node to
    node, so they are not part of message ids.
    """
    if not change.changes:
        return EndpointMessages()
    if not wants_sdk(endpoint, change.sdk_id):
        reason = f"the endpoint does not subscribe to SDK '{change.sdk_id}'"
        return EndpointMessages(skipped=(skipped(change, endpoint, CONFIG_UPDATED, reason),))
    match endpoint.format:
        case "envelope":
            return envelope.compose(change, endpoint, defaults or {})
        case "environment":
            return environment.compose(change, endpoint, ids)
        case "audit_log":
            return EndpointMessages(tuple(audit_log.compose(change, endpoint, ids)))
        case "notifier":
            changes = change.changes
            if not (changes.added or changes.removed or changes.updated):
                return EndpointMessages(skipped=(skipped(change, endpoint, CONFIG_UPDATED, "no flag changed"),))
            body = notifier.encode({**meta, **endpoint.meta}, notifier.flags_of(change), endpoint.max_message_bytes)
        case service:
            body = chat.encode(service, change)
    name = message_id(change, endpoint.format, CONFIG_UPDATED)
    return EndpointMessages((message_about(change, endpoint, name, CONFIG_UPDATED, change.sdk_id, body),))


def compose_sdk_message(
    endpoint: Endpoint, sdk_id: str, ids: IntegerIds, at: float, count: int, *, added: bool
) -> Message | None:
    """Return the message that an SDK was added to the settings or removed, for the ``count``-th time in this outbox.

    None for formats other than ``audit_log``, and for SDKs to which the endpoint does not subscribe.
    """
    if endpoint.format != "audit_log" or not wants_sdk(endpoint, sdk_id):
        return None
    return audit_log.sdk_message(endpoint, sdk_id, ids, at, count, added=added)


def compose_test_message(
    endpoint: Endpoint, at: float, random_id: str, meta: Mapping[str, str] | None = None
) -> Message:
    """Return a message in the endpoint's format that reports no change, to test whether the receiver works."""
    return Message(
        id=random_id,
        endpoint=endpoint.name,
        format=endpoint.format,
        type=TEST,
        subject=endpoint.name,
        body=_test_body(endpoint, at, random_id, meta or {}),
        created=at,
    )


def _test_body(endpoint: Endpoint, at: float, random_id: str, meta: Mapping[str, str]) -> bytes:
    match endpoint.format:
        case "envelope":
            data = {"sdk": None, "etagBefore": None, "etagAfter": None, "endpoint": endpoint.name}
            return envelope.encode(random_id, TEST, at, data)
        case "notifier":
            return notifier.encode(
                {"hostname": "", **meta, **endpoint.meta}, notifier.EMPTY, endpoint.max_message_bytes
            )
        case "environment":
            return msgspec.json.encode(environment.Event(environment.Data(None, None, None, iso(at)), TEST))
        case "audit_log":
            return audit_log.encode_test(_TEST_TEXT, at)
        case service:
            return chat.ENCODERS[service]([(Span(_TEST_TEXT),)])
