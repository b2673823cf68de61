"""The evaluation API: ``/api/…``. Order of checks: body, then SDK, then its state, then the flag.

400 for a body that cannot be read, an SDK that is not named and a flag that there is not; 404 for an unknown SDK; 500
where the SDK has no config, or evaluation fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.answers.bodies import evaluation, evaluation_of_all
from gateway.web.answers.go_json import Unreadable, quoted
from gateway.web.answers.lookup import REQUEST_FAILED, SDK_KEY, SDK_NOT_LOADED, SDK_UNKNOWN, key_text, loaded, user_of
from gateway.web.values import Reply, json, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute, Snapshot
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, Outcome

NO_SDK = text(400, "either the 'sdkId' path variable or 'X-ConfigCat-SdkKey' header must be set")
REFRESHED = Reply(200)
TEAPOT = Reply(418)


def evaluate(context: Context, call: Call) -> Outcome:
    """Answer with one flag's value for one user."""
    try:
        key, user = evaluation(call.body)
    except Unreadable as error:
        return _unparsable(error)
    sdk = _sdk(context, call)
    if isinstance(sdk, Reply):
        return sdk
    if sdk.snapshot is not None:
        return _evaluated(context, sdk, sdk.snapshot, key, user)
    return loaded(sdk, lambda snapshot: _evaluated(context, sdk, snapshot, key, user), SDK_NOT_LOADED)


def evaluate_all(context: Context, call: Call) -> Outcome:
    """Answer with the values of all flags for one user."""
    try:
        user = evaluation_of_all(call.body)
    except Unreadable as error:
        return _unparsable(error)
    sdk = _sdk(context, call)
    if isinstance(sdk, Reply):
        return sdk
    if sdk.snapshot is not None:
        return _all(context, sdk, sdk.snapshot, user)
    return loaded(sdk, lambda snapshot: _all(context, sdk, snapshot, user), SDK_NOT_LOADED)


def keys(context: Context, call: Call) -> Outcome:
    """Answer with the keys of all flags, sorted."""
    sdk = _sdk(context, call)
    if isinstance(sdk, Reply):
        return sdk
    return loaded(sdk, lambda snapshot: _keys(context, sdk, snapshot), SDK_NOT_LOADED)


def refresh(context: Context, call: Call) -> Outcome:
    """Fetch the config again and answer when that has ended; works for an SDK that never loaded, too."""
    sdk = _sdk(context, call)
    if isinstance(sdk, Reply):
        return sdk
    return _refreshed(sdk, limited=not context.refresh_authenticated)


def coffee(_context: Context, _call: Call) -> Outcome:
    """Answer 418."""
    return TEAPOT


def unknown_flag(key: str) -> str:
    """Return the text for a flag that the config does not have."""
    return f"feature flag or setting with key '{key}' not found"


async def _refreshed(sdk: Sdk, *, limited: bool) -> Reply:
    outcome = await sdk.refresh(limited=limited)
    return REFRESHED if outcome.error is None else text(500, outcome.error)


def _sdk(context: Context, call: Call) -> Sdk | Reply:
    sdk_id = call.parameters.get("sdkId")
    if sdk_id is not None:
        return context.registry.by_id(sdk_id) or SDK_UNKNOWN
    key = call.header(SDK_KEY)
    if not key:
        return NO_SDK
    return context.registry.by_key(key_text(key)) or SDK_UNKNOWN


def _unparsable(error: Unreadable) -> Reply:
    return text(400, f"failed to parse JSON body: {error}")


def _evaluated(
    context: Context, sdk: Sdk, snapshot: Snapshot, key: str, request: Mapping[str, Attribute] | None
) -> Reply:
    user = user_of(sdk, request)
    try:
        result = snapshot.evaluate(key, user)
    except KeyError:
        return text(400, unknown_flag(key))
    if context.on_evaluated is not None:
        context.on_evaluated(result, user)
    return json(result.json) if result.error is None else REQUEST_FAILED


def _all(context: Context, sdk: Sdk, snapshot: Snapshot, request: Mapping[str, Attribute] | None) -> Reply:
    user = user_of(sdk, request)
    if context.on_all_evaluated is None:
        return json(snapshot.encode_all(user))
    body, results = snapshot.told_all(user)
    context.on_all_evaluated(results, user)
    return json(body)


def _keys(context: Context, sdk: Sdk, snapshot: Snapshot) -> Reply:
    known = context.key_lists.get(sdk.id)
    if known is None or known[0] is not snapshot:
        encoded = b'{"keys":[' + b",".join(quoted(key) for key in snapshot.keys) + b"]}"
        known = context.key_lists[sdk.id] = (snapshot, encoded)
    return json(known[1])
