"""The status page on the main port, when the operator wants it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.web.values import json

if TYPE_CHECKING:
    from gateway.web.context import Context
    from gateway.web.values import Call, Outcome


def status(context: Context, _call: Call) -> Outcome:
    """Answer with the status document, always 200."""
    return json(msgspec.json.encode(context.status_document()))
