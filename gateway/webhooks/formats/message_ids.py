"""Names that any node finds by itself: equal history gives equal message ids, with nothing shared.

An id is a UUIDv5 (RFC 9562) of a JSON array, so that no two different lists of texts can run together to one name.
Receivers know messages by them, over restarts and versions: what goes into one must not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import msgspec

from gateway.text import json_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute
    from gateway.webhooks.formats.change import Change

NAMESPACE = UUID("5b9c1c3e-0f0d-5a5e-9a52-6f1d3a7c4e21")  # ours; changing it would change every id


def message_id(change: Change, style: str, kind: str, *target: str) -> str:
    """Return the id of one message about ``change``: of format ``style``, type ``kind``, about ``target``."""
    return _named(change.sdk_id, change.old.etag, change.new.etag, style, kind, list(target), change.round)


def sdk_act_id(sdk_id: str, style: str, act: str, count: int) -> str:
    """Return the id of the message that an SDK was added or removed, for the ``count``-th time."""
    return _named(sdk_id, "", "", style, "ENVIRONMENT", [act], count)


def failure_id(receiver: str, endpoint: str, failed_id: str, at: float) -> str:
    """Return the id of the word to ``receiver`` that ``endpoint`` did not get ``failed_id``, given up at ``at``."""
    return _named(receiver, endpoint, failed_id, "DELIVERY_FAILED", round(at * 1000))


def user_digest(attributes: Mapping[str, Attribute]) -> str:
    """Return a short name of a watched user, equal exactly when all attributes are; it does not show them."""
    return json_digest(dict(attributes))


def _named(*parts: str | int | list[str]) -> str:
    return str(uuid5(NAMESPACE, msgspec.json.encode(parts).decode()))
