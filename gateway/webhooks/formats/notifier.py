"""Format ``notifier``, GO Feature Flag's: one call per change, with the definitions of all flags that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.webhooks.formats.bounds import Omitted, cut
from gateway.webhooks.formats.definition import full_definition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.webhooks.formats.change import Change


class Updated(msgspec.Struct, frozen=True):
    """A flag's definition before and after."""

    old_value: object
    new_value: object


class Flags(msgspec.Struct, frozen=True):
    """The flags that changed, by key."""

    deleted: Mapping[str, object]
    added: Mapping[str, object]
    updated: Mapping[str, Updated]


class Notice(msgspec.Struct, frozen=True):
    """The whole call."""

    meta: Mapping[str, str]
    flags: Flags
    omitted: Omitted | msgspec.UnsetType = msgspec.UNSET


EMPTY = Flags({}, {}, {})
NO_DEFINITION: Mapping[str, object] = {}  # in place of one that was left out
_UNDEFINED = Updated(NO_DEFINITION, NO_DEFINITION)
_MORE = {"deleted": len(":{}"), "added": len(":{}"), "updated": 1 + len(msgspec.json.encode(_UNDEFINED))}


def encode(meta: Mapping[str, str], flags: Flags, limit: int) -> bytes:
    """Return one call as JSON, of at most ``limit`` bytes: without definitions, or some keys, if they do not fit."""
    body = msgspec.json.encode(Notice(meta, flags))
    if len(body) <= limit:
        return body
    keys = {"deleted": [*flags.deleted], "added": [*flags.added], "updated": [*flags.updated]}
    least = msgspec.json.encode(Notice(meta, EMPTY, Omitted(definitions=True, keys=sum(map(len, keys.values())))))
    kept, missing = cut(keys, limit - len(least), _MORE)
    fewer = Flags(
        deleted=dict.fromkeys(kept["deleted"], NO_DEFINITION),
        added=dict.fromkeys(kept["added"], NO_DEFINITION),
        updated=dict.fromkeys(kept["updated"], _UNDEFINED),
    )
    return msgspec.json.encode(Notice(meta, fewer, Omitted(definitions=True, keys=missing)))


def flags_of(change: Change) -> Flags:
    """Return the definitions of the flags that a change deleted, added and updated, each sorted by key."""
    changes, old, new = change.changes, change.old, change.new
    return Flags(
        deleted={key: full_definition(old, key) for key in changes.removed},
        added={key: full_definition(new, key) for key in changes.added},
        updated={key: Updated(full_definition(old, key), full_definition(new, key)) for key in changes.updated},
    )
