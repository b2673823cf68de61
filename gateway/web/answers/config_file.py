"""The CDN proxy: the config file for ConfigCat's own SDKs, byte for byte as the upstream sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from msgspec.structs import replace

from gateway.web.answers.lookup import SDK_NOT_LOADED, SDK_UNKNOWN, with_snapshot
from gateway.web.compress import BROTLI_HEADERS, GZIP_HEADERS, VARY, wants_brotli, wants_gzip
from gateway.web.etags import client_has
from gateway.web.values import Reply, text

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from gateway.flags import Snapshot
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, EventualReply

FILE = "config_v6.json"
SUFFIX = "/" + FILE
BY_ID = "configcat-proxy/"

NO_SDK = text(400, "'sdkId' path parameter must be set")
PLAIN = (VARY,)
CACHING = (b"Cache-Control", b"max-age=0, must-revalidate")
CONTENT_TYPE = (b"Content-Type", b"application/json")


def config_file(context: Context, call: Call) -> EventualReply:
    """Reply with the config file of the SDK that the path names by key or by ``configcat-proxy/<id>``."""
    path = call.parameters.get("path", "")
    by_id = (path + "/").startswith(BY_ID)
    name = path[len(BY_ID) :] if by_id else path
    name = name.removesuffix(SUFFIX)
    if not name:
        return NO_SDK
    sdk = context.registry.by_id(name) if by_id else context.registry.by_key(name)
    if sdk is None:
        return NO_SDK if name == FILE else SDK_UNKNOWN
    return with_snapshot(sdk, lambda snapshot: _file(context, call, sdk, snapshot), SDK_NOT_LOADED)


def _file(context: Context, call: Call, sdk: Sdk, snapshot: Snapshot) -> EventualReply:
    etag = snapshot.etag.encode()
    encoding = BROTLI_HEADERS if wants_brotli(call) else GZIP_HEADERS if wants_gzip(call) else PLAIN
    if client_has(call, etag, _query_etag(call.query)):
        return Reply(304, (CACHING, (b"Etag", etag), *encoding))
    body = snapshot.body if encoding is PLAIN else context.encodings.body(sdk, snapshot, encoding, context.clock)
    reply = Reply(200, (CACHING, CONTENT_TYPE, (b"Etag", etag), *encoding), body if isinstance(body, bytes) else b"")
    return reply if isinstance(body, bytes) else _with_body(reply, body)


async def _with_body(reply: Reply, body: Deferred[bytes]) -> Reply:
    return replace(reply, body=await body)


def _query_etag(query: str) -> bytes:
    if "ccetag" not in query:
        return b""
    try:
        found = parse_qs(query, errors="surrogateescape", max_num_fields=100)
        return found["ccetag"][0].encode(errors="surrogateescape")
    except (KeyError, ValueError):
        return b""
