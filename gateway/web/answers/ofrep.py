"""OpenFeature's remote evaluation protocol: ``/ofrep/v1/…``. Errors are JSON, except 401.

``docs/schemas/ofrep.schema.json`` describes the replies: 400 for an invalid context or an SDK that is not named, 404
for an unknown flag or SDK, 500 when there is no config or evaluation fails.

A stream (ADR-0008) sends one event, to exactly the contexts whose results have changed: evaluate again.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from gateway.clocks import wall_clock
from gateway.flags import effective_user
from gateway.streams import StreamOptions
from gateway.web.answers.api import flag_not_found
from gateway.web.answers.bodies import read_context
from gateway.web.answers.go_json import InvalidJson, quoted
from gateway.web.answers.lookup import (
    SDK_ID,
    SDK_KEY,
    SDK_NOT_LOADED_TEXT,
    SDK_UNKNOWN_TEXT,
    header_text,
    when_evaluated,
    with_snapshot,
)
from gateway.web.answers.sse import is_event_source, last_event, open_stream, read_query, stream_error
from gateway.web.answers.wait_for_config import wait_for_config
from gateway.web.etags import client_has
from gateway.web.stream_seal import context_bytes
from gateway.web.values import JSON_HEADERS, Reply, json

if TYPE_CHECKING:
    from gateway.flags import Attribute, Snapshot, User
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, EventualReply

NOT_LOADED = json(b'{"errorDetails":' + quoted(SDK_NOT_LOADED_TEXT) + b"}", 500)
EVALUATION_FAILED = json(b'{"errorDetails":"the request failed; please check the server logs for more details"}', 500)
# One reply for an unknown SDK, changed settings and an invented token, so that it reveals nothing.
NOT_VALID = json(b'{"errorDetails":"this stream is not valid, or not any more; please evaluate again"}', 403)
NO_SDK = "either the 'X-ConfigCat-SdkId' or 'X-ConfigCat-SdkKey' header must be set"

EVENT_STREAMS = b'],"eventStreams":[{"type":"sse","endpoint":{%b"requestUri":"%b"},"inactivityDelaySec":%d}]}'
INACTIVITY_SECONDS = 120  # how long a hidden page keeps its stream; the protocol's own default
ETAG_BYTES = 8  # 16 hexadecimal digits, as many as in ConfigCat Proxy's validator


def evaluate(context: Context, call: Call) -> EventualReply:
    """Reply with one flag's value, reason and variant."""
    key = call.parameters["key"]
    try:
        user = _read_user(context, call)
    except InvalidJson as error:
        return _error(400, "INVALID_CONTEXT", f"failed to parse JSON body: {error}", key)
    sdk = _find_sdk(context, call, key)
    if isinstance(sdk, Reply):
        return sdk
    if sdk.snapshot is not None:
        return _flag_reply(context, sdk, sdk.snapshot, key, user)
    return with_snapshot(sdk, lambda snapshot: _flag_reply(context, sdk, snapshot, key, user), NOT_LOADED)


def evaluate_all(context: Context, call: Call) -> EventualReply:
    """Reply with all flags, or 304 when ``If-None-Match`` is the validator of this reply."""
    try:
        user = _read_user(context, call)
    except InvalidJson as error:
        return _error(400, "INVALID_CONTEXT", f"failed to parse JSON body: {error}")
    sdk = _find_sdk(context, call)
    if isinstance(sdk, Reply):
        return sdk

    def answer() -> EventualReply:
        return with_snapshot(sdk, lambda snapshot: _bulk_reply(context, call, sdk, snapshot, user), NOT_LOADED)

    # A stream's event names the config to evaluate again with; this process may not have it yet.
    return wait_for_config(context, sdk, read_query(call).get("flagConfigEtag", ""), answer)


def stream(context: Context, call: Call) -> EventualReply:
    """Open the stream that a bulk reply offered."""
    sdk = context.registry.by_id(call.parameters["sdkId"])
    if sdk is None or context.stream_tokens is None:
        return stream_error(NOT_VALID)
    try:
        user, ends, caller = context.stream_tokens.read(sdk, call.parameters["token"])
    except ValueError:
        return stream_error(NOT_VALID)
    if 0 < ends <= wall_clock(context.clock)():
        return stream_error(NOT_VALID)
    if caller:
        own = None if context.callers is None else context.callers.context_of(caller)
        if own is None or own.registry.by_id(sdk.id) is None:  # the key was removed, or may not use the SDK any more
            return stream_error(NOT_VALID)
        context = own
    tag, digest = last_event(call, read_query(call))
    options = StreamOptions("ofrep", digest, ends=ends)

    def answer() -> EventualReply:
        if sdk.snapshot is None and is_event_source(call):
            return open_stream(context, call, sdk, None, user, options)
        error = stream_error(NOT_LOADED)
        return with_snapshot(sdk, lambda _: open_stream(context, call, sdk, None, user, options), error)

    return wait_for_config(context, sdk, tag, answer)


