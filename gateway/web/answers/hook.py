"""The inbound webhook: ``/hook/{sdkId}``. ConfigCat calls it when a config has changed; the gateway fetches it again.

Order of checks:

    network ► headers ► Basic (policy) ──► SDK ──► signature and time ──► call id ──► fetch, 8 s at most ──► 200
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import TYPE_CHECKING

from twisted.logger import LogLevel

from gateway.clocks import wall_clock
from gateway.deferreds import fire_within
from gateway.logger import component_logger
from gateway.web.values import Reply, text

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from twisted.internet.interfaces import IReactorTime

    from gateway.settings import Sdk as SdkSettings
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Call, EventualReply

_log = component_logger("http")

CREDIT_LIMIT = 64 * 1024  # bytes of a body that may name who changed the config; senders' templates have a few hundred
ANSWER_WITHIN = 8.0  # seconds; ConfigCat gives a webhook 10 s, and a slow upstream must not look like a failed call
SIGNATURES_LIMIT = 32  # signatures of one call that are compared; a sender that rotates keys sends two
TIMESTAMP = re.compile(rb"[+-]?[0-9]{1,19}")

ACCEPTED = Reply(200)
NO_SDK = text(400, "'sdkId' path parameter must be set")
BAD_SIGNATURE = text(400, "Signature validation failed")


def hook(context: Context, call: Call) -> EventualReply:
    """Fetch the SDK's config and reply 200 when the fetch has ended, whatever its result, or after 8 s."""
    sdk_id = call.parameters.get("sdkId", "")
    if not sdk_id:
        return NO_SDK
    sdk = context.registry.by_id(sdk_id)
    if sdk is None:
        return text(404, f"SDK not found for identifier: '{sdk_id}'")
    settings = context.sdks.get(sdk_id)
    signed = settings is not None and bool(settings.webhook_signing_key)
    if settings is not None and signed:
        now = wall_clock(context.clock)()
        until = accepted_until(call, settings, now)
        if isinstance(until, str):
            _log.debug("SDK {sdk_id}: webhook call refused: {reason}", sdk_id=sdk.id, reason=until)
            return BAD_SIGNATURE
        seen = context.state.call_ids.seen(sdk.id, call.header(b"x-configcat-webhook-id"), until, now)
        if not isinstance(seen, bool):
            return _refresh_unless(seen, context.clock, sdk, call.body)
        if seen:
            return _repeated(sdk)
    if signed or context.webhook_authenticated:
        return _refresh(context.clock, sdk, credit=call.body)
    # A call without authentication is rate limited, and its body is not used: anyone can write a name into it.
    return _refresh(context.clock, sdk, limited=True)


def hook_test(_context: Context, _call: Call) -> EventualReply:
    """Reply 200, which shows the sender that its calls arrive."""
    return ACCEPTED


def accepted_until(call: Call, settings: SdkSettings, now: float) -> float | str:
    """Return until when the signed call ``call`` is acceptable (Unix seconds), or why it is not acceptable now.

    A timestamp further from ``now`` than the validity, in the past or in the future, is refused.
    """
    call_id = call.header(b"x-configcat-webhook-id")
    stamp = call.header(b"x-configcat-webhook-timestamp")
    signatures = call.header(b"x-configcat-webhook-signature-v1")
    if not call_id or not signatures or not TIMESTAMP.fullmatch(stamp):
        return "a signature header is missing or malformed"
    valid_for = settings.webhook_signature_valid_for
    if abs(int(stamp) - now) > valid_for:
        return f"its timestamp is {int(stamp) - now:+.0f} s away, more than webhook_signature_valid_for"
    expected = signature(settings.webhook_signing_key, call_id + stamp + call.body)
    right = 0
    for candidate in signatures.split(b",", SIGNATURES_LIMIT)[:SIGNATURES_LIMIT]:
        right += compare_digest(candidate.strip(), expected)
    return int(stamp) + valid_for if right else "no signature fits the signing key and the body"


def signature(key: str, signed: bytes) -> bytes:
    """Return the signature of ``signed``: base64 of its HMAC-SHA256 under the key's whole text, prefix included."""
    return b64encode(hmac_digest(key.encode(), signed, sha256))


async def _refresh_unless(seen: Awaitable[bool], clock: IReactorTime, sdk: Sdk, credit: bytes) -> Reply:
    return _repeated(sdk) if await seen else await _refresh(clock, sdk, credit=credit)


def _repeated(sdk: Sdk) -> Reply:
    _log.debug("SDK {sdk_id}: webhook call repeated, no fetch needed", sdk_id=sdk.id)
    return ACCEPTED


async def _refresh(clock: IReactorTime, sdk: Sdk, *, limited: bool = False, credit: bytes = b"") -> Reply:
    # A call without authentication is logged as debug, because anyone can send one and fill the log.
    level = LogLevel.debug if limited else LogLevel.info
    _log.emit(level, "SDK {sdk_id}: webhook call accepted, fetching the config", sdk_id=sdk.id)
    credit = credit if len(credit) <= CREDIT_LIMIT else b""
    await fire_within(clock, sdk.refresh(limited=limited, credit=credit), ANSWER_WITHIN)
    return ACCEPTED
