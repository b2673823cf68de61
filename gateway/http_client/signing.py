"""The headers of one call: what it is, and the proofs that it comes from here.

``X-Hub-Signature-256`` is GitHub's, ``X-Flagsmith-Signature`` Flagsmith's; ``webhook-…`` are those of Standard Webhooks
(https://www.standardwebhooks.com), whose signature covers ``id.timestamp.body``.
Signed anew for each attempt: the secrets may have been rotated since, and the Standard Webhooks time is the attempt's.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from hashlib import sha256
from hmac import digest
from typing import TYPE_CHECKING

from gateway.settings import OWN_HEADERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WHSEC = "whsec_"


def headers_for(
    message_id: str, style: str, body: bytes, secrets: Sequence[str], now: int, sequence: int, version: str
) -> list[tuple[str, str]]:
    """Return the headers of one attempt; ``now`` in Unix seconds, ``secrets`` the newest first, none means unsigned.

    ``style`` is an endpoint's format, or ``exporter``; ``sequence`` counts the messages of the endpoint.
    """
    headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", f"flaggateway/{version}"),
        ("X-Flaggateway-Delivery", message_id),
        ("X-Flaggateway-Sequence", str(sequence)),
    ]
    if not secrets:
        return headers
    # These two have one key: the newest secret's text as it stands, ``whsec_`` included, as their verifiers take it.
    first = digest(secrets[0].encode(), body, sha256).hex()
    headers.append(("X-Hub-Signature-256", f"sha256={first}"))
    if style in {"environment", "audit_log"}:
        headers.append(("X-Flagsmith-Signature", first))
    if style == "envelope":
        signed = b"%b.%d.%b" % (message_id.encode(), now, body)
        headers.append(("webhook-id", message_id))
        headers.append(("webhook-timestamp", str(now)))
        headers.append(("webhook-signature", " ".join(_standard(secret, signed) for secret in secrets)))
    return headers


def _standard(secret: str, signed: bytes) -> str:
    return "v1," + b64encode(digest(standard_key(secret), signed, sha256)).decode()


def standard_key(secret: str) -> bytes:
    """Return the key of Standard Webhooks signatures: what ``whsec_…`` holds in base64, else the text's own bytes.

    A text that starts with ``whsec_`` and goes on with no base64 is a text like any other.
    """
    if secret.startswith(WHSEC):
        encoded = secret.removeprefix(WHSEC).rstrip("=")
        try:
            key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if key:
            return key
    return secret.encode()


def extra_headers(headers: Mapping[str, str | Sequence[str]]) -> list[tuple[str, str]]:
    """Return the headers of the settings, one pair per value, without those that HTTP or ``headers_for`` set."""
    return [
        (name, value)
        for name, values in headers.items()
        if name.lower() not in OWN_HEADERS
        for value in ([values] if isinstance(values, str) else values)
    ]
