"""The status page on the main port, when the operator enables it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.web.values import json

if TYPE_CHECKING:
    from gateway.web.context import Context
    from gateway.web.values import Call, EventualReply


def status(context: Context, _call: Call) -> EventualReply:
    """Reply with the status document, always 200."""
    return json(msgspec.json.encode(context.status_document()))
