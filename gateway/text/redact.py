"""Masks secrets in text that leaves the gateway for people: log lines, status pages, error texts.

Callers do not put secrets there; this catches those in messages of libraries and in tracebacks.
"""

import re

MASK = "[redacted]"

# Two halves of 22 characters, or more: a key may directly follow or precede other characters.
_KEY_HALF = r"[A-Za-z0-9_\-+=]{22,}"
_SLASH = r"(?:/|%2[fF])"
_SECRETS = (
    # ConfigCat SDK keys: the prefixed form at any length, so that a truncated one is masked too.
    (re.compile(rf"configcat-sdk-\d+{_SLASH}[A-Za-z0-9_\-+=/%]*"), f"configcat-sdk-{MASK}"),
    (re.compile(rf"(?<![A-Za-z0-9_\-+=]){_KEY_HALF}{_SLASH}{_KEY_HALF}"), MASK),
    # The key in a CDN path, in any form; the alias after configcat-proxy/ is no secret.
    (
        re.compile(r"(/configuration-files/)(?!configcat-proxy/|\{|\*)[^\s\"'<>{}]+?(?=/config_v|[\s\"'<>{}]|$)"),
        rf"\1{MASK}",
    ),
    # Stream paths contain users as base64; route patterns, which have braces or a star, are left alone.
    (re.compile(r"/sse/[^\s\"'<>{}*]{2,}"), f"/sse/{MASK}"),
    (re.compile(r"configcat_whsk_[A-Za-z0-9_\-+/=]*"), f"configcat_whsk_{MASK}"),
    (re.compile(r"(?i)(authorization[\"':=\s]{1,8}(?:basic|bearer)\s+)[^\s\"',]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(x-configcat-sdkkey[\"':=\s]{1,8})[^\s\"',]+"), rf"\1{MASK}"),
    # user:password@ of a URL, as in the address of a proxy.
    (re.compile(r"(?<=://)[^\s/@\"'<>]+(?=@)"), MASK),
)


def redact(text: str) -> str:
    """Return ``text`` with SDK keys, stream paths, signing keys and passwords masked."""
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text
