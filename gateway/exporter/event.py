"""One evaluation as it is told: who asked, for what, what came."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from gateway.flags import Result, User

IDENTIFIER = "Identifier"
_DIGEST_LENGTH = 32  # hex digits: 128 bits tell any two users apart


class Event(msgspec.Struct, frozen=True, omit_defaults=False):
    """One event; the members are in the order of the wire."""

    kind: Literal["feature"]
    contextKind: Literal["user", "anonymousUser"]
    userKey: str
    creationDate: int
    key: str
    variation: str
    value: bool | str | int | float | None
    default: bool  # whether evaluation failed
    source: Literal["SERVER"] = "SERVER"


class Counted(Event, frozen=True, kw_only=True):
    """So many equal events of one minute."""

    count: int


def user_key(user: User | None) -> tuple[Literal["user", "anonymousUser"], str]:
    """Return the kind of a user and its key: the ``Identifier``, or a digest of the attributes without showing them."""
    attributes = {} if user is None else dict(user.attributes)
    name = attributes.get(IDENTIFIER)
    if name is not None and name != "":
        return "user", name if isinstance(name, str) else msgspec.json.encode(name).decode()
    plain = msgspec.json.encode(attributes, order="sorted")
    return "anonymousUser", sha256(plain, usedforsecurity=False).hexdigest()[:_DIGEST_LENGTH]


def event_for(result: Result, user: User | None, at: float) -> Event:
    """Return the event of one evaluation at ``at``, Unix seconds."""
    kind, name = user_key(user)
    failed = result.error is not None
    return Event("feature", kind, name, int(at), result.key, result.variation_id, result.value, failed)


def counted(result: Result, minute: int, count: int) -> Counted:
    """Return ``count`` equal evaluations in the minute that began at ``minute``, whoever asked."""
    failed = result.error is not None
    return Counted("feature", "user", "", minute, result.key, result.variation_id, result.value, failed, count=count)
