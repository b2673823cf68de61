r"""The last belt before anything readable leaves the gateway: secrets by their looks, and characters that forge lines.

Callers do not log secrets in the first place; this catches what a library's message or a traceback carries along.
"""

from __future__ import annotations

import re

MASK = "[redacted]"

# Two halves of 22 characters; longer runs too, because a key may touch what stands before or after it.
_KEY_HALF = r"[A-Za-z0-9_\-+=]{22,}"
_SLASH = r"(?:/|%2[fF])"
_SECRETS = (
    # ConfigCat SDK keys: the prefixed form however long it is, so that a cut-off one is caught too.
    (re.compile(rf"configcat-sdk-\d+{_SLASH}[A-Za-z0-9_\-+=/%]*"), f"configcat-sdk-{MASK}"),
    (re.compile(rf"(?<![A-Za-z0-9_\-+=]){_KEY_HALF}{_SLASH}{_KEY_HALF}"), MASK),
    # Whatever stands for a key in a CDN path; the alias after configcat-proxy/ is no secret.
    (
        re.compile(r"(/configuration-files/)(?!configcat-proxy/|\{|\*)[^\s\"'<>{}]+?(?=/config_v|[\s\"'<>{}]|$)"),
        rf"\1{MASK}",
    ),
    # Stream paths carry users as base64; a route pattern, with its braces or star, may stay.
    (re.compile(r"/sse/[^\s\"'<>{}*]{2,}"), f"/sse/{MASK}"),
    (re.compile(r"configcat_whsk_[A-Za-z0-9_\-+/=]*"), f"configcat_whsk_{MASK}"),
    (re.compile(r"(?i)(authorization[\"':=\s]{1,8}(?:basic|bearer)\s+)[^\s\"',]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(x-configcat-sdkkey[\"':=\s]{1,8})[^\s\"',]+"), rf"\1{MASK}"),
    # user:password@ of a URL, as proxies have it.
    (re.compile(r"(?<=://)[^\s/@\"'<>]+(?=@)"), MASK),
)

# C0, DEL, C1, line and paragraph separators, and the marks that make text run backwards.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def redact(text: str) -> str:
    """Return ``text`` with everything that looks like an SDK key, a stream's path or a signing key masked."""
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text


def printable(text: str) -> str:
    r"""Return ``text`` as one line of UTF-8: control characters become ``\n``, ``\x1b`` and so on."""
    return _CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
