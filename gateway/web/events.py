"""Event streams: ``/sse/…``. Decides whether a stream may open and for whom; opening it is the carrier's work.

A browser's ``EventSource`` gives up for ever on any status but 200, so a client that says it is one
(``Accept: text/event-stream``) gets 200 and a ``retry`` where the obstacle is temporary.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from gateway.web.api import unknown_flag
from gateway.web.auth import caller
from gateway.web.gojson import Unreadable, fields
from gateway.web.locate import INVALID, UNKNOWN, attributes, loaded, user_of
from gateway.web.values import Reply, StreamReply, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute, Snapshot
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, HeaderLines, Outcome

CONTENT_TYPE = (b"Content-Type", b"text/event-stream")
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

DATA: dict[str, type] = {"sdkkey": str, "key": str, "user": dict}
URL_SAFE = bytes.maketrans(b"-_", b"+/")


@frozen
class Data:
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


def _stream(context: Context, call: Call, *, single: bool) -> Outcome:
    data = _data(call, required=single or "sdkId" not in call.parameters)
    if isinstance(data, Reply):
        return _failed(data)
    sdk = _sdk(context, call, data)
    if isinstance(sdk, Reply):
        return _failed(sdk)
    flag, user = data.key if single else None, data.user
    patient = b"text/event-stream" in call.header(b"accept").lower()
    if sdk.snapshot is None and patient:
        return _admitted(context, call, sdk, flag, user, patient=True) if flag != "" else _failed(NO_KEY)

    def go(snapshot: Snapshot) -> Reply | StreamReply:
        if flag == "":
            return _failed(NO_KEY)
        if flag is not None and flag not in snapshot.flags:
            return _failed(text(400, unknown_flag(flag)))
        return _admitted(context, call, sdk, flag, user, patient=patient)

    return loaded(sdk, go, _failed(INVALID))


def _admitted(
    context: Context, call: Call, sdk: Sdk, flag: str | None, user: Mapping[str, Attribute] | None, *, patient: bool
) -> Reply | StreamReply:
    address = caller(call, context.trusted)
    if _full(context, address):
        if not patient:
            return _failed(evolve(FULL, headers=(*FULL.headers, RETRY_AFTER)))
        body = b"retry: %d\n\n: the limit of open streams is reached\n\n" % context.stream_retry()
        return Reply(200, (CONTENT_TYPE, *STREAM_HEADERS), body)
    return StreamReply(
        sdk,
        flag,
        user_of(sdk, user),
        address,
        (CONTENT_TYPE, *STREAM_HEADERS),
        call.query,
        call.header(b"last-event-id").decode("utf-8", "replace"),
    )


def _full(context: Context, address: str) -> bool:
    limits, open_streams = context.limits, context.memory.streams
    if limits.total and open_streams.total >= limits.total:
        return True
    return bool(limits.per_address) and open_streams.by_address.get(address, 0) >= limits.per_address


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
        return context.registry.by_id(sdk_id) or UNKNOWN
    if not data.sdk_key:
        return NO_SDK
    return context.registry.by_key(data.sdk_key) or UNKNOWN


def _failed(reply: Reply) -> Reply:
    """Return an error of a stream route; it keeps the headers of a stream, as existing clients see it."""
    return evolve(reply, headers=reply.headers + STREAM_HEADERS)
