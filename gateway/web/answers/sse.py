"""Event streams: ``/sse/…``. Decides whether a stream may open and for whom; opening it is the carrier's work.

A browser's ``EventSource`` gives up for ever on any status but 200, so a client that says it is one
(``Accept: text/event-stream``) gets 200 and a ``retry`` where the obstacle is temporary.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from msgspec import Struct
from msgspec.structs import replace

from gateway.streams import StreamOptions, parse_event_id
from gateway.web.answers.api import unknown_flag
from gateway.web.answers.go_json import Unreadable, fields
from gateway.web.answers.lookup import SDK_NOT_LOADED, SDK_UNKNOWN, attributes, loaded, user_of
from gateway.web.answers.wait_for_config import patiently
from gateway.web.auth import caller
from gateway.web.values import Reply, StreamReply, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute, Snapshot, User
    from gateway.streams import Mode
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Answered, Call, HeaderLines, Outcome

CONTENT_TYPE = (b"Content-Type", b"text/event-stream")
# The second keeps nginx from gathering events until its buffer is full.
STREAM_HEADERS: HeaderLines = (
    (b"Cache-Control", b"no-cache"),
    (b"X-Accel-Buffering", b"no"),
)

NO_DATA = text(400, "'data' path parameter must be set")
BAD_DATA = text(400, "failed to decode incoming 'data'")
NO_SDK = text(400, "either the 'sdkId' path parameter or the 'sdkKey' data parameter must be set")
NO_KEY = text(400, "'key' must be set")
FULL = text(503, "the gateway has reached its limit of open streams")
RETRY_AFTER = (b"Retry-After", b"10")
BAD_MODE = text(400, "'mode' must be 'plain' or 'delta'")
BAD_RESUME = text(400, "'resume' must be 'quiet'")
QUERY_FIELDS = 100  # more than that is no stream's query

DATA: dict[str, type] = {"sdkkey": str, "key": str, "user": dict}
URL_SAFE = bytes.maketrans(b"-_", b"+/")


FAILED = Reply(SDK_NOT_LOADED.status, SDK_NOT_LOADED.headers + STREAM_HEADERS, SDK_NOT_LOADED.body)


class Data(Struct, frozen=True):
    """What the path of a stream carries; ``user`` is None when it names no user."""

    sdk_key: str = ""
    key: str = ""
    user: Mapping[str, Attribute] | None = None


def stream_one(context: Context, call: Call) -> Outcome:
    """Open a stream of one flag."""
    return _stream(context, call, single=True)


def stream_all(context: Context, call: Call) -> Outcome:
    """Open a stream of all flags."""
    return _stream(context, call, single=False)


def decode(data: str) -> bytes:
    """Return the bytes of base64 text in the URL-safe or the standard alphabet, padded or not.

    :raises ValueError: when it is neither.
    """
    encoded = data.encode().translate(URL_SAFE, b"\r\n").rstrip(b"=")
    return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)


def resumed(call: Call, query: Mapping[str, str]) -> tuple[str, str]:
    """Return the config tag and the digest that a client saw last: by its header, else by ``last_event_id``."""
    header = call.header(b"last-event-id")
    return parse_event_id(header.decode("latin-1") if header else query.get("last_event_id", ""))


def query_of(call: Call) -> dict[str, str]:
    """Return the fields of the query, the last of each name; an endless query has none."""
    if not call.query:
        return {}
    try:
        return dict(parse_qsl(call.query, keep_blank_values=True, max_num_fields=QUERY_FIELDS))
    except ValueError:
        return {}


def is_patient(call: Call) -> bool:
    """Whether the caller says that it is an ``EventSource``, which can wait on an open stream but take no refusal."""
    return b"text/event-stream" in call.header(b"accept").lower()


def admitted(
    context: Context, call: Call, sdk: Sdk, flag: str | None, user: User | None, options: StreamOptions
) -> Answered:
    """Return the stream, or the refusal where a cap is reached; whoever opens the stream counts it."""
    address = caller(call, context.trusted_proxies)
    reason = _full(context, address)
    if reason is not None:
        context.stream_refused(reason)
        if not is_patient(call):
            return failed(replace(FULL, headers=(*FULL.headers, RETRY_AFTER)))
        body = b"retry: %d\n\n: the limit of open streams is reached\n\n" % context.stream_retry()
        return Reply(200, (CONTENT_TYPE, *STREAM_HEADERS), body)
    headers = (CONTENT_TYPE, *STREAM_HEADERS)
    return StreamReply(sdk, flag, user, address, headers, options)


def failed(reply: Reply) -> Reply:
    """Return an error of a stream route; it keeps the headers of a stream, as existing clients see it."""
    return replace(reply, headers=reply.headers + STREAM_HEADERS)


def _stream(context: Context, call: Call, *, single: bool) -> Outcome:
    data = _data(call, required=single or "sdkId" not in call.parameters)
    if isinstance(data, Reply):
        return failed(data)
    query = query_of(call)
    mode = _mode(query)
    if isinstance(mode, Reply):
        return failed(mode)
    sdk = _sdk(context, call, data)
    if isinstance(sdk, Reply):
        return failed(sdk)
    tag, last_digest = resumed(call, query)
    options = StreamOptions(mode, last_digest, "resume" in query)
    flag = data.key if single else None
    return patiently(context, sdk, tag, lambda: _open(context, call, sdk, flag, data.user, options))


def _open(
    context: Context,
    call: Call,
    sdk: Sdk,
    flag: str | None,
    user: Mapping[str, Attribute] | None,
    options: StreamOptions,
) -> Outcome:
    if sdk.snapshot is None and is_patient(call):
        return admitted(context, call, sdk, flag, user_of(sdk, user), options) if flag != "" else failed(NO_KEY)

    def go(snapshot: Snapshot) -> Answered:
        if flag == "":
            return failed(NO_KEY)
        if flag is not None and flag not in snapshot.flags:
            return failed(text(400, unknown_flag(flag)))
        return admitted(context, call, sdk, flag, user_of(sdk, user), options)

    return loaded(sdk, go, FAILED)


def _mode(query: Mapping[str, str]) -> Mode | Reply:
    if query.get("resume", "quiet") != "quiet":
        return BAD_RESUME
    mode = query.get("mode", "plain")
    if mode == "delta":
        return "delta"
    return "plain" if mode == "plain" else BAD_MODE


def _full(context: Context, address: str) -> str | None:
    """Return which cap is reached."""
    limits, open_streams = context.limits, context.state.streams
    if limits.total and open_streams.total >= limits.total:
        return "connections"
    if limits.per_address and open_streams.by_address.get(address, 0) >= limits.per_address:
        return "address"
    return None


def _data(call: Call, *, required: bool) -> Data | Reply:
    data = call.parameters.get("data", "")
    if not data:
        return NO_DATA if required else Data()
    try:
        raw = decode(data)
    except ValueError:
        return BAD_DATA
    try:
        found = fields(_utf8(raw), DATA)
        user = attributes(found["user"]) if "user" in found else None
    except Unreadable as error:
        return text(400, f"failed to deserialize incoming 'data': {error}")
    return Data(str(found.get("sdkkey") or ""), str(found.get("key") or ""), user)


def _utf8(raw: bytes) -> bytes:
    """Return ``raw`` as UTF-8; a browser's ``btoa`` makes Latin-1 of a text with accents."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1").encode()
    return raw


def _sdk(context: Context, call: Call, data: Data) -> Sdk | Reply:
    sdk_id = call.parameters.get("sdkId")
    if sdk_id is not None:
        return context.registry.by_id(sdk_id) or SDK_UNKNOWN
    if not data.sdk_key:
        return NO_SDK
    return context.registry.by_key(data.sdk_key) or SDK_UNKNOWN
