"""OpenFeature's remote evaluation protocol: ``/ofrep/v1/evaluate/flags``. Errors are JSON here, but for 401."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from gateway.web.api import unknown_flag
from gateway.web.gojson import Unreadable, fields, quoted
from gateway.web.locate import (
    INVALID_STATE,
    SDK_ID,
    SDK_KEY,
    UNKNOWN_SDK,
    attributes,
    key_text,
    loaded,
    user_of,
)
from gateway.web.values import JSON_HEADERS, Reply, json

if TYPE_CHECKING:
    from gateway.flags import Attribute, Snapshot, User
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, Outcome

INVALID = json(b'{"errorDetails":' + quoted(INVALID_STATE) + b"}", 500)
FAILED = json(b'{"errorDetails":"the request failed; please check the server logs for more details"}', 500)
NO_SDK = "either the 'X-ConfigCat-SdkId' or 'X-ConfigCat-SdkKey' header must be set"

CONTEXT: dict[str, type] = {"context": dict}
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

    def go(snapshot: Snapshot) -> Reply:
        try:
            result = snapshot.evaluate(key, user_of(sdk, user))
        except KeyError:
            return _error(404, "FLAG_NOT_FOUND", unknown_flag(key), key)
        return json(result.ofrep) if result.error is None else FAILED

    return loaded(sdk, go, INVALID)


def evaluate_all(context: Context, call: Call) -> Outcome:
    """Answer with all flags, or 304 when ``If-None-Match`` names the validator of that very answer."""
    try:
        user = _user(call.body)
    except Unreadable as error:
        return _error(400, "INVALID_CONTEXT", f"failed to parse JSON body: {error}")
    sdk = _sdk(context, call)
    if isinstance(sdk, Reply):
        return sdk
    return loaded(sdk, lambda snapshot: _bulk(call, snapshot, user_of(sdk, user)), INVALID)


def bulk_etag(snapshot: Snapshot, user: User | None) -> bytes:
    """Return the validator of a bulk answer: equal on every node for an equal config and an equal effective context."""
    state = blake2b(snapshot.tag.encode(), digest_size=ETAG_BYTES)
    state.update(b"\0-" if user is None else b"\0+")
    for name, value in sorted(user.attributes.items()) if user is not None else ():
        state.update(quoted(name) + _attribute(value))
    return b'W/"' + state.hexdigest().encode() + b'"'


def _attribute(value: Attribute) -> bytes:
    """Return an unambiguous text of one attribute: type and every list item count."""
    if isinstance(value, str):
        return b"s" + quoted(value)
    if isinstance(value, tuple):
        return b"l[" + b",".join(quoted(item) for item in value) + b"]"
    return b"n" + repr(float(value)).encode() + b";"


def _bulk(call: Call, snapshot: Snapshot, user: User | None) -> Reply:
    etag = bulk_etag(snapshot, user)
    if call.header(b"if-none-match") == etag:
        return Reply(304, ((b"Etag", etag),))
    items = b",".join([result.ofrep for result in snapshot.evaluate_all(user)])
    return Reply(200, (*JSON_HEADERS, (b"Etag", etag)), b'{"flags":[' + items + b"]}")


def _user(body: bytes) -> dict[str, Attribute] | None:
    if not body:
        return None
    found = fields(body, CONTEXT)
    if "context" not in found:
        return None
    user = attributes(found["context"])
    if "targetingKey" in user:
        user["Identifier"] = user["targetingKey"]
    return user


def _sdk(context: Context, call: Call, key: str | None = None) -> Sdk | Reply:
    sdk_id, sdk_key = call.header(SDK_ID), call.header(SDK_KEY)
    if not sdk_id and not sdk_key:
        return _error(400, "GENERAL", NO_SDK, key)
    registry = context.registry
    sdk = registry.by_id(key_text(sdk_id)) if sdk_id else registry.by_key(key_text(sdk_key))
    return sdk or _error(404, "GENERAL", UNKNOWN_SDK, key)


def _error(status: int, code: str, details: str, key: str | None = None) -> Reply:
    head = b"{" if key is None else b'{"key":' + quoted(key) + b","
    return json(head + b'"errorCode":"' + code.encode() + b'","errorDetails":' + quoted(details) + b"}", status)
