"""What an endpoint is told about a change.

Change, Endpoint, Ids ──► compose() ──► messages, and what the endpoint did not want
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.text import iso
from gateway.webhooks.formats import audit_log, chat, envelope, environment, notifier
from gateway.webhooks.formats.message import Feature, Ids, Message, Skipped, Told
from gateway.webhooks.formats.message_ids import message_id
from gateway.webhooks.formats.subscription import wants_sdk
from gateway.webhooks.formats.summary import Line, Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute
    from gateway.settings import Endpoint
    from gateway.webhooks.formats.change import Change

__all__ = (
    "Feature",
    "Ids",
    "Message",
    "Skipped",
    "Told",
    "compose",
    "failure_message",
    "messages_for",
    "sdk_message",
    "test_message",
)

WHOLE = "CONFIG_UPDATED"  # the type of a message that tells a whole change at once


def compose(
    change: Change,
    endpoint: Endpoint,
    ids: Ids,
    meta: Mapping[str, str],
    defaults: Mapping[str, Attribute] | None = None,
) -> Told:
    """Return all that ``endpoint`` is told about ``change``, in the order in which it is to be sent.

    Equal arguments give equal messages, ids and bodies included.
    ``meta`` holds ``hostname``; ``defaults`` are the SDK's default user attributes. Both may differ from node to
    node: they are no part of the ids.
    """
    if not change.changes:
        return Told(())
    if not wants_sdk(endpoint, change.sdk_id):
        return Told((), (_skipped(change, endpoint, f"the endpoint does not subscribe to SDK '{change.sdk_id}'"),))
    match endpoint.format:
        case "envelope":
            return envelope.compose(change, endpoint, defaults or {})
        case "environment":
            return environment.compose(change, endpoint, ids)
        case "audit_log":
            return Told(tuple(audit_log.compose(change, endpoint, ids)))
        case "notifier":
            changes = change.changes
            if not (changes.added or changes.removed or changes.updated):
                return Told((), (_skipped(change, endpoint, "no flag changed"),))
            body = notifier.encode({**meta, **endpoint.meta}, notifier.flags_of(change))
        case style:
            body = chat.encode(style, change)
    return Told((_whole(change, endpoint, body),))


def messages_for(
    change: Change,
    endpoint: Endpoint,
    ids: Ids,
    meta: Mapping[str, str],
    defaults: Mapping[str, Attribute] | None = None,
) -> list[Message]:
    """Return the messages of ``compose`` alone."""
    return list(compose(change, endpoint, ids, meta, defaults).messages)


def sdk_message(endpoint: Endpoint, sdk_id: str, ids: Ids, at: float, count: int, *, added: bool) -> Message | None:
    """Return what ``endpoint`` is told when an SDK comes into the settings or leaves them: only audit logs hear of it.

    ``count`` is how often this outbox has recorded that very act.
    """
    if endpoint.format != "audit_log" or not wants_sdk(endpoint, sdk_id):
        return None
    return audit_log.sdk_act(endpoint, sdk_id, ids, at, count, added=added)


def _whole(change: Change, endpoint: Endpoint, body: bytes) -> Message:
    return Message(
        id=message_id(change, endpoint.format, WHOLE),
        endpoint=endpoint.name,
        format=endpoint.format,
        type=WHOLE,
        subject=change.sdk_id,
        body=body,
        created=change.at,
        sdk_id=change.sdk_id,
        old_etag=change.old.etag,
        new_etag=change.new.etag,
    )


def _skipped(change: Change, endpoint: Endpoint, reason: str) -> Skipped:
    return Skipped(
        id=message_id(change, endpoint.format, WHOLE, "", "skipped"),
        endpoint=endpoint.name,
        format=endpoint.format,
        type=WHOLE,
        subject=change.sdk_id,
        reason=reason,
        count=1,
        created=change.at,
        sdk_id=change.sdk_id,
    )


def failure_message(endpoint: Endpoint, failed: Message, error: str, at: float) -> Message:
    """Return the word to ``endpoint`` (of format envelope) that ``failed`` was given up at ``at`` because of ``error``.

    Whom to tell is for ``subscription.failure_receivers`` to say.
    """
    return envelope.failure(endpoint, failed, error, at)


TEST = "WEBHOOK_TEST"
_TEST_TEXT = "This is a test of a web hook of flaggateway; nothing has changed"


def test_message(endpoint: Endpoint, at: float, random_id: str, meta: Mapping[str, str] | None = None) -> Message:  # noqa: PT028
    """Return a message that shows whether ``endpoint`` receives: of its format, signed as any, and harmless."""
    return Message(
        id=random_id,
        endpoint=endpoint.name,
        format=endpoint.format,
        type=TEST,
        subject=endpoint.name,
        body=_test_body(endpoint, at, random_id, meta or {}),
        created=at,
    )


# A name that pytest would take for a test where it is imported.
test_message.__test__ = False  # type: ignore[attr-defined]


def _test_body(endpoint: Endpoint, at: float, random_id: str, meta: Mapping[str, str]) -> bytes:
    match endpoint.format:
        case "envelope":
            nothing = {"sdk": None, "etagBefore": None, "etagAfter": None, "endpoint": endpoint.name}
            return envelope.encode(random_id, TEST, at, nothing)
        case "notifier":
            return notifier.encode({"hostname": "", **meta, **endpoint.meta}, notifier.EMPTY)
        case "environment":
            return msgspec.json.encode(environment.Event(environment.Data(None, None, None, iso(at)), TEST))
        case "audit_log":
            return audit_log.encode_test(_TEST_TEXT, at)
        case style:
            line: Line = (Span(_TEST_TEXT),)
            return chat.DRESSES[style]([line])
