"""Format ``envelope``: one event object per thing that happened; ``data`` by type: ``docs/webhooks.md``.

{"id": uuid, "type": …, "createdTimestamp": milliseconds, "data": {"sdk", "etagBefore", "etagAfter", …}}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import msgspec

from gateway.text import milliseconds
from gateway.webhooks.formats.definition import segment_edits, told
from gateway.webhooks.formats.message import Message, Skipped, Told
from gateway.webhooks.formats.message_ids import failure_id, message_id
from gateway.webhooks.formats.subscription import wants_type, watched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.flags import Attribute, Snapshot, User
    from gateway.settings import Endpoint
    from gateway.webhooks.formats.change import Change

STYLE = "envelope"


class Envelope(msgspec.Struct, frozen=True):
    """The event object."""

    id: str
    type: str
    createdTimestamp: int  # Unix milliseconds; the seed's spelling
    data: Mapping[str, object]


@attrs.frozen
class _Event:
    """What happened, before it has an id; ``target`` tells events of one type and change apart."""

    type: str
    subject: str
    target: tuple[str, ...]
    data: Mapping[str, object]


def compose(change: Change, endpoint: Endpoint, defaults: Mapping[str, Attribute]) -> Told:
    """Return the events of a change: flags, segments, the config as a whole, then watched users.

    Flags come sorted by key, those added before those updated before those removed, watched users as in the settings.
    What the endpoint does not subscribe to is one ``Skipped`` per type.
    """
    messages, unwanted = [], dict[str, int]()
    for event in _events(change, endpoint, defaults):
        if wants_type(endpoint, event.type):
            messages.append(_message(change, endpoint, event))
        else:
            unwanted[event.type] = unwanted.get(event.type, 0) + 1
    skipped = tuple(_skipped(change, endpoint, kind, count) for kind, count in unwanted.items())
    return Told(tuple(messages), skipped)


def _events(change: Change, endpoint: Endpoint, defaults: Mapping[str, Attribute]) -> Iterator[_Event]:
    changes, old, new = change.changes, change.old, change.new
    for key in changes.added:
        yield _Event("FLAG_CREATED", key, (key,), {"key": key, "newValue": told(new, key)})
    for key in changes.updated:
        values = {"key": key, "oldValue": told(old, key), "newValue": told(new, key)}
        yield _Event("FLAG_UPDATED", key, (key,), values)
    for key in changes.removed:
        yield _Event("FLAG_DELETED", key, (key,), {"key": key, "oldValue": told(old, key)})
    for edit in segment_edits(change):
        target = (edit.name, str(edit.position)) if edit.position else (edit.name,)
        values = {"segment": edit.name, "oldValue": edit.old, "newValue": edit.new, "flags": edit.flags}
        yield _Event("SEGMENT_UPDATED", edit.name, target, values)
    yield _Event("CONFIG_UPDATED", change.sdk_id, (), _summary(change))
    for digest, (attributes, user) in watched(endpoint, defaults).items():
        changed, removed = user_difference(old, new, changes.affected, user)
        if changed or removed:
            values = {"user": attributes, "changed": changed, "removed": removed}
            yield _Event("USER_FLAGS_UPDATED", change.sdk_id, (digest,), values)


def _summary(change: Change) -> Mapping[str, object]:
    changes = change.changes
    return {
        "added": changes.added,
        "updated": changes.updated,
        "removed": changes.removed,
        "affected": changes.affected,
        "segments": changes.segments,
        "saltChanged": changes.salt_changed,
        "preferencesChanged": changes.preferences_changed,
    }


def user_difference(
    old: Snapshot, new: Snapshot, affected: tuple[str, ...], user: User | None
) -> tuple[dict[str, msgspec.Raw], list[str]]:
    """Return what a delta stream of ``user`` would be sent: the new outcomes that differ, and the keys that are gone.

    Outcomes are the JSON of the reply, ``{"value":…,"variationId":…}``, null for a flag that fails.
    """
    changed, removed = {}, []
    for key in affected:
        if key not in new.flags:
            removed.append(key)
            continue
        now = new.evaluate(key, user).json
        if key not in old.flags or old.evaluate(key, user).json != now:
            changed[key] = msgspec.Raw(now)
    return changed, removed


def _message(change: Change, endpoint: Endpoint, event: _Event) -> Message:
    name = message_id(change, STYLE, event.type, *event.target)
    data = {
        "sdk": change.sdk_id,
        "etagBefore": change.old.etag,
        "etagAfter": change.new.etag,
        **event.data,
        "changedBy": change.author.shown if change.author else None,
        "changeNotes": change.notes,
    }
    return Message(
        id=name,
        endpoint=endpoint.name,
        format=STYLE,
        type=event.type,
        subject=event.subject,
        body=encode(name, event.type, change.at, data),
        created=change.at,
        sdk_id=change.sdk_id,
        old_etag=change.old.etag,
        new_etag=change.new.etag,
    )


def _skipped(change: Change, endpoint: Endpoint, kind: str, count: int) -> Skipped:
    return Skipped(
        id=message_id(change, STYLE, kind, "", "skipped"),
        endpoint=endpoint.name,
        format=STYLE,
        type=kind,
        subject=change.sdk_id,
        reason=f"the endpoint does not subscribe to {kind}",
        count=count,
        created=change.at,
        sdk_id=change.sdk_id,
    )


def failure(endpoint: Endpoint, failed: Message, error: str, at: float) -> Message:
    """Return the word to ``endpoint`` that ``failed`` was given up at ``at``; ``error`` holds no secrets."""
    name = failure_id(endpoint.name, failed.endpoint, failed.id, at)
    data = {
        "sdk": failed.sdk_id,
        "etagBefore": failed.old_etag,
        "etagAfter": failed.new_etag,
        "endpoint": failed.endpoint,
        "messageId": failed.id,
        "messageFormat": failed.format,
        "messageType": failed.type,
        "messageSubject": failed.subject,
        "messageCreatedTimestamp": milliseconds(failed.created),
        "error": error,
    }
    return Message(
        id=name,
        endpoint=endpoint.name,
        format=STYLE,
        type="DELIVERY_FAILED",
        subject=failed.endpoint,
        body=encode(name, "DELIVERY_FAILED", at, data),
        created=at,
        sdk_id=failed.sdk_id,
        old_etag=failed.old_etag,
        new_etag=failed.new_etag,
    )


def encode(name: str, kind: str, at: float, data: Mapping[str, object]) -> bytes:
    """Return one event object as JSON."""
    return msgspec.json.encode(Envelope(name, kind, milliseconds(at), data))
