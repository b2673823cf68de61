"""OFREP event streams (ADR-0008): a call to ask again, to exactly the contexts whose results have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.streams import StreamOptions
from gateway.web.answers.go_json import quoted
from gateway.web.answers.lookup import SDK_NOT_LOADED_TEXT, loaded
from gateway.web.answers.sse import admitted, failed, is_patient, query_of, resumed
from gateway.web.answers.wait_for_config import patiently
from gateway.web.values import json

if TYPE_CHECKING:
    from gateway.flags import User
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, Outcome

INVALID = json(b'{"errorDetails":' + quoted(SDK_NOT_LOADED_TEXT) + b"}", 500)
# One answer whether the SDK is unknown, its settings have changed or the token is made up: nothing is to be learnt.
NOT_VALID = json(b'{"errorDetails":"this stream is not valid, or not any more; please evaluate again"}', 403)


def stream(context: Context, call: Call) -> Outcome:
    """Open the stream that a bulk answer pointed to."""
    sdk = context.registry.by_id(call.parameters["sdkId"])
    if sdk is None or context.stream_tokens is None:
        return failed(NOT_VALID)
    try:
        user = context.stream_tokens.user(sdk, call.parameters["token"])
    except ValueError:
        return failed(NOT_VALID)
    tag, last_digest = resumed(call, query_of(call))
    return patiently(context, sdk, tag, lambda: _open(context, call, sdk, user, StreamOptions("ofrep", last_digest)))


def _open(context: Context, call: Call, sdk: Sdk, user: User | None, options: StreamOptions) -> Outcome:
    if sdk.snapshot is None and is_patient(call):
        return admitted(context, call, sdk, None, user, options)
    return loaded(sdk, lambda _: admitted(context, call, sdk, None, user, options), failed(INVALID))
