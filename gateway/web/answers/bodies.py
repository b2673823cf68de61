"""Request bodies in the shape that clients send them, read at once; any other shape is read by Go's rules.

Both ways agree on every text: the quick one takes only what it can read without a doubt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.web.answers.go_json import fields
from gateway.web.answers.lookup import attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute

Attributes = dict[str, str | float | tuple[str, ...]]
QUICK_LIMIT = 12 * 1024  # bytes; in so few no attribute can exceed its bounds, which the other way looks at
OTHER_SHAPES = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

EVALUATION: Mapping[str, type] = {"key": str, "user": dict}
EVALUATION_OF_ALL: Mapping[str, type] = {"user": dict}
CONTEXT: Mapping[str, type] = {"context": dict}


class Evaluation(msgspec.Struct, forbid_unknown_fields=True):
    """One flag and a user; a name in another case is unknown here, and so left to the other way."""

    key: str = ""
    user: Attributes | None = None


class EvaluationOfAll(msgspec.Struct, forbid_unknown_fields=True):
    """A user."""

    user: Attributes


class Contextual(msgspec.Struct, forbid_unknown_fields=True):
    """OFREP's name for a user."""

    context: Attributes


_evaluation = msgspec.json.Decoder(Evaluation).decode
_evaluation_of_all = msgspec.json.Decoder(EvaluationOfAll).decode
_contextual = msgspec.json.Decoder(Contextual).decode


def evaluation(text: bytes) -> tuple[str, Mapping[str, Attribute] | None]:
    """Return the key (empty when there is none) and the user (None when there is none) of a body.

    :raises Unreadable: when it is not JSON, or a field or attribute is of a wrong type.
    """
    try:
        body = _evaluation(text) if len(text) <= QUICK_LIMIT else None
    except OTHER_SHAPES:
        body = None
    if body is not None and body.user is not None:
        return body.key, body.user
    found = fields(text, EVALUATION)
    key = found.get("key")
    return key if isinstance(key, str) else "", attributes(found["user"]) if "user" in found else None


def evaluation_of_all(text: bytes) -> Mapping[str, Attribute] | None:
    """Return the user of a body, None when there is none.

    :raises Unreadable: as ``evaluation``.
    """
    try:
        if len(text) <= QUICK_LIMIT:
            return _evaluation_of_all(text).user
    except OTHER_SHAPES:
        pass
    found = fields(text, EVALUATION_OF_ALL)
    return attributes(found["user"]) if "user" in found else None


def context(text: bytes) -> dict[str, Attribute] | None:
    """Return the context of an OFREP body, None when there is none; it is the caller's to change.

    :raises Unreadable: as ``evaluation``.
    """
    try:
        if len(text) <= QUICK_LIMIT:
            return _contextual(text).context
    except OTHER_SHAPES:
        pass
    found = fields(text, CONTEXT)
    return attributes(found["context"]) if "context" in found else None
