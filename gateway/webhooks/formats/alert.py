"""Messages about the state of an SDK's config that are no change: a config is held, or one in use lost flags.

    Alert ──► compose_alert(alert, endpoint) ──► Message, for envelopes and chat services

The other formats have no place for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from gateway.webhooks.formats import chat, envelope
from gateway.webhooks.formats.message import Message
from gateway.webhooks.formats.message_ids import alert_id
from gateway.webhooks.formats.subscription import wants_sdk, wants_type
from gateway.webhooks.formats.summary import Span, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.settings import Endpoint
    from gateway.webhooks.formats.summary import Line

FLAGS_SHOWN = 100  # failing flags in one message; a broken publication may break thousands
CHAT_FLAGS_SHOWN = 10
KEY_SHOWN = 60  # characters of a key in a chat message
REASON_SHOWN = 200


@attrs.frozen
class Alert:
    """What operators should know about a config; equal alerts have equal message ids on every node."""

    type: Literal["CONFIG_HELD", "CONFIG_DEGRADED"]
    sdk_id: str
    old_etag: str | None  # of the config in use, or the one before
    new_etag: str  # of the config that is held, or in use now
    reason: str  # a sentence
    flags: int  # of the new config
    removed: int  # flags of the old config that it does not have
    failing: Mapping[str, str]  # reason by key
    at: float  # Unix seconds


def compose_alert(alert: Alert, endpoint: Endpoint) -> Message | None:
    """Return the message to ``endpoint``; None if it does not subscribe, or its format cannot carry an alert."""
    if not (wants_sdk(endpoint, alert.sdk_id) and wants_type(endpoint, alert.type)):
        return None
    encoder = chat.ENCODERS.get(endpoint.format)
    if endpoint.format != "envelope" and encoder is None:
        return None
    name = alert_id(alert.sdk_id, alert.old_etag, alert.new_etag, endpoint.format, alert.type)
    body = _event(alert, name, endpoint.max_message_bytes) if encoder is None else encoder(_lines(alert))
    return Message(
        id=name,
        endpoint=endpoint.name,
        format=endpoint.format,
        type=alert.type,
        subject=alert.sdk_id,
        body=body,
        created=alert.at,
        sdk_id=alert.sdk_id,
        old_etag=alert.old_etag,
        new_etag=alert.new_etag,
    )


def _event(alert: Alert, name: str, limit: int) -> bytes:
    """Return the event object, with as many failing flags as fit."""
    shown = FLAGS_SHOWN
    body = envelope.encode(name, alert.type, alert.at, _data(alert, shown))
    while len(body) > limit and shown:
        shown //= 2
        body = envelope.encode(name, alert.type, alert.at, _data(alert, shown))
    return body


def _data(alert: Alert, count: int) -> Mapping[str, object]:
    shown = list(alert.failing.items())[:count]
    return {
        "sdk": alert.sdk_id,
        "etagBefore": alert.old_etag,
        "etagAfter": alert.new_etag,
        "reason": alert.reason,
        "flagCount": alert.flags,
        "removedCount": alert.removed,
        "failingCount": len(alert.failing),
        "failing": [{"key": key, "reason": why} for key, why in shown],
    }


def _lines(alert: Alert) -> Iterable[Line]:
    if alert.type == "CONFIG_HELD":
        yield (Span("A new config of "), Span(alert.sdk_id, "strong"), Span(f" is held and not used: {alert.reason}"))
    else:
        yield (Span("The config of "), Span(alert.sdk_id, "strong"), Span(f" is degraded: {alert.reason}"))
    for key, why in list(alert.failing.items())[:CHAT_FLAGS_SHOWN]:
        yield (Span(one_line(key, KEY_SHOWN), "code"), Span(" fails: "), Span(one_line(why, REASON_SHOWN), "quoted"))
