"""The wire format of every stream: one file owns the bytes that an ``EventSource`` reads.

Format: WHATWG HTML, section "Server-sent events".
A payload is JSON without raw line feeds, so one ``data:`` line always carries it whole.
"""

from __future__ import annotations

import re

import msgspec

NULL_PAYLOAD = b'{"value":null,"variationId":""}'
"""What a single-flag stream shows once its flag is deleted."""

COMMENT_BEAT = b":\n\n"
"""A heartbeat: a comment line, invisible to ``EventSource`` but alive for every proxy on the way."""

# ``<config tag>.<digest>``; a tag of another length may come from another version of the gateway, and names no config.
ID = re.compile(r"([0-9a-f]{1,64})\.([0-9a-f]{16})")


def comment(text: str) -> bytes:
    """Return a comment frame; ``text`` has no line break."""
    return b": " + text.encode() + b"\n\n"


def retry(milliseconds: int) -> bytes:
    """Return the field that tells a browser how long to wait before it connects again."""
    return b"retry: %d\n\n" % milliseconds


def event(tag: str, seen: str, payload: bytes, name: bytes = b"") -> bytes:
    """Return an event: ``tag`` names the config, ``seen`` is the digest of what the reader then sees.

    Without a ``name`` it is what ``EventSource.onmessage`` gets.
    """
    head = b"event: %b\n" % name if name else b""
    return b"%bid: %b.%b\ndata: %b\n\n" % (head, tag.encode(), seen.encode(), payload)


def mark(tag: str, seen: str) -> bytes:
    """Return the id alone: a browser remembers it and, as there is no ``data``, calls no listener."""
    return b"id: %b.%b\n\n" % (tag.encode(), seen.encode())


def refetch(etag: str, modified: int) -> bytes:
    """Return the payload with which OFREP calls a client to ask again; ``modified`` is in seconds since 1970."""
    return msgspec.json.encode({"type": "refetchEvaluation", "etag": etag, "lastModified": modified})


def parse_event_id(text: str) -> tuple[str, str]:
    """Return the config tag and the digest of an event id that came back; two empty texts when it is none of ours."""
    found = ID.fullmatch(text)
    return (found[1], found[2]) if found else ("", "")


def first_frame(milliseconds: int, frame: bytes) -> bytes:
    """Return what a new connection is sent: the ``retry`` field, then ``frame``, in one write."""
    return retry(milliseconds) + frame
