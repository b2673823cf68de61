"""Short URLs of streams: ``POST /sse/{sdkId}/streams`` issues one, ``GET`` on it opens the stream.

A browser's ``EventSource`` can only GET, so the user would have to be in the URL, where access logs keep it and
proxies limit its length.  Instead, a script sends the user in a body and opens the encrypted URL that it gets.
Refused when it is issued is what can never work: a body that is not valid, an SDK that does not exist.  Whether the
flag exists is decided when the stream opens, because it may be created, or deleted, before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.clocks import wall_clock
from gateway.text import iso
from gateway.web.answers.go_json import InvalidJson, read_fields
from gateway.web.answers.lookup import SDK_UNKNOWN, read_attributes
from gateway.web.answers.sse import DATA_FIELDS, NO_KEY, find_sdk, stream_error, stream_values
from gateway.web.stream_url import Expired, Target
from gateway.web.values import JSON_HEADERS, Reply, text

if TYPE_CHECKING:
    from gateway.web.context import Context
    from gateway.web.values import Call, EventualReply

NOT_VALID = stream_error(text(403, "the URL of this stream is not valid, or not any more; request a new one"))
EXPIRED = stream_error(text(410, "the URL of this stream has expired; request a new one"))
NO_STORE = (b"Cache-Control", b"no-store")


def create(context: Context, call: Call) -> Reply:
    """Reply with the URL of a stream of one flag, or without ``key`` of all flags, for the user in the body."""
    try:
        found = read_fields(call.body, DATA_FIELDS)
        user = read_attributes(found["user"]) if "user" in found else None
    except InvalidJson as error:
        return text(400, f"failed to parse JSON body: {error}")
    identity = call.identity
    if identity is not None:
        user = dict(identity.attributes_with(user))
    key = found.get("key")
    if key == "":
        return NO_KEY
    sdk = find_sdk(context, call, str(found.get("sdkkey") or ""))
    if isinstance(sdk, Reply):
        return sdk
    public_url = context.public_url
    ends = 0.0 if identity is None else identity.ends
    caller = "" if context.caller is None else context.caller.name
    target = Target(key if isinstance(key, str) else None, user, ends, caller)
    issued = context.stream_urls.issue(sdk, target, wall_clock(context.clock)())
    path = b"" if issued is None else public_url.prefix_of(call) + issued[0]
    if issued is None or not public_url.fits(path):
        reason = f"the URL of this stream would exceed {public_url.max_bytes} bytes (http.max_stream_url)"
        return text(413, f"{reason}; send fewer or shorter user attributes")
    url = public_url.origin + path
    body = msgspec.json.encode({"url": url.decode("ascii"), "expires_at": iso(issued[1])})
    return Reply(201, ((b"Location", url), *JSON_HEADERS, NO_STORE), body)


def stream(context: Context, call: Call) -> EventualReply:
    """Open the stream of a short URL."""
    sdk = context.registry.by_id(call.parameters["sdkId"])
    if sdk is None:
        return stream_error(SDK_UNKNOWN)
    try:
        target = context.stream_urls.read(sdk, call.parameters["token"], wall_clock(context.clock)())
    except Expired:
        return EXPIRED
    except ValueError:
        return NOT_VALID
    if target.caller:
        own = None if context.callers is None else context.callers.context_of(target.caller)
        if context.callers is None or own is None or own.registry.by_id(sdk.id) is None:
            return NOT_VALID  # the key was removed, or may not use the SDK any more
        refusal = context.callers.admit(target.caller, "sse", call)
        if refusal is not None:
            return refusal
        context = own
    return stream_values(context, call, sdk, target.key, target.user, target.ends)
