"""OpenFeature's remote evaluation protocol: ``/ofrep/v1/evaluate/flags``. Errors are JSON here, but for 401.

What is answered is described by ``docs/schemas/ofrep.schema.json``: 400 for a context that cannot be read or an SDK
that is not named, 404 for an unknown flag or SDK, 500 where there is no config or evaluation fails.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from gateway.web.answers import bodies
from gateway.web.answers.api import unknown_flag
from gateway.web.answers.go_json import Unreadable, quoted
from gateway.web.answers.lookup import (
    SDK_ID,
    SDK_KEY,
    SDK_NOT_LOADED_TEXT,
    SDK_UNKNOWN_TEXT,
    key_text,
    loaded,
    user_of,
)
from gateway.web.answers.sse import query_of
from gateway.web.answers.stream_token import context_bytes
from gateway.web.answers.wait_for_config import patiently
from gateway.web.values import JSON_HEADERS, Reply, json

if TYPE_CHECKING:
    from gateway.flags import Attribute, Snapshot, User
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, Outcome

INVALID = json(b'{"errorDetails":' + quoted(SDK_NOT_LOADED_TEXT) + b"}", 500)
FAILED = json(b'{"errorDetails":"the request failed; please check the server logs for more details"}', 500)
NO_SDK = "either the 'X-ConfigCat-SdkId' or 'X-ConfigCat-SdkKey' header must be set"

EVENT_STREAMS = b'],"eventStreams":[{"type":"sse","endpoint":{"requestUri":"%b"},"inactivityDelaySec":%d}]}'
INACTIVITY_SECONDS = 120  # how long a hidden page keeps its stream; the protocol's own default
ETAG_BYTES = 8  # as wide as the replaced system's validator: 16 hexadecimal digits


def evaluate(context: Context, call: Call) -> Outcome:
    """Answer with one flag's value, reason and variant."""
    key = call.parameters["key"]
    try:
        user = _user(call.body)
    except Unreadable as error:
        return _error(400, "INVALID_CONTEXT", f"failed to parse JSON body: {error}", key)
    sdk = _sdk(context, call, key)
    if isinstance(sdk, Reply):
        return sdk

    if sdk.snapshot is not None:
        return _one(context, sdk, sdk.snapshot, key, user)
    return loaded(sdk, lambda snapshot: _one(context, sdk, snapshot, key, user), INVALID)


def evaluate_all(context: Context, call: Call) -> Outcome:
    """Answer with all flags, or 304 when ``If-None-Match`` names the validator of that very answer."""
    try:
        user = _user(call.body)
    except Unreadable as error:
        return _error(400, "INVALID_CONTEXT", f"failed to parse JSON body: {error}")
    sdk = _sdk(context, call)
    if isinstance(sdk, Reply):
        return sdk
    # A client that was called to ask again names the config it was called for: this process may be a moment behind.
    name = query_of(call).get("flagConfigEtag", "")
    return patiently(
        context, sdk, name, lambda: loaded(sdk, lambda snapshot: _bulk(context, call, sdk, snapshot, user), INVALID)
    )


def bulk_etag(snapshot: Snapshot, user: User | None, target: bytes | None = None) -> bytes:
    """Return the validator of a bulk answer: equal on every node for an equal config and an equal effective context.

    ``target`` is the stream that the answer points to; it is made of the context, so that the context need not be
    looked at again.
    """
    state = blake2b(snapshot.tag.encode(), digest_size=ETAG_BYTES)
    state.update(b"\0" + (context_bytes(user) if target is None else target))
    return b'W/"' + state.hexdigest().encode() + b'"'


def _one(context: Context, sdk: Sdk, snapshot: Snapshot, key: str, request: dict[str, Attribute] | None) -> Reply:
    user = user_of(sdk, request)
    try:
        result = snapshot.evaluate(key, user)
    except KeyError:
        return _error(404, "FLAG_NOT_FOUND", unknown_flag(key), key)
    if context.on_evaluated is not None:
        context.on_evaluated(result, user)
    return json(result.ofrep) if result.error is None else FAILED


def _bulk(context: Context, call: Call, sdk: Sdk, snapshot: Snapshot, request: dict[str, Attribute] | None) -> Reply:
    user = user_of(sdk, request)
    target = None if context.stream_tokens is None else context.stream_tokens.target(sdk, user)
    etag = bulk_etag(snapshot, user, target)
    if call.header(b"if-none-match") == etag:
        return Reply(304, ((b"Etag", etag),))
    if context.on_all_evaluated is None:
        items = snapshot.encode_ofrep(user)
    else:
        items, results = snapshot.told_ofrep(user)
        context.on_all_evaluated(results, user)
    end = b"]}" if target is None else EVENT_STREAMS % (target, INACTIVITY_SECONDS)
    return Reply(200, (*JSON_HEADERS, (b"Etag", etag)), b'{"flags":[%b%b' % (items, end))


def _user(body: bytes) -> dict[str, Attribute] | None:
    if not body:
        return None
    user = bodies.context(body)
    if user is not None and "targetingKey" in user:
        user["Identifier"] = user["targetingKey"]
    return user


def _sdk(context: Context, call: Call, key: str | None = None) -> Sdk | Reply:
    sdk_id, sdk_key = call.header(SDK_ID), call.header(SDK_KEY)
    if not sdk_id and not sdk_key:
        return _error(400, "GENERAL", NO_SDK, key)
    registry = context.registry
    sdk = registry.by_id(key_text(sdk_id)) if sdk_id else registry.by_key(key_text(sdk_key))
    return sdk or _error(404, "GENERAL", SDK_UNKNOWN_TEXT, key)


def _error(status: int, code: str, details: str, key: str | None = None) -> Reply:
    head = b"{" if key is None else b'{"key":' + quoted(key) + b","
    return json(head + b'"errorCode":"' + code.encode() + b'","errorDetails":' + quoted(details) + b"}", status)
