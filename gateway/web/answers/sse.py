"""Event streams: ``/sse/…``. Decides whether a stream may open and for which user; the server opens it.

A browser's ``EventSource`` never reconnects after a status other than 200. A client that sends
``Accept: text/event-stream`` therefore gets 200 and a ``retry`` when the obstacle is temporary.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from msgspec import Struct
from msgspec.structs import replace

from gateway.flags import effective_user
from gateway.streams import StreamOptions, parse_event_id
from gateway.web.answers.api import flag_not_found
from gateway.web.answers.go_json import InvalidJson, read_fields
from gateway.web.answers.lookup import SDK_NOT_LOADED, SDK_UNKNOWN, read_attributes, when_evaluated, with_snapshot
from gateway.web.answers.wait_for_config import wait_for_config
from gateway.web.auth import client_address
from gateway.web.values import Reply, StreamReply, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute, Snapshot, User
    from gateway.streams import Mode
    from gateway.web.context import Context
    from gateway.web.ports import RefusalReason, Sdk
    from gateway.web.values import Call, EventualReply, HeaderLines

CONTENT_TYPE = (b"Content-Type", b"text/event-stream")
# ``no-transform`` keeps proxies from compressing, which collects events (Node's ``compression()``); the second header
# keeps nginx from collecting them until its buffer is full.
STREAM_HEADERS: HeaderLines = ((b"Cache-Control", b"no-cache, no-transform"), (b"X-Accel-Buffering", b"no"))
OPEN_HEADERS: HeaderLines = (CONTENT_TYPE, *STREAM_HEADERS)


def _busy(status: int, message: str) -> Reply:
    reply = text(status, message)
    return replace(reply, headers=(*reply.headers, (b"Retry-After", b"10")))


NO_DATA = text(400, "'data' path parameter must be set")
BAD_DATA = text(400, "failed to decode incoming 'data'")
NO_SDK = text(400, "either the 'sdkId' path parameter or the 'sdkKey' data parameter must be set")
NO_KEY = text(400, "'key' must be set")
BAD_MODE = text(400, "'mode' must be 'plain' or 'delta'")
BAD_RESUME = text(400, "'resume' must be 'quiet'")
TOO_MANY_STREAMS = _busy(503, "the gateway has reached its limit of open streams")
CALLER_HAS_ALL = _busy(429, "the caller has reached its limit of open streams")
QUERY_FIELDS = 100  # a longer query counts as empty

NO_EVENT = parse_event_id("")
DATA_FIELDS: dict[str, type] = {"sdkkey": str, "key": str, "user": dict}
URL_SAFE = bytes.maketrans(b"-_", b"+/")


class StreamData(Struct, frozen=True):
    """What the path of a stream contains; ``user`` is None when absent."""

    sdk_key: str = ""
    key: str = ""
    user: Mapping[str, Attribute] | None = None


def stream_one(context: Context, call: Call) -> EventualReply:
    """Open a stream of one flag."""
    return _stream(context, call, single=True)


def stream_all(context: Context, call: Call) -> EventualReply:
    """Open a stream of all flags."""
    return _stream(context, call, single=False)


def stream_error(reply: Reply) -> Reply:
    """Return an error of a stream route; it has the headers of a stream, as in ConfigCat Proxy."""
    return replace(reply, headers=reply.headers + STREAM_HEADERS)


NOT_LOADED = stream_error(SDK_NOT_LOADED)


def last_event(call: Call, query: Mapping[str, str]) -> tuple[str, str]:
    """Return config tag and digest of the last event that a client got, by its header or ``last_event_id``."""
    header = call.header(b"last-event-id")
    event_id = header.decode("latin-1") if header else query.get("last_event_id", "")
    return parse_event_id(event_id) if event_id else NO_EVENT


def read_query(call: Call) -> dict[str, str]:
    """Return the fields of the query, the last of each name; none of one that has too many."""
    if not call.query:
        return {}
    try:
        return dict(parse_qsl(call.query, keep_blank_values=True, max_num_fields=QUERY_FIELDS))
    except ValueError:
        return {}


def is_event_source(call: Call) -> bool:
    """Return whether the client is an ``EventSource``, which waits on an open stream but takes no refusal."""
    return b"text/event-stream" in call.header(b"accept").lower()


def find_sdk(context: Context, call: Call, sdk_key: str) -> Sdk | Reply:
    """Return the SDK that the path or ``sdk_key`` names."""
    sdk_id = call.parameters.get("sdkId")
    if sdk_id is not None:
        return context.registry.by_id(sdk_id) or SDK_UNKNOWN
    if not sdk_key:
        return NO_SDK
    return context.registry.by_key(sdk_key) or SDK_UNKNOWN


def open_stream(
    context: Context, call: Call, sdk: Sdk, flag: str | None, user: User | None, options: StreamOptions
) -> EventualReply:
    """Return the stream, or a refusal when a limit is reached; the server counts the stream when it opens it."""
    snapshot = sdk.snapshot
    if flag is None and snapshot is not None and snapshot.large and not snapshot.is_evaluated(user):
        return when_evaluated(context, snapshot, user, lambda: open_stream(context, call, sdk, flag, user, options))
    address = client_address(call, context.trusted_proxies)
    reason, caller = _limit_reached(context, address), context.caller
    if reason is None:
        counter = None if caller is None else caller.counter
        return StreamReply(sdk, flag, user, address, OPEN_HEADERS, options, counter)
    context.stream_refused(reason)
    refusal = CALLER_HAS_ALL if reason == "key" else TOO_MANY_STREAMS
    return later(context, call, refusal, "the limit of open streams is reached")


def later(context: Context, call: Call, refusal: Reply, reason: str) -> Reply:
    """Return the refusal for a reason that will pass: for an EventSource an empty stream, after which it comes back."""
    if not is_event_source(call):
        return stream_error(refusal)
    return Reply(200, OPEN_HEADERS, b"retry: %d\n: %b\n" % (context.stream_retry(), reason.encode()))


def _limit_reached(context: Context, address: str) -> RefusalReason | None:
    """Return the reason that ``WebMetrics.stream_refused`` counts, None when another stream may open."""
    if context.caller is not None and context.caller.has_all_streams:
        return "key"
    limits, open_streams = context.limits, context.state.streams
    if limits.total and open_streams.total >= limits.total:
        return "connections"
    if limits.per_address and open_streams.by_address.get(address, 0) >= limits.per_address:
        return "address"
    return None if context.room_for_stream() else "files"


def _stream(context: Context, call: Call, *, single: bool) -> EventualReply:
    data = _read_data(call, required=single or "sdkId" not in call.parameters)
    if isinstance(data, Reply):
        return stream_error(data)
    sdk = find_sdk(context, call, data.sdk_key)
    if isinstance(sdk, Reply):
        return stream_error(sdk)
    flag, identity = data.key if single else None, call.identity
    if identity is not None:
        return stream_values(context, call, sdk, flag, identity.attributes_with(data.user), identity.ends)
    return stream_values(context, call, sdk, flag, data.user)


def stream_values(
    context: Context,
    call: Call,
    sdk: Sdk,
    flag: str | None,
    user: Mapping[str, Attribute] | None,
    ends: float = 0.0,
) -> EventualReply:
    """Open the stream of one flag, or of all (None), in the mode that the query names, for the request's ``user``.

    It ends at ``ends``, Unix seconds, unless that is 0.
    """
    query = read_query(call)
    mode = _read_mode(query)
    if isinstance(mode, Reply):
        return stream_error(mode)
    tag, digest = last_event(call, query)
    options = StreamOptions(mode, digest, "resume" in query, ends)
    return wait_for_config(context, sdk, tag, lambda: _open(context, call, sdk, flag, user, options))


def _open(
    context: Context,
    call: Call,
    sdk: Sdk,
    flag: str | None,
    request: Mapping[str, Attribute] | None,
    options: StreamOptions,
) -> EventualReply:
    def answer(snapshot: Snapshot | None) -> EventualReply:
        if flag == "":
            return stream_error(NO_KEY)
        # An EventSource waits for the flag: it may be created later, or was deleted while the client reconnected.
        if flag is not None and snapshot is not None:
            if flag in snapshot.flags:
                context.clients.named[sdk.id].add(flag)
            else:
                context.clients.unknown(sdk.id, flag)
                if not is_event_source(call):
                    return stream_error(text(400, flag_not_found(flag)))
        return open_stream(context, call, sdk, flag, effective_user(request, sdk.defaults), options)

    if sdk.snapshot is None and is_event_source(call):
        return answer(None)
    return with_snapshot(sdk, answer, NOT_LOADED)


def _read_mode(query: Mapping[str, str]) -> Mode | Reply:
    if query.get("resume", "quiet") != "quiet":
        return BAD_RESUME
    mode = query.get("mode", "plain")
    if mode == "delta":
        return "delta"
    return "plain" if mode == "plain" else BAD_MODE


def _read_data(call: Call, *, required: bool) -> StreamData | Reply:
    data = call.parameters.get("data", "")
    if not data:
        return NO_DATA if required else StreamData()
    try:
        raw = _decode(data)
    except ValueError:
        return BAD_DATA
    try:
        found = read_fields(_utf8(raw), DATA_FIELDS)
        user = read_attributes(found["user"]) if "user" in found else None
    except InvalidJson as error:
        return text(400, f"failed to deserialize incoming 'data': {error}")
    return StreamData(str(found.get("sdkkey") or ""), str(found.get("key") or ""), user)


def _decode(data: str) -> bytes:
    """Return the bytes of base64 text in the URL-safe or the standard alphabet, padded or not.

    :raises ValueError: when it is neither.
    """
    encoded = data.encode().translate(URL_SAFE, b"\r\n").rstrip(b"=")
    return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)


def _utf8(raw: bytes) -> bytes:
    """Return ``raw`` as UTF-8; a browser's ``btoa`` encodes accented letters as Latin-1."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1").encode()
    return raw
