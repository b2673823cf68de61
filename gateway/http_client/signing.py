"""The headers of one POST: message id, sequence and signatures.

``X-Hub-Signature-256`` is GitHub's, ``X-Flagsmith-Signature`` Flagsmith's; ``webhook-…`` are those of Standard Webhooks
(https://www.standardwebhooks.com), whose signature covers ``id.timestamp.body``.
Each attempt has signatures of its own: secrets may have been rotated, and a Standard Webhooks time is an attempt's.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from hashlib import sha256
from hmac import digest
from typing import TYPE_CHECKING, Final

from gateway.http_client.agent import USER_AGENT
from gateway.settings import OWN_HEADERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WHSEC: Final = "whsec_"


def headers_for(
    message_id: str, style: str, body: bytes, secrets: Sequence[str], now: int, sequence: int
) -> list[tuple[str, str]]:
    """Return the headers of one attempt; ``now`` in Unix seconds, ``secrets`` with the newest first, unsigned if empty.

    ``style`` is an endpoint's format, or ``exporter``; ``sequence`` counts the messages of the endpoint.
    """
    headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", USER_AGENT),
        ("X-Flaggateway-Delivery", message_id),
        ("X-Flaggateway-Sequence", str(sequence)),
    ]
    if not secrets:
        return headers
    # The verifiers of these two use one key: the text of the newest secret, ``whsec_`` included.
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
    """Return the key of Standard Webhooks signatures: the base64 after ``whsec_``, else the text's own bytes.

    A text with ``whsec_`` and no valid base64 after it is used as it is.
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
    """Return the headers of the settings, one pair per value, except those that HTTP or ``headers_for`` set."""
    return [
        (name, value)
        for name, values in headers.items()
        if name.lower() not in OWN_HEADERS
        for value in ([values] if isinstance(values, str) else values)
    ]