def bulk_etag(snapshot: Snapshot, user: User | None, stream_path: bytes | None = None) -> bytes:
    """Return the validator of a bulk reply: equal on every node for an equal config and an equal effective context.

    ``stream_path`` is the stream that the reply offers, with its origin if that is known; it is derived from the
    context and stands for it.
    """
    state = blake2b(snapshot.tag.encode(), digest_size=ETAG_BYTES)
    state.update(b"\0" + (context_bytes(user) if stream_path is None else stream_path))
    return b'W/"' + state.hexdigest().encode() + b'"'


def _flag_reply(
    context: Context, sdk: Sdk, snapshot: Snapshot, key: str, request: dict[str, Attribute] | None
) -> Reply:
    user = effective_user(request, sdk.defaults)
    try:
        result = snapshot.evaluate(key, user)
    except KeyError:
        context.clients.unknown(sdk.id, key)
        return _error(404, "FLAG_NOT_FOUND", flag_not_found(key), key)
    context.clients.named[sdk.id].add(key)
    if context.sample.armed:
        context.sample.take(sdk.id, user)
    if context.on_evaluated is not None:
        context.on_evaluated(result, user)
    return json(result.ofrep) if result.error is None else EVALUATION_FAILED


def _bulk_reply(
    context: Context, call: Call, sdk: Sdk, snapshot: Snapshot, request: dict[str, Attribute] | None
) -> EventualReply:
    user = effective_user(request, sdk.defaults)
    if snapshot.large and not snapshot.is_evaluated(user):
        return when_evaluated(context, snapshot, user, lambda: _bulk_reply(context, call, sdk, snapshot, request))
    stream_path = _stream_path(context, call, sdk, user)
    origin = context.public_url.origin
    etag = bulk_etag(snapshot, user, None if stream_path is None else origin + stream_path)
    if client_has(call, etag):
        return Reply(304, ((b"Etag", etag),))
    evaluation = snapshot.evaluate_all(user)
    if context.sample.armed:
        context.sample.take(sdk.id, user)
    if context.on_all_evaluated is not None:
        context.on_all_evaluated(evaluation.results(), user)
    end = b"]}"
    if stream_path is not None:
        end = EVENT_STREAMS % (b'"origin":"%b",' % origin if origin else b"", stream_path, INACTIVITY_SECONDS)
    return Reply(200, (*JSON_HEADERS, (b"Etag", etag)), evaluation.ofrep(end))


def _stream_path(context: Context, call: Call, sdk: Sdk, user: User | None) -> bytes | None:
    """Return the path of the stream to offer, as the client has to request it; None if there is none, or too long."""
    if context.stream_tokens is None:
        return None
    public_url = context.public_url
    ends = 0.0 if call.identity is None else call.identity.ends
    own_path = context.stream_tokens.stream_path(sdk, user, ends, "" if context.caller is None else context.caller.name)
    if own_path is None:
        return None
    path = public_url.prefix_of(call) + own_path
    return path if public_url.fits(path) else None


def _read_user(context: Context, call: Call) -> dict[str, Attribute] | None:
    user = read_context(call.body, context.other_attributes) if call.body else None
    if call.identity is not None:
        return _verified(dict(call.identity.attributes_with(user)))
    if user is not None and "targetingKey" in user:
        user["Identifier"] = user["targetingKey"]
    return user


def _verified(user: dict[str, Attribute]) -> dict[str, Attribute]:
    """Return a verified user whose targeting key is the identifier, so that flags may target either."""
    if "Identifier" in user:
        user["targetingKey"] = user["Identifier"]
    else:
        user.pop("targetingKey", None)
    return user


def _find_sdk(context: Context, call: Call, key: str | None = None) -> Sdk | Reply:
    sdk_id, sdk_key = call.header(SDK_ID), call.header(SDK_KEY)
    if not sdk_id and not sdk_key:
        return _error(400, "GENERAL", NO_SDK, key)
    registry = context.registry
    sdk = registry.by_id(header_text(sdk_id)) if sdk_id else registry.by_key(header_text(sdk_key))
    return sdk or _error(404, "GENERAL", SDK_UNKNOWN_TEXT, key)


def _error(status: int, code: str, details: str, key: str | None = None) -> Reply:
    head = b"{" if key is None else b'{"key":' + quoted(key) + b","
    return json(head + b'"errorCode":"' + code.encode() + b'","errorDetails":' + quoted(details) + b"}", status)
