"""Format ``envelope``: one event object per flag, segment, config and watched user that changed.

{"id": uuid, "type": …, "createdTimestamp": milliseconds, "data": {"sdk", "etagBefore", "etagAfter", …}}

The members of ``data`` per type are described in ``docs/webhooks.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import msgspec

from gateway.text import milliseconds
from gateway.webhooks.formats.bounds import Omitted, cut
from gateway.webhooks.formats.definition import full_definition, segment_edits
from gateway.webhooks.formats.message import EndpointMessages, Message, message_about, skipped
from gateway.webhooks.formats.message_ids import failure_id, message_id
from gateway.webhooks.formats.subscription import wants_type, watched_users

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.flags import Attribute, Snapshot, User
    from gateway.settings import Endpoint
    from gateway.webhooks.formats.change import Change

FORMAT = "envelope"
_DEFINITIONS = ("oldValue", "newValue")
_LISTS = ("added", "updated", "removed", "affected", "segments", "flags")  # of keys or names


class Envelope(msgspec.Struct, frozen=True):
    """The event object."""

    id: str
    type: str
    createdTimestamp: int  # Unix milliseconds; the seed's spelling
    data: Mapping[str, object]


@attrs.frozen
class _Event:
    """An event before it has an id; ``target`` distinguishes the events of one type and change."""

    type: str
    subject: str
    target: tuple[str, ...]
    data: Mapping[str, object]


def compose(change: Change, endpoint: Endpoint, defaults: Mapping[str, Attribute]) -> EndpointMessages:
    """Return the events of a change: flags, segments, the config as a whole, then watched users.

    Added flags come before updated and removed ones, each sorted by key; watched users are in the order of the
    settings.  Each type to which the endpoint does not subscribe is one ``Skipped``.
    """
    messages, unwanted = [], dict[str, int]()
    for event in _events(change, endpoint, defaults):
        if wants_type(endpoint, event.type):
            messages.append(_message(change, endpoint, event))
        else:
            unwanted[event.type] = unwanted.get(event.type, 0) + 1
    return EndpointMessages(
        tuple(messages),
        tuple(
            skipped(change, endpoint, kind, f"the endpoint does not subscribe to {kind}", count)
            for kind, count in unwanted.items()
        ),
    )


def _events(change: Change, endpoint: Endpoint, defaults: Mapping[str, Attribute]) -> Iterator[_Event]:
    changes, old, new = change.changes, change.old, change.new
    for key in changes.added:
        yield _Event("FLAG_CREATED", key, (key,), {"key": key, "newValue": full_definition(new, key)})
    for key in changes.updated:
        values = {"key": key, "oldValue": full_definition(old, key), "newValue": full_definition(new, key)}
        yield _Event("FLAG_UPDATED", key, (key,), values)
    for key in changes.removed:
        yield _Event("FLAG_DELETED", key, (key,), {"key": key, "oldValue": full_definition(old, key)})
    for edit in segment_edits(change):
        target = (edit.name, str(edit.position)) if edit.position else (edit.name,)
        values = {"segment": edit.name, "oldValue": edit.old, "newValue": edit.new, "flags": edit.flags}
        yield _Event("SEGMENT_UPDATED", edit.name, target, values)
    yield _Event("CONFIG_UPDATED", change.sdk_id, (), _summary(change))
    for digest, (attributes, user) in watched_users(endpoint, defaults).items():
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
    """Return what a delta stream would send to ``user``: the new results that differ, and the keys of removed flags.

    A result is the JSON of an answer, ``{"value":…,"variationId":…}``; its value is null when evaluation failed.
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
    name = message_id(change, FORMAT, event.type, *event.target)
    data = {
        "sdk": change.sdk_id,
        "etagBefore": change.old.etag,
        "etagAfter": change.new.etag,
        **event.data,
        "changedBy": change.author.display_name if change.author else None,
        "changeNotes": change.notes,
    }
    body = encode(name, event.type, change.at, data)
    if len(body) > endpoint.max_message_bytes:
        data = _shortened(data, len(body) - len(msgspec.json.encode(data)), endpoint.max_message_bytes)
        body = encode(name, event.type, change.at, data)
    return message_about(change, endpoint, name, event.type, event.subject, body)


def _shortened(data: Mapping[str, object], around: int, limit: int) -> dict[str, object]:
    """Return ``data`` without definitions and results, and with the first keys and names that fit.

    ``around`` is the number of bytes of the event object without ``data``.
    """
    lists = {name: found for name in _LISTS if isinstance(found := data.get(name), list | tuple)}
    changed = data.get("changed")
    if isinstance(changed, dict):
        lists["changed"] = list(changed)
    # A segment that did not exist before, or does not any more, stays null.
    undefined: dict[str, object] = {name: {} for name in _DEFINITIONS if data.get(name) is not None}
    has_values = bool(undefined or changed)
    empty: dict[str, object] = {name: {} if name == "changed" else [] for name in lists}
    count = sum(map(len, lists.values()))
    least = msgspec.json.encode({**data, **undefined, **empty, "omitted": Omitted(has_values, count)})
    kept, missing = cut(lists, limit - around - len(least), {"changed": len(":{}")})
    shown = {name: {key: {} for key in keys} if name == "changed" else keys for name, keys in kept.items()}
    return {**data, **undefined, **shown, "omitted": Omitted(has_values, missing)}


def compose_failure_message(endpoint: Endpoint, failed: Message, error: str, at: float) -> Message:
    """Return the message to ``endpoint`` that ``failed`` was given up at ``at``; ``error`` must contain no secret."""
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
        format=FORMAT,
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
