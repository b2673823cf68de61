"""The evaluation API: ``/api/…``. Order of checks: body, then SDK, then its state, then the flag.

400 for an invalid body, an SDK that is not named and an unknown flag; 404 for an unknown SDK; 500 when the SDK has no
config, or evaluation fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags import effective_user
from gateway.web.answers.bodies import read_eval, read_eval_all
from gateway.web.answers.go_json import InvalidJson, quoted
from gateway.web.answers.lookup import (
    REQUEST_FAILED,
    SDK_KEY,
    SDK_NOT_LOADED,
    SDK_UNKNOWN,
    header_text,
    when_evaluated,
    with_snapshot,
)
from gateway.web.values import Reply, json, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute, Snapshot
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, EventualReply

NO_SDK = text(400, "either the 'sdkId' path variable or 'X-ConfigCat-SdkKey' header must be set")
REFRESHED = Reply(200)
TEAPOT = Reply(418)


def evaluate(context: Context, call: Call) -> EventualReply:
    """Reply with one flag's value for one user."""
    try:
        key, user = read_eval(call.body)
    except InvalidJson as error:
        return _invalid_body(error)
    if call.identity is not None:
        user = call.identity.attributes_with(user)
    sdk = _find_sdk(context, call)
    if isinstance(sdk, Reply):
        return sdk
    if sdk.snapshot is not None:
        return _flag_reply(context, sdk, sdk.snapshot, key, user)
    return with_snapshot(sdk, lambda snapshot: _flag_reply(context, sdk, snapshot, key, user), SDK_NOT_LOADED)


def evaluate_all(context: Context, call: Call) -> EventualReply:
    """Reply with the values of all flags for one user."""
    try:
        user = read_eval_all(call.body)
    except InvalidJson as error:
        return _invalid_body(error)
    if call.identity is not None:
        user = call.identity.attributes_with(user)
    sdk = _find_sdk(context, call)
    if isinstance(sdk, Reply):
        return sdk
    if sdk.snapshot is not None:
        return _all_flags_reply(context, sdk, sdk.snapshot, user)
    return with_snapshot(sdk, lambda snapshot: _all_flags_reply(context, sdk, snapshot, user), SDK_NOT_LOADED)


def keys(context: Context, call: Call) -> EventualReply:
    """Reply with the keys of all flags, sorted."""
    sdk = _find_sdk(context, call)
    if isinstance(sdk, Reply):
        return sdk
    return with_snapshot(sdk, lambda snapshot: _keys_reply(context, sdk, snapshot), SDK_NOT_LOADED)


def refresh(context: Context, call: Call) -> EventualReply:
    """Fetch the config again and reply when the fetch has ended, for an SDK without a config too."""
    sdk = _find_sdk(context, call)
    return sdk if isinstance(sdk, Reply) else _refreshed(sdk, limited=not context.refresh_authenticated)


def coffee(_context: Context, _call: Call) -> EventualReply:
    """Reply 418."""
    return TEAPOT


def flag_not_found(key: str) -> str:
    """Return the text for a flag that the config does not have."""
    return f"feature flag or setting with key '{key}' not found"


async def _refreshed(sdk: Sdk, *, limited: bool) -> Reply:
    outcome = await sdk.refresh(limited=limited)
    return REFRESHED if outcome.error is None else text(500, outcome.error)


def _find_sdk(context: Context, call: Call) -> Sdk | Reply:
    sdk_id = call.parameters.get("sdkId")
    if sdk_id is not None:
        return context.registry.by_id(sdk_id) or SDK_UNKNOWN
    key = call.header(SDK_KEY)
    if not key:
        return NO_SDK
    return context.registry.by_key(header_text(key)) or SDK_UNKNOWN


def _invalid_body(error: InvalidJson) -> Reply:
    return text(400, f"failed to parse JSON body: {error}")


def _flag_reply(
    context: Context, sdk: Sdk, snapshot: Snapshot, key: str, request: Mapping[str, Attribute] | None
) -> Reply:
    user = effective_user(request, sdk.defaults)
    try:
        result = snapshot.evaluate(key, user)
    except KeyError:
        context.clients.unknown(sdk.id, key)
        return text(400, flag_not_found(key))
    context.clients.named[sdk.id].add(key)
    if context.sample.armed:
        context.sample.take(sdk.id, user)
    if context.on_evaluated is not None:
        context.on_evaluated(result, user)
    return json(result.json) if result.error is None else REQUEST_FAILED


def _all_flags_reply(
    context: Context, sdk: Sdk, snapshot: Snapshot, request: Mapping[str, Attribute] | None
) -> EventualReply:
    user = effective_user(request, sdk.defaults)
    if snapshot.large and not snapshot.is_evaluated(user):
        return when_evaluated(context, snapshot, user, lambda: _all_flags_reply(context, sdk, snapshot, request))
    evaluation = snapshot.evaluate_all(user)
    if context.sample.armed:
        context.sample.take(sdk.id, user)
    if context.on_all_evaluated is not None:
        context.on_all_evaluated(evaluation.results(), user)
    return json(evaluation.json())


def _keys_reply(context: Context, sdk: Sdk, snapshot: Snapshot) -> Reply:
    known = context.key_lists.get(sdk.id)
    if known is None or known[0] is not snapshot:
        encoded = b'{"keys":[' + b",".join(quoted(key) for key in snapshot.keys) + b"]}"
        known = context.key_lists[sdk.id] = (snapshot, encoded)
    return json(known[1])
