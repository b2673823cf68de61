"""Message ids that each node computes by itself: nodes with equal history use equal ids.

An id is a UUIDv5 (RFC 9562) of a JSON array, so that two different lists of texts never give the same name.
Receivers recognise repeated messages by their id, over restarts and versions: its parts must not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import msgspec

if TYPE_CHECKING:
    from gateway.webhooks.formats.change import Change

NAMESPACE = UUID("5b9c1c3e-0f0d-5a5e-9a52-6f1d3a7c4e21")  # random; another value would change every id


def message_id(change: Change, message_format: str, kind: str, *target: str) -> str:
    """Return the id of a message about ``change``: its format, its type, and what it is about."""
    return _uuid(change.sdk_id, change.old.etag, change.new.etag, message_format, kind, list(target), change.round)


def sdk_message_id(sdk_id: str, message_format: str, act: str, count: int) -> str:
    """Return the id of the message that an SDK was added or removed, for the ``count``-th time."""
    return _uuid(sdk_id, "", "", message_format, "ENVIRONMENT", [act], count)


def failure_id(receiver: str, endpoint: str, failed_id: str, at: float) -> str:
    """Return the id of the message to ``receiver`` that ``failed_id`` to ``endpoint`` was given up at ``at``."""
    return _uuid(receiver, endpoint, failed_id, "DELIVERY_FAILED", round(at * 1000))


def alert_id(sdk_id: str, old_etag: str | None, new_etag: str, message_format: str, kind: str) -> str:
    """Return the id of a message that the config ``new_etag`` is held, or degraded."""
    return _uuid(sdk_id, old_etag or "", new_etag, message_format, kind)


def _uuid(*parts: str | int | list[str]) -> str:
    return str(uuid5(NAMESPACE, msgspec.json.encode(parts).decode()))
